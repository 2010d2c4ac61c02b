package pipeline

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/build/limits"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/runstate"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// imageName is a reference, of one platform in runs for several.
type imageName struct{ platform, reference string }

// builder builds images of a plan with BuildKit into the store.
type builder struct {
	*defined
	opts    buildkit.Options
	convert buildkit.ConvertOptions // External is the definer's
	store   *store.Store
	keys    *runstate.KeyHistory
	squash  bool
	moving  *moving
	clamp   bool // files' times in layers
	watch   *stopwatch

	conn sync.Mutex // held while a builder is opened
	bk   *buildkit.Builder

	opened bool // there was a builder in this run

	mu     sync.Mutex
	images map[imageName]digest.Digest // kept and built so far
	times  map[string]store.Record
}

// newBuilder makes the builder of a run's plan. It is opened when it is needed.
func (r *buildRun) newBuilder(emit func(build.Event)) *builder {
	convert := r.def.options
	convert.BuildArgs = withProxies(convert.BuildArgs, r.env)
	convert.NoCache = !r.cfg.Cache
	if r.cfg.PackageCache {
		convert.PackageCache = r.cfg.Base + "-" + r.cfg.BaseTag + "-" + r.cfg.BaseArch
	}
	b := &builder{defined: r.defined, convert: convert, store: r.store, keys: r.keys, squash: r.cfg.Squash, moving: r.moving, clamp: r.cfg.ClampTimes, watch: r.watch,
		images: map[imageName]digest.Digest{}, times: map[string]store.Record{},
		opts: buildkit.Options{Addr: r.cfg.BuildkitAddr, DaemonPath: r.cfg.Buildkitd, StateDir: stateDir(r.cfg.DataDir), Store: r.store.Content(),
			Cache: buildkit.CacheLimits{MaxUsed: r.cfg.CacheSize, MinFree: r.cfg.MinFree}, StepTimeout: time.Duration(r.cfg.StepTimeout) * time.Second,
			Env:    r.daemonEnv,
			Notice: func(s string) { emit(build.Event{Time: time.Now(), Kind: build.EventMessage, Text: s}) }}}
	for _, it := range r.plan.Items {
		if it.Action == plan.Keep {
			b.images[imageName{it.Image.Platform, it.Reference}] = it.Digest
		}
	}
	if hostNetworkAsked(r.cfg) {
		b.opts.Entitlements = []string{"network.host"}
	}
	return b
}

// open returns the builder, and opens one if there is none or if it was lost.
func (b *builder) open(ctx context.Context) (*buildkit.Builder, error) {
	b.conn.Lock()
	defer b.conn.Unlock()
	if b.bk != nil && !b.bk.Lost() {
		return b.bk, nil
	}
	if b.bk != nil {
		b.opts.Notice("the builder was lost; opening another")
		_ = b.bk.Close()
		b.bk = nil
	}
	bk, err := buildkit.Open(ctx, b.opts)
	for tries := 0; tries < openTries && wasKilled(err) && ctx.Err() == nil; tries++ {
		b.opts.Notice("the builder was killed while it started; starting it again")
		bk, err = buildkit.Open(ctx, b.opts)
	}
	switch {
	case err == nil:
		b.bk, b.opened = bk, true
	case b.opened && ctx.Err() == nil:
		// It was there a moment ago: it may be starting again.
		err = &buildkit.LostError{Err: err}
	}
	return bk, err
}

// openTries is how often a builder that is killed while it starts is started
// again.
const openTries = 3

func wasKilled(err error) bool {
	var de *buildkit.DaemonError
	return errors.As(err, &de) && de.Killed
}

// cache returns the cache of the builder that this process started, nil if there
// is none at the moment. The cache of a builder elsewhere is its owner's.
func (b *builder) cache() limits.Cache {
	if !b.conn.TryLock() {
		return nil // it is being opened
	}
	defer b.conn.Unlock()
	if b.opts.Addr != "" || b.bk == nil {
		return nil
	}
	return b.bk
}

