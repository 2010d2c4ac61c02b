package pipeline

import (
	"context"
	"path/filepath"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// builder builds images of a plan with BuildKit into the store. It opens the
// daemon when the first image needs it: a run with nothing to do starts none.
type builder struct {
	opts  buildkit.Options
	store *store.Store
	*defined
	created time.Time
	mem     *memory

	once sync.Once
	bk   *buildkit.Builder
	err  error

	mu    sync.Mutex
	times map[string]store.Record
}

func (b *builder) open(ctx context.Context) error {
	b.once.Do(func() { b.bk, b.err = buildkit.Open(ctx, b.opts) })
	return b.err
}

// Build implements build.Builder.
func (b *builder) Build(ctx context.Context, it *plan.Item, emit func(build.Event)) (build.Output, error) {
	if err := b.failed[it.Image]; err != nil {
		return build.Output{}, err
	}
	if err := b.open(ctx); err != nil {
		return build.Output{}, err
	}
	started := time.Now()
	def := b.defs[it.Image]
	desc, err := b.bk.Build(ctx, buildkit.Request{Definition: def, Created: b.created}, emit)
	if err != nil {
		return build.Output{}, err
	}
	// The name and the key are stored as soon as the image is there: a run that
	// is killed now starts again from here.
	if err := b.store.Put(store.Entry{Name: it.Reference, Digest: desc.Digest, Key: it.Key, Kind: store.KindBuilt}); err != nil {
		return build.Output{}, err
	}
	entry, _, err := b.store.ByDigest(desc.Digest)
	if err != nil {
		return build.Output{}, err
	}
	b.mem.put(it.Image, it.Parts)
	b.mu.Lock()
	b.times[b.mem.name(it.Image)] = store.Record{Took: time.Since(started), Size: entry.Size}
	b.mu.Unlock()
	return build.Output{Digest: desc.Digest.String(), Size: entry.Size}, nil
}

// close stops the daemon, if one was started, and remembers what was learned.
func (b *builder) close() error {
	var err error
	if b.bk != nil {
		err = b.bk.Close()
	}
	if len(b.times) > 0 {
		// Estimates are all that is lost if these cannot be written.
		_ = b.store.RecordDurations(b.times)
		_ = b.mem.save()
	}
	return err
}

func stateDir(dataDir string) string { return filepath.Join(dataDir, "buildkit") }
