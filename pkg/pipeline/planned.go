package pipeline

import (
	"context"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/freshness"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
	"github.com/kolla-build/kolla-build/pkg/trace"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// planned is the state of a run before building starts.
type planned struct {
	rendered *imageset.Rendered
	defined  *define.Defined
	inputs   *freshness.Inputs
	keys     *runstate.KeyHistory
	plan     *plan.Plan
	registry *publish.Registry // nil if the set stays in the store

	// failures are the known reasons why images cannot be built: mistakes in their
	// definitions, and requirements of their steps that the user has not granted.
	failures map[image.ID]error

	// nothingNew is set in nightly runs without a set to publish.
	nothingNew bool
}

// plan defines the selected images, looks for changed inputs, decides what is built, and
// compares with the registry.
func (s *session) plan(ctx context.Context, rendered *imageset.Rendered) (_ *planned, err error) {
	ctx, span := trace.Start(ctx, "plan")
	defer func() { span.End(err) }()
	p := &planned{rendered: rendered}
	for _, stage := range []struct {
		name string
		run  func(context.Context, *planned) error
	}{
		{"define images", s.define},
		{"check inputs and plan", s.decide},
		{"check the registry", s.checkRegistry},
	} {
		end := s.recorder.Stage(stage.name)
		err := stage.run(ctx, p)
		end()
		if err != nil {
			return nil, err
		}
	}
	return p, nil
}

// define resolves the base images and sources of the images, and their keys.
func (s *session) define(ctx context.Context, p *planned) (err error) {
	opts := define.Options{
		Console: s.console, Store: s.store, Client: s.client, Engine: s.engine,
		BaseImage: s.baseImage, Epoch: s.epoch, Compression: s.compression,
		Offline: s.local, KeepDamaged: s.mode != modeBuild, VersionLabel: publish.UndatedTag(s.cfg.Tag, s.cfg.AlsoTag),
	}
	if s.local {
		opts.Scratch = s.scratch.open
	}
	if s.mode == modeBuild && s.cfg.BuildkitAddr == "" {
		opts.BeforeBootstrap = func() error {
			if err := buildkit.CheckStart(s.cfg.Buildkitd); err != nil {
				return err
			}
			if err := checkFirstBuild(s.cfg.DataDir); err != nil {
				return err
			}
			// Before the minutes that follow, a user can see what an expression selects.
			selected := 0
			for _, set := range p.rendered.Sets {
				selected += len(set.SelectedReferences())
			}
			s.console.Notice("%s selected, with their parents; --list-images shows them", units.Count(selected, "image"))
			return nil
		}
	}
	if s.inputs != nil {
		opts.Offline, opts.Provided, opts.Compatibility = true, offline.Source(s.inputs), s.inputs.Lock().Compatibility
	}
	p.defined, err = define.Images(ctx, p.rendered, opts)
	if err != nil && s.local && s.mode == modePreview {
		err = usererr.WithHint(err, "run it as the owner of the data directory, or choose another one with --data-dir")
	}
	return err
}

// firstBuildNeed is the space that the first build in a data directory needs at least: the base
// image in the store and, unpacked, in the builder's cache.
const firstBuildNeed = 500_000_000

// checkFirstBuild fails if the disk of a data directory is too small for any build.
func checkFirstBuild(dataDir string) error {
	total, free := disk.Space(dataDir)
	if total == 0 || free >= firstBuildNeed {
		return nil
	}
	return usererr.WithHint(&store.FullError{Path: dataDir, Need: firstBuildNeed, Free: uint64(free)},
		"that is for the base image alone, and docs/sizing.md lists what builds need; --data-dir DIR names a directory on "+
			"another disk")
}

// decide finds changed inputs and decides which images are built.
func (s *session) decide(ctx context.Context, p *planned) (err error) {
	p.inputs, err = freshness.Check(ctx, p.defined, freshness.Options{
		Console:  s.console,
		Store:    s.store,
		DataDir:  s.cfg.DataDir,
		Refresh:  s.cfg.Refresh && !s.local && s.inputs == nil,
		Reader:   workspace.PackageReader(s.cfg),
		ReadOnly: s.mode != modeBuild,
		Timeout:  seconds(max(1, s.cfg.Timeout)),
		Retries:  s.cfg.Retries,
	})
	if err != nil {
		return err
	}
	first := p.rendered.First().Config
	p.keys = runstate.OpenKeyHistory(s.cfg.DataDir, first.Base+"/"+first.InstallType+"/"+first.BaseArch)
	p.plan = s.newPlan(ctx, p)
	p.failures = s.knownFailures(p)
	if s.inputs != nil {
		if err := offline.Check(s.inputs, p.plan, p.defined, s.console); err != nil {
			return err
		}
	}
	for _, it := range p.plan.Items {
		if it.Action == plan.Keep {
			// An earlier run may have built it and been killed before it recorded that.
			if err := p.inputs.Settle(it.Image); err != nil {
				return err
			}
		}
	}
	return nil
}

// knownFailures returns why images of the plan cannot be built.
func (s *session) knownFailures(p *planned) map[image.ID]error {
	failures := map[image.ID]error{}
	for _, it := range p.plan.Items {
		im := p.defined.Image(it.Image)
		err := im.Err
		if err == nil && it.Action == plan.Build {
			err = im.InTemplate(s.grants().Check(im.Dockerfile, im.Required))
		}
		if err != nil {
			failures[it.Image] = err
		}
	}
	return failures
}

// checkRegistry looks up what the registry has, and whether the user may push.
func (s *session) checkRegistry(ctx context.Context, p *planned) (err error) {
	if s.cfg.Push {
		p.registry, err = publish.OpenRegistry(ctx, references(p.plan), publish.RegistryOptions{
			Console: s.console, Client: s.client, Store: s.store, AlsoTags: s.cfg.AlsoTag,
			Journal: publish.JournalDir(s.cfg.DataDir), Recover: s.mode == modeBuild,
		})
		if err != nil {
			return err
		}
	}
	if s.mode != modeOffline {
		publish.WarnOtherType(s.console, s.store, p.plan, s.cfg.InstallType)
	}
	p.nothingNew = s.night.NothingNew(p.plan, s.store, p.registry)
	if p.registry == nil || s.mode != modeBuild || p.nothingNew {
		return nil
	}
	set := publish.Set{}
	for _, it := range p.plan.Items {
		set[it.Reference] = it.Digest
	}
	return p.registry.CheckPush(ctx, set)
}

// newPlan makes the plan for the defined images.
func (s *session) newPlan(ctx context.Context, p *planned) *plan.Plan {
	inputs := make([]plan.Input, 0, len(p.defined.Images))
	ids := map[digest.Digest]image.ID{}
	for _, im := range p.defined.Images {
		key := p.inputs.Key(im.ID)
		ids[key] = im.ID
		inputs = append(inputs, plan.Input{Image: im.ID, Reference: im.Reference, Parent: im.Parent, Needs: im.Needs,
			Key: key, Parts: im.Parts, Effort: im.Effort, Changes: p.inputs.Changes(im.ID), Note: p.inputs.Note(im.ID)})
	}
	var incomplete map[image.ID]bool // images that are built although they are stored
	if s.last != nil && !s.cfg.Cache {
		incomplete = s.last.Incomplete(inputs)
	}
	checkWhole := repair.Whole
	if s.mode == modeBuild {
		checkWhole = repair.WholeOrRemove
	}
	times := s.store.Durations()
	return plan.New(inputs, plan.History{
		Stored: func(key digest.Digest) (plan.StoredImage, bool) {
			if key == "" || incomplete[ids[key]] {
				return plan.StoredImage{}, false
			}
			e, ok, err := s.store.ByKey(key.String())
			return plan.StoredImage{Digest: e.Digest, Size: e.Size}, ok && err == nil && checkWhole(ctx, s.store, e.Digest)
		},
		Parts:    p.keys.Parts,
		Duration: func(id image.ID) (time.Duration, bool) { return median(times, p.keys.ScopedName(id)) },
	}, !s.cfg.Cache && s.last == nil)
}

func median(times map[string]store.Durations, name string) (time.Duration, bool) {
	d, ok := times[name]
	return d.Median(), ok
}

// failure returns why an image cannot be built, nil if that is not known.
func (p *planned) failure(id image.ID) error { return p.failures[id] }

// needsBuilder reports whether the plan builds an image that can be built.
func (p *planned) needsBuilder() bool {
	return slices.ContainsFunc(p.plan.Items, func(it *plan.Item) bool {
		return it.Action == plan.Build && it.Key != "" && p.failure(it.Image) == nil
	})
}

// toBuild returns the images that the plan builds.
func (p *planned) toBuild() []*define.Image {
	var images []*define.Image
	for _, it := range p.plan.Items {
		if it.Action == plan.Build {
			images = append(images, p.defined.Image(it.Image))
		}
	}
	return images
}

// references returns the references of a plan's images, each once.
func references(p *plan.Plan) []string {
	var refs []string
	seen := map[string]bool{}
	for _, it := range p.Items {
		if !seen[it.Reference] {
			seen[it.Reference] = true
			refs = append(refs, it.Reference)
		}
	}
	return refs
}
