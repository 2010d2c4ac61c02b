package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// GCResult counts the content that GC removed.
type GCResult struct {
	Blobs   int
	Bytes   int64
	Damaged int // unnamed images whose manifest was damaged
}

// GC removes the blobs that no entry refers to. If another process has the store open,
// GC removes nothing and returns a *BusyError, because that process may have written
// blobs that have no name yet. Blobs that this process has written or used are kept, so
// that it may run beside a build.
//
// If the manifest of a named image is damaged, GC removes nothing and returns a
// *DamagedError, because the image's other blobs are needed to repair it. Entries
// without a name whose manifest is damaged are removed.
func (s *Store) GC(ctx context.Context) (GCResult, error) {
	var res GCResult
	err := s.alone(func() error {
		var err error
		res, err = s.collect(ctx)
		return err
	})
	if err != nil {
		return res, fmt.Errorf("collecting garbage: %w", err)
	}
	return res, nil
}

func (s *Store) collect(ctx context.Context) (GCResult, error) {
	var res GCResult
	p, err := s.snapshot()
	if err != nil {
		return res, err
	}
	live, damaged, err := s.markAll(ctx, p.entries)
	if err != nil {
		return res, err
	}
	if res.Damaged, err = s.dropUnnamed(damaged); err != nil {
		return res, err
	}
	err = s.eachDead(ctx, live, func(d digest.Digest) error {
		n, err := s.removeUnused(d)
		if err == nil && n >= 0 {
			res.Blobs++
			res.Bytes += n
		}
		return err
	})
	if err != nil {
		return res, err
	}
	return res, s.forgetExported()
}

// Unused returns what GC would remove after Forget(before), and the number of entries that
// Forget would remove. It changes nothing and needs no lock: if another process is writing,
// blobs that have no name yet are counted too.
func (s *Store) Unused(ctx context.Context, before time.Time) (res GCResult, forgotten int, err error) {
	p, err := s.snapshot()
	if err != nil {
		return res, 0, err
	}
	var entries []Entry
	for _, d := range s.remembered(p, before) {
		entries = append(entries, EntryOf(d))
	}
	live, damaged, err := s.markAll(ctx, entries)
	if err != nil {
		return res, 0, err
	}
	for _, e := range entries {
		if e.Name == "" && damaged[e.Digest] {
			res.Damaged++
		}
	}
	err = s.eachDead(ctx, live, func(d digest.Digest) error {
		st, err := os.Lstat(s.blobPath(d))
		if errors.Is(err, os.ErrNotExist) {
			return nil // another process has removed it
		}
		if err == nil && st.Mode().IsRegular() {
			res.Blobs++
			res.Bytes += st.Size()
		}
		return err
	})
	return res, len(p.index.Manifests) - len(entries), err
}

// markAll returns the blobs that the entries need, and the manifests of entries without a
// name that are damaged.
func (s *Store) markAll(ctx context.Context, entries []Entry) (live, damaged map[digest.Digest]bool, err error) {
	m := marker{s: s, manifests: map[digest.Digest]bool{}, live: map[digest.Digest]bool{}}
	damaged = map[digest.Digest]bool{}
	for _, e := range entries {
		err := m.mark(ctx, e.Digest, 0)
		var be *BlobError
		switch {
		case err == nil:
		case !errors.As(err, &be):
			return nil, nil, err
		case e.Name != "":
			return nil, nil, &DamagedError{Name: e.Name, Err: err}
		default:
			damaged[e.Digest] = true
		}
	}
	return m.live, damaged, nil
}

// dropUnnamed removes entries that have no name and one of the digests.
func (s *Store) dropUnnamed(digests map[digest.Digest]bool) (int, error) {
	if len(digests) == 0 {
		return 0, nil
	}
	n := 0
	err := s.update(func(p *snapshot) (bool, error) {
		before := len(p.index.Manifests)
		p.index.Manifests = slices.DeleteFunc(p.index.Manifests, func(d ocispec.Descriptor) bool {
			return d.Annotations[ocispec.AnnotationRefName] == "" && digests[d.Digest]
		})
		n = before - len(p.index.Manifests)
		return n > 0, nil
	})
	return n, err
}

// eachDead calls fn with the blobs that are not live.
func (s *Store) eachDead(ctx context.Context, live map[digest.Digest]bool, fn func(digest.Digest) error) error {
	blobs := filepath.Join(s.dir, ocispec.ImageBlobsDir)
	algorithms, err := os.ReadDir(blobs)
	if err != nil {
		return err
	}
	for _, alg := range algorithms {
		files, err := os.ReadDir(filepath.Join(blobs, alg.Name()))
		if err != nil {
			return err
		}
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return err
			}
			d := digest.NewDigestFromEncoded(digest.Algorithm(alg.Name()), f.Name())
			if d.Validate() != nil || live[d] {
				continue // files that are not blobs are kept
			}
			if err := fn(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// marker finds the blobs that images need. As in walker, a digest that occurs as
// a layer may be a manifest elsewhere, so manifests are tracked apart.
type marker struct {
	s         *Store
	manifests map[digest.Digest]bool // those that were read
	live      map[digest.Digest]bool
}

// mark marks a manifest and everything that it refers to. A missing manifest is
// skipped, because its references are unknown. It does not call touch.
func (m *marker) mark(ctx context.Context, d digest.Digest, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if m.manifests[d] || depth > ocijson.MaxNesting {
		m.live[d] = true
		return nil
	}
	doc, _, err := m.s.readDocument(d, "manifest")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m.manifests[d], m.live[d] = true, true
	if doc.Config != nil {
		m.live[doc.Config.Digest] = true
	}
	for _, l := range doc.Layers {
		m.live[l.Digest] = true
	}
	for _, c := range doc.Manifests {
		if err := m.mark(ctx, c.Digest, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// removeUnused removes a blob unless this process uses it, and returns its size,
// or -1 if it was kept.
func (s *Store) removeUnused(d digest.Digest) (int64, error) {
	s.touchMu.Lock()
	defer s.touchMu.Unlock()
	if s.touched[d] {
		return -1, nil
	}
	path := s.blobPath(d)
	st, err := os.Lstat(path)
	if err != nil || !st.Mode().IsRegular() {
		return -1, err
	}
	if err := os.Remove(path); err != nil {
		return -1, err
	}
	return st.Size(), nil
}