// Build implements build.Builder.
func (b *builder) Build(ctx context.Context, it *plan.Item, emit func(build.Event)) (build.Output, error) {
	if err := b.failed[it.Image]; err != nil {
		return build.Output{}, err
	}
	bk, err := b.open(ctx)
	if err != nil {
		return build.Output{}, err
	}
	started := time.Now()
	def, err := b.definition(ctx, it.Image)
	if err != nil {
		return build.Output{}, err
	}
	done := b.watch.work()
	desc, err := bk.Build(ctx, buildkit.Request{Image: it.Image, Definition: def, Created: b.created[it.Image], Clamp: b.clamp}, emit)
	done()
	if err != nil {
		return build.Output{}, err
	}
	if b.squash {
		if desc.Digest, err = b.squashed(ctx, it, desc.Digest, def, emit); err != nil {
			return build.Output{}, err
		}
	}
	// The name and the key are stored as soon as the image is there: a run that
	// is killed now starts again from here.
	name := it.Reference
	if it.Image.Platform != "" {
		name = "" // it names the index of all platforms
	}
	if err := b.store.Put(store.Entry{Name: name, Digest: desc.Digest, Key: it.Key.String(), Kind: store.KindBuilt}); err != nil {
		return build.Output{}, err
	}
	entry, _, err := b.store.ByDigest(desc.Digest)
	if err != nil {
		return build.Output{}, err
	}
	if err := b.moving.built(ctx, it.Image, desc.Digest); err != nil {
		return build.Output{}, err
	}
	b.keys.Record(it.Image, it.Parts)
	b.mu.Lock()
	b.images[imageName{it.Image.Platform, it.Reference}] = desc.Digest
	b.times[b.keys.ScopedName(it.Image)] = store.Record{Took: time.Since(started), Size: entry.Size}
	b.mu.Unlock()
	return build.Output{Digest: desc.Digest, Size: entry.Size}, nil
}

// definition converts an image for building: on its parents as they lie in the
// store. The conversion that made the key had them as LLB; building that would
// run an ancestor's steps again wherever the builder's cache has lost them, or
// is told not to be used, and put a child onto a parent that nobody publishes.
func (b *builder) definition(ctx context.Context, id image.ID) (*buildkit.Definition, error) {
	opts := b.optionsOf(id)
	opts.External = func(ctx context.Context, ref string) (buildkit.External, error) { return b.below(ctx, id, ref) }
	b.moving.convert(id, &opts)
	if b.clamp {
		opts.Epoch = b.created[id]
	}
	return buildkit.NewConverter(opts).Convert(ctx, b.files[id])
}

// below returns what an image stands on, or copies from, under a name: an image
// that was kept or built in this run, else one from outside.
func (b *builder) below(ctx context.Context, id image.ID, ref string) (buildkit.External, error) {
	b.mu.Lock()
	d, ok := b.images[imageName{id.Platform, ref}]
	b.mu.Unlock()
	if !ok {
		return b.optionsOf(id).External(ctx, ref)
	}
	img, err := b.store.Image(d)
	if err != nil {
		return buildkit.External{}, err
	}
	conf, err := img.RawConfigFile()
	return buildkit.External{Digest: d, Config: conf}, err
}

// digest returns what a name stands for in this run: an image that was kept or
// built, else what the store has; "" if there is none.
func (b *builder) digest(platform, ref string) digest.Digest {
	b.mu.Lock()
	d, ok := b.images[imageName{platform, ref}]
	b.mu.Unlock()
	if ok {
		return d
	}
	return digestOf(b.store, ref)
}

// close stops the daemon, if one was started, and remembers what was learned.
func (b *builder) close() error {
	_ = b.moving.reading.Wait() // it only warms a cache
	var err error
	if b.bk != nil {
		err = b.bk.Close()
	}
	if len(b.times) > 0 {
		// Estimates are all that is lost if these cannot be written.
		_ = b.store.RecordDurations(b.times)
		_ = b.keys.Save()
	}
	return err
}

func stateDir(dataDir string) string { return filepath.Join(dataDir, "buildkit") }
