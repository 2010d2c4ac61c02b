package imagebuilder

import (
	"context"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Finish implements build.Finisher: it compresses the layers of a built image into the
// store and adds its name and key, so that the run after a killed one does not build it
// again.
func (b *Builder) Finish(ctx context.Context, it *plan.Item, built build.Output, emit func(build.Event)) (
	build.Output, error) {
	step := build.Step{
		ID:   "compress",
		Kind: build.StepCompress,
		Name: "compress layers with " + b.opts.Compression.String(),
	}
	started := time.Now()
	emit(build.Event{Time: started, Kind: build.EventStepStart, Image: it.Image, Step: step})
	desc, err := b.layers.Image(ctx, built.Digest)
	step.Duration = time.Since(started)
	if err != nil {
		step.Err = err.Error()
	}
	emit(build.Event{Time: time.Now(), Kind: build.EventStepEnd, Image: it.Image, Step: step})
	if err != nil {
		return build.Output{}, err
	}
	name := it.Reference
	if it.Image.Platform != "" {
		name = "" // the name is for the index of all platforms
	}
	stored := store.Entry{Name: name, Digest: desc.Digest, Key: it.Key.String(), Kind: store.KindBuilt}
	if err := b.opts.Store.Put(stored); err != nil {
		return build.Output{}, err
	}
	entry, _, err := b.opts.Store.ByDigest(desc.Digest)
	if err != nil {
		return build.Output{}, err
	}
	// If that fails, the next build on this image only takes longer.
	_ = b.staging.Remember(desc.Digest, built.Digest)
	if err := b.opts.Inputs.Settle(it.Image); err != nil {
		return build.Output{}, err
	}
	b.opts.Warmer.Add(desc.Digest)
	b.opts.Keys.Record(it.Image, it.Parts)
	b.mu.Lock()
	b.final[nameOf(it.Image.Platform, it.Reference)] = desc.Digest
	b.times[b.opts.Keys.ScopedName(it.Image)] = store.Record{Took: b.took[it.Image], Size: entry.Size}
	b.mu.Unlock()
	return build.Output{Digest: desc.Digest, Size: entry.Size}, nil
}
