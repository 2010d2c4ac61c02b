package pipeline

import (
	"context"
	"slices"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/build/imagebuilder"
	"github.com/kolla-build/kolla-build/pkg/build/observe"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/offline"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// openBuilder opens the builder of a plan's images and starts it if an image must be
// built, so that without a builder the run fails instead of an image. The network of
// the steps, nil for the builder's own, must be closed after the builder.
func (s *session) openBuilder(ctx context.Context, p *planned, rep *reporter, message func(string)) (
	*imagebuilder.Builder, *offline.Network, error) {
	network, err := s.openNetwork(ctx)
	if err != nil {
		return nil, nil, err
	}
	builder, err := s.newBuilder(ctx, p, rep, network, message)
	if err == nil && p.needsBuilder() {
		if err = s.startBuilder(ctx, builder, rep); err == nil {
			for _, warning := range define.LintWarnings(p.toBuild()) {
				message(warning)
			}
		}
	}
	if err != nil && network != nil {
		network.Close()
	}
	return builder, network, err
}

func (s *session) startBuilder(ctx context.Context, builder *imagebuilder.Builder, rep *reporter) error {
	start, end := time.Now(), s.recorder.Stage("start the builder")
	if err := builder.Ready(ctx); err != nil {
		_ = builder.Close()
		return err
	}
	end()
	rep.stopwatch.Builder(start)
	return nil
}

func (s *session) stopBuilder(builder *imagebuilder.Builder, rep *reporter) error {
	start, end := time.Now(), s.recorder.Stage("stop the builder")
	err := builder.Close()
	end()
	rep.stopwatch.Builder(start)
	return err
}

// openNetwork returns the replacement for the network of steps, nil for the builder's
// own network. It must be closed after the builder.
func (s *session) openNetwork(ctx context.Context) (*offline.Network, error) {
	switch {
	case s.recording != nil:
		return s.recording.OpenNetwork(ctx, s.cfg)
	case s.inputs != nil:
		return offline.OpenNetwork(s.cfg, s.inputs, s.console)
	}
	return nil, nil
}

// newBuilder returns the builder of a plan's images, whose steps use a network if it
// is not nil.
func (s *session) newBuilder(ctx context.Context, p *planned, rep *reporter, network *offline.Network,
	notice func(string)) (*imagebuilder.Builder, error) {
	opts := imagebuilder.Options{
		Store:       s.store,
		Defined:     p.defined,
		Inputs:      p.inputs,
		Warmer:      p.inputs.NewWarmer(ctx),
		Keys:        p.keys,
		Busy:        rep.stopwatch.Work,
		BuildArgs:   imagebuilder.ProxyArgs(s.console.Getenv),
		NoCache:     !s.cfg.Cache,
		Squash:      s.cfg.Squash,
		Compression: s.compression,
		ClampTimes:  s.cfg.ClampTimes,
		KnownNames:  sync.OnceValue(p.rendered.Words),
		Offline:     s.local || network != nil,
		Getenv:      s.console.Getenv,
		Buildkit: buildkit.Options{
			Addr:        s.cfg.BuildkitAddr,
			DaemonPath:  s.cfg.Buildkitd,
			StateDir:    workspace.BuilderDir(s.cfg),
			Store:       s.store.Content(),
			Cache:       buildkit.CacheLimits{MaxUsed: s.cfg.CacheSize, MinFree: s.cfg.MinFree},
			StepTimeout: seconds(s.cfg.StepTimeout),
			Env:         rep.daemonEnv,
			Notice:      notice,
			Grants:      s.grants(),
		},
	}
	if s.cfg.PackageCache {
		first := p.rendered.First().Config
		opts.PackageCache = first.Base + "-" + first.BaseTag + "-" + first.BaseArch
	}
	if network != nil {
		opts.Network, opts.BuildArgs = network, nil
		if err := network.Configure(ctx, &opts.Buildkit); err != nil {
			return nil, err
		}
	}
	if s.inputs != nil {
		opts.Buildkit.Compatibility = s.inputs.Lock().Compatibility
	}
	return imagebuilder.New(p.plan, opts), nil
}

// grants returns the permissions of steps. They include the host's network if a builder
// that this process starts uses it for all steps.
func (s *session) grants() buildkit.Grants {
	g := buildkit.Grants{Entitlements: slices.Clone(s.cfg.Allow), Secrets: s.secrets}
	if s.cfg.NetworkMode == "host" && (s.cfg.BuildkitAddr == "" || s.cfg.IsSet("network_mode")) {
		g.Entitlements = append(g.Entitlements, buildkit.RequiresNetwork)
	}
	return g
}

// ancestors returns a function that lists the images of the tree that an image
// depends on, the nearest first.
func ancestors(p *planned, builder *imagebuilder.Builder) func(*plan.Item) []digest.Digest {
	return func(it *plan.Item) []digest.Digest {
		graph := p.rendered.Of(it.Image).Graph
		var found []digest.Digest
		for ancestor := graph.Parent(it.Image.Name); ancestor != nil; ancestor = graph.Parent(ancestor.Name) {
			if d := builder.Digest(it.Image.Platform, ancestor.Reference); d != "" {
				found = append(found, d)
			}
		}
		return found
	}
}

// uploaderOf returns the destination of finished images: a container engine, a
// registry, both, or nil for neither.
func uploaderOf(loader *engineload.Loader, p *planned, watch *observe.Stopwatch) build.Uploader {
	var combined uploaders
	if loader != nil {
		combined = append(combined, loader)
	}
	if p.registry != nil {
		combined = append(combined, watch.Uploader(p.registry))
	}
	if len(combined) == 0 {
		return nil
	}
	return observe.TracedUploader{Uploader: combined}
}

// uploaders upload to several places, one after the other.
type uploaders []build.Uploader

func (u uploaders) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	for _, to := range u {
		if err := to.Upload(ctx, it, d); err != nil {
			return err
		}
	}
	return nil
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }
