package imagebuilder

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/suggest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/build/limits"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/freshness"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Options are the settings of a Builder. All but the scalar ones are required.
type Options struct {
	Buildkit buildkit.Options
	Store    *store.Store
	Defined  *define.Defined
	Inputs   *freshness.Inputs
	Warmer   *freshness.Warmer
	Keys     *runstate.KeyHistory
	Busy     func() (done func()) // called when the builder starts to work on an image

	BuildArgs    map[string]string // in addition to those of the definitions
	NoCache      bool              // run every step again
	PackageCache string            // see buildkit.ConvertOptions
	Compression  compress.Settings // of the layers of built images
	Squash       bool
	Network      StepNetwork // of steps; nil for that of the builder
	// KnownNames returns names of packages and programs, for suggestions.
	KnownNames func() []string
	// Getenv reads this process's environment, for the settings of emulators.
	Getenv func(string) string
	// Offline forbids questions to repositories of packages.
	Offline    bool
	ClampTimes bool // modification times of files in the images' own layers are limited to the image's creation time
}

// StepNetwork is the proxy that steps have instead of the builder's network.
type StepNetwork interface {
	// Args returns build arguments with the address of the proxy for an image.
	Args(ctx context.Context, id image.ID) (map[string]string, error)
	// Trust returns the PEM of the authority for certificates of the proxy.
	Trust() []byte
	// CacheNamespace separates the cache mounts of an image, which must contain only
	// content that the proxy has.
	CacheNamespace(id image.ID) string
}

// Builder builds the images of a plan. It implements build.Builder, build.Explainer and
// build.Finisher: images leave BuildKit with plain layers, on which their children
// are built, and are finished with compressed ones.
type Builder struct {
	opts    Options
	plan    *plan.Plan
	staging *store.Staging // images as BuildKit exported them
	layers  *compress.Compressor

	conn   sync.Mutex // held while a builder is opened
	bk     *buildkit.Builder
	opened bool   // a builder was open before
	native string // Go's name of the builder's architecture, "" if no image needs it

	mu       sync.Mutex
	exported map[imageName]digest.Digest // built so far, in the staging area
	final    map[imageName]digest.Digest // kept, and finished so far
	took     map[image.ID]time.Duration
	warnings map[image.ID][]string
	times    map[string]store.Record
}

// New returns a builder of a plan's images. BuildKit is opened when it is needed.
func New(p *plan.Plan, opts Options) *Builder {
	b := &Builder{opts: opts, plan: p, exported: map[imageName]digest.Digest{}, final: map[imageName]digest.Digest{},
		took: map[image.ID]time.Duration{}, warnings: map[image.ID][]string{}, times: map[string]store.Record{}}
	for _, it := range p.Items {
		if it.Action == plan.Keep {
			b.final[nameOf(it.Image.Platform, it.Reference)] = it.Digest
		}
	}
	return b
}

// Ready opens BuildKit and finds out whether it can run the plan's images, before
// anything is built.
func (b *Builder) Ready(ctx context.Context) error {
	bk, err := b.open(ctx)
	if err != nil {
		return err
	}
	var runs []string
	var match platforms.MatchComparer
	for _, it := range b.plan.Items {
		im := b.opts.Defined.Image(it.Image)
		if im == nil || im.Key == "" || it.Action != plan.Build || !hasRun(im.Dockerfile) {
			continue // an image without RUN steps needs no emulator
		}
		if match == nil {
			supported, err := bk.Platforms(ctx)
			if err != nil {
				return err
			}
			match = platforms.Any(supported...)
			if len(supported) > 0 {
				b.native = supported[0].Architecture
			}
			for _, p := range supported {
				runs = append(runs, platforms.Format(p))
			}
		}
		if platform := b.opts.Defined.ConvertOptions(it.Image).Platform; !match.Match(platform) {
			hint := "on its host, Debian's packages qemu-user-static and binfmt-support let it (slowly); " +
				"or name a builder of that kind with --buildkit-addr"
			return usererr.Errorf(hint, "the builder cannot run %s, which %s needs; it runs %s",
				platforms.Format(platform), it.Image, strings.Join(runs, ", "))
		}
	}
	return nil
}

// open returns the open BuildKit, or opens a new one if none is open or it was lost.
func (b *Builder) open(ctx context.Context) (*buildkit.Builder, error) {
	b.conn.Lock()
	defer b.conn.Unlock()
	if b.bk != nil && !b.bk.Lost() {
		return b.bk, nil
	}
	if b.bk != nil {
		b.opts.Buildkit.Notice("the builder was lost; opening another")
		_ = b.bk.Close()
		b.bk = nil
	}
	if b.staging == nil {
		staging, err := b.opts.Store.Stage()
		if err != nil {
			return nil, err
		}
		b.staging, b.opts.Buildkit.Store = staging, staging.Content()
		b.layers = compress.New(compress.Options{Settings: b.opts.Compression, Source: staging, Store: b.opts.Store,
			Workers: runtime.GOMAXPROCS(0), TempDir: filepath.Join(b.opts.Store.Dir(), "tmp")})
	}
	bk, err := buildkit.Open(ctx, b.opts.Buildkit)
	for tries := 0; tries < maxRestarts && wasKilled(err) && ctx.Err() == nil; tries++ {
		b.opts.Buildkit.Notice("the builder was killed while it started; starting it again")
		bk, err = buildkit.Open(ctx, b.opts.Buildkit)
	}
	switch {
	case err == nil:
		b.bk, b.opened = bk, true
	case b.opened && ctx.Err() == nil:
		// It was available before and may be restarting, so this can be retried.
		err = &buildkit.LostError{Err: err}
	}
	return bk, err
}

// maxRestarts is how often a builder that is killed while it starts is started
// again.
const maxRestarts = 3

func wasKilled(err error) bool {
	var de *buildkit.DaemonError
	return errors.As(err, &de) && de.Killed
}

// Cache returns the cache of the builder that this process started, nil if it has not
// started one. It does not manage the cache of another builder.
func (b *Builder) Cache() limits.Cache {
	if !b.conn.TryLock() {
		return nil // a builder is being opened
	}
	defer b.conn.Unlock()
	if b.opts.Buildkit.Addr != "" || b.bk == nil {
		return nil
	}
	return b.bk
}

// Build implements build.Builder. The image is stored in the staging area, where its
// children are built on it.
func (b *Builder) Build(ctx context.Context, it *plan.Item, emit func(build.Event)) (build.Output, error) {
	im := b.opts.Defined.Image(it.Image)
	bk, err := b.open(ctx)
	if err != nil {
		return build.Output{}, err
	}
	started := time.Now()
	d, err := b.solve(ctx, bk, im, emit)
	if err != nil {
		return build.Output{}, err
	}
	warnings, err := b.checkPatches(ctx, im, d)
	if err != nil {
		return build.Output{}, err
	}
	for _, text := range warnings {
		emit(build.Event{Time: time.Now(), Kind: build.EventMessage, Text: "warning: " + text})
	}
	if b.opts.ClampTimes {
		if err := b.clampTimes(d, im.Created); err != nil {
			return build.Output{}, err
		}
	}
	b.mu.Lock()
	b.exported[nameOf(it.Image.Platform, it.Reference)] = d
	b.took[it.Image] = time.Since(started)
	b.warnings[it.Image] = warnings
	b.mu.Unlock()
	return build.Output{Digest: d}, nil
}

// Warnings returns the warnings about an image that was built: patches that may be lost.
func (b *Builder) Warnings(id image.ID) []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.warnings[id]
}

// Explain implements build.Explainer. It adds to a failed step its place in the templates,
// and a suggestion for a misspelled package.
func (b *Builder) Explain(ctx context.Context, it *plan.Item, err error) error {
	im := b.opts.Defined.Image(it.Image)
	var failed *buildkit.BuildError
	if !errors.As(err, &failed) {
		return err
	}
	f := &failed.Failure
	if f.Dockerfile == im.Dockerfile.Path {
		if file, at := im.PlaceOf(f.Line); file != "" {
			f.Template = fmt.Sprintf("%s:%d", file, at)
		}
	}
	if f.Name != "" && b.opts.KnownNames != nil {
		f.Hint = cmp.Or(b.suggestion(ctx, im, f), f.Hint)
	}
	return err
}

