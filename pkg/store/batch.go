package store

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
)

const (
	// maxHashes is how many blobs of a batch are verified at the same time. Each holds up to
	// 4 MiB that are not hashed yet.
	maxHashes = 4
	// maxSyncs is how many verified blobs are synced at the same time. Syncs wait for the disk, and
	// file systems with a journal combine those that come together.
	maxSyncs = 16
)

// Batch writes blobs one after another. While one is read, those before it are verified,
// synced and made visible. A batch is used by one goroutine.
type Batch struct {
	s             *Store
	hashes, syncs chan struct{} // have one element for each that is running
	group         sync.WaitGroup
	next          int             // position of the next blob
	dirs          map[string]bool // of the blobs since the last Wait

	mu     sync.Mutex
	err    error
	failed int // position of the blob that err is about
}

// Batch returns an empty batch. The caller must call Wait.
func (s *Store) Batch() *Batch {
	return &Batch{
		s:      s,
		hashes: make(chan struct{}, maxHashes),
		syncs:  make(chan struct{}, maxSyncs),
		dirs:   map[string]bool{},
	}
}

// Write is WriteBlob for a blob of a known digest and size, which may become visible only
// later. describe changes the error if the blob cannot be written; it may be called at any
// time until Wait returns. The returned error may be that of an earlier blob.
func (b *Batch) Write(ctx context.Context, r io.Reader, d digest.Digest, size int64, describe func(error) error) error {
	at := b.next
	b.next++
	if err := b.failure(); err != nil {
		return err
	}
	blob, err := b.s.receive(ctx, r, d, size, true)
	if err != nil {
		b.fail(at, describe(err))
		return b.Wait()
	}
	if blob.file == nil {
		return nil
	}
	b.dirs[blob.dir] = true
	b.hashes <- struct{}{}
	b.group.Go(func() {
		if err := b.commit(ctx, blob); err != nil {
			b.fail(at, describe(err))
		}
	})
	return nil
}

// commit verifies a blob and makes it visible. The next one is hashed while this one is synced.
func (b *Batch) commit(ctx context.Context, blob *received) error {
	defer blob.file.Close()
	err := blob.verify(ctx)
	if err == nil {
		b.syncs <- struct{}{} // before the next one is hashed, or their number would have no limit
		defer func() { <-b.syncs }()
	}
	<-b.hashes
	if err != nil {
		return err
	}
	return blob.publish()
}

// fail records the error of the first blob that failed.
func (b *Batch) fail(at int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err == nil || at < b.failed {
		b.err, b.failed = err, at
	}
}

func (b *Batch) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// Wait waits until the blobs are visible and survive a power failure, and returns the error of
// the first one that could not be written. More can be written after it.
func (b *Batch) Wait() error {
	b.group.Wait()
	for dir := range b.dirs {
		if err := atomicfile.SyncDir(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			b.fail(b.next, err) // nothing was written to a directory that does not exist
		}
	}
	clear(b.dirs)
	return b.failure()
}
