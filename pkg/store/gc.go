package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// GCResult counts what GC removed.
type GCResult struct {
	Blobs int
	Bytes int64
}

// GC removes the blobs that no entry refers to. It wants the store to itself:
// if another process has it open, that one may be between writing blobs and
// naming them, and GC returns a *BusyError having removed nothing. Blobs that
// this process has written or used stay, so that it may run beside a build.
// A manifest that cannot be read ends it before anything is removed.
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
	live := map[digest.Digest]bool{}
	for _, d := range p.index.Manifests {
		if err := s.mark(ctx, d, live, 0); err != nil {
			return res, err
		}
	}
	blobs := filepath.Join(s.dir, ocispec.ImageBlobsDir)
	algs, err := os.ReadDir(blobs)
	if err != nil {
		return res, err
	}
	for _, alg := range algs {
		files, err := os.ReadDir(filepath.Join(blobs, alg.Name()))
		if err != nil {
			return res, err
		}
		for _, f := range files {
			if err := ctx.Err(); err != nil {
				return res, err
			}
			d := digest.NewDigestFromEncoded(digest.Algorithm(alg.Name()), f.Name())
			if d.Validate() != nil || live[d] {
				continue // not a blob, so not ours to remove
			}
			n, err := s.removeUnused(d)
			if err != nil {
				return res, err
			}
			if n >= 0 {
				res.Blobs++
				res.Bytes += n
			}
		}
	}
	return res, nil
}

// mark notes a manifest and all below it. What is missing is skipped: there is
// nothing to keep. The touched set is left alone, unlike in walk.
func (s *Store) mark(ctx context.Context, d ocispec.Descriptor, live map[digest.Digest]bool, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if live[d.Digest] || depth > 4 {
		return nil
	}
	live[d.Digest] = true
	b, err := s.readSmall(ocispec.Descriptor{Digest: d.Digest}, "manifest")
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	m, err := parseDocument(b)
	if err != nil {
		return &BlobError{Digest: d.Digest, Of: "manifest", Path: s.blobPath(d.Digest), Detail: "not a manifest", Err: err}
	}
	if m.Config != nil {
		live[m.Config.Digest] = true
	}
	for _, l := range m.Layers {
		live[l.Digest] = true
	}
	for _, c := range m.Manifests {
		if err := s.mark(ctx, c, live, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// removeUnused removes a blob unless this process leans on it, and returns its
// size, or -1 if it was left.
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