// suggestion returns the hint for a missing package or program. A package is searched for
// in the repositories of the parent, where they can be read, since words of templates may
// be something else.
func (b *Builder) suggestion(ctx context.Context, im *define.Image, f *build.Failure) string {
	if f.Package && !b.opts.Offline {
		if parent, err := b.imageNamed(ctx, im.ID, im.From); err == nil {
			if offered := b.opts.Inputs.PackageNames(ctx, parent, b.opts.Defined.Config(im.ID).DebianArch); len(offered) > 0 {
				return suggest.DidYouMeanOfMany(f.Name, offered)
			}
		}
	}
	return suggest.DidYouMean(f.Name, b.opts.KnownNames())
}

// solve builds an image into the staging area and returns its digest. It is built
// on the exported forms of its parents, unless the builder lost their snapshots.
func (b *Builder) solve(ctx context.Context, bk *buildkit.Builder, im *define.Image, emit func(build.Event)) (
	digest.Digest, error) {
	for {
		parents := &dependencies{exported: !b.opts.Squash} // squashing reads the layers of parents
		def, err := b.definition(ctx, im, parents)
		if err != nil {
			return "", err
		}
		var failed []build.Event // failed steps, which are not reported if the image is built another way
		done := b.opts.Busy()
		desc, err := bk.Build(ctx, buildkit.Request{Image: im.ID, Definition: def, Created: im.Created}, func(e build.Event) {
			if e.Step.Err != "" && len(parents.recalled) > 0 {
				failed = append(failed, e)
				return
			}
			emit(e)
		})
		done()
		if err != nil && ctx.Err() == nil && slices.ContainsFunc(parents.recalled, b.staging.Requested) {
			continue // recalled images are not recalled again
		}
		for _, e := range failed {
			emit(e)
		}
		switch {
		case err != nil:
			return "", err
		case b.opts.Squash:
			return b.squash(ctx, im.ID, desc.Digest, def, emit)
		}
		return desc.Digest, nil
	}
}

// clampTimes limits the times of files in the layers that an exported image adds to its
// parents to its creation time.
func (b *Builder) clampTimes(exported digest.Digest, created time.Time) error {
	img, err := b.staging.Image(exported)
	if err != nil {
		return err
	}
	conf, err := img.ConfigFile()
	if err != nil {
		return err
	}
	if created.IsZero() {
		created = time.Unix(0, 0)
	}
	for _, id := range conf.RootFS.DiffIDs {
		b.layers.ClampTimes(created, digest.Digest(id.String()))
	}
	return nil
}

// Digest returns the image that a reference names in this run: one that was kept or
// finished, else the one in the store; "" if there is none or it is not finished.
func (b *Builder) Digest(platform, ref string) digest.Digest {
	b.mu.Lock()
	d, ok := b.final[nameOf(platform, ref)]
	_, unfinished := b.exported[nameOf(platform, ref)]
	b.mu.Unlock()
	if ok || unfinished {
		return d
	}
	if e, ok, err := b.opts.Store.Lookup(ref); err == nil && ok {
		return e.Digest
	}
	return ""
}

// Close stops the daemon, if one was started, and saves build times and keys.
func (b *Builder) Close() error {
	b.opts.Warmer.Wait()
	var err error
	if b.bk != nil {
		err = b.bk.Close()
	}
	if b.staging != nil {
		if cerr := b.staging.Close(); err == nil {
			err = cerr
		}
	}
	if len(b.times) > 0 {
		// Without them, only estimates and explanations are lost.
		_ = b.opts.Store.RecordDurations(b.times)
		_ = b.opts.Store.SaveCompressed()
		_ = b.opts.Keys.Save()
	}
	return err
}
