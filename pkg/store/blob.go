package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"
)

// touch notes that this process leans on a blob, so that GC leaves it. It comes
// before any look at the file: then either the look or GC sees the other.
func (s *Store) touch(d digest.Digest) {
	s.touchMu.Lock()
	s.touched[d] = true
	s.touchMu.Unlock()
}

// HasBlob reports whether a blob of this size is in the store; size -1 matches
// any. If it is, it stays until the store is closed, whatever GC runs meanwhile.
func (s *Store) HasBlob(d digest.Digest, size int64) bool {
	if d.Validate() != nil {
		return false
	}
	s.touch(d)
	st, err := os.Stat(s.blobPath(d))
	return err == nil && st.Mode().IsRegular() && (size < 0 || st.Size() == size)
}

// OpenBlob opens a blob for reading. Its digest is checked while it is read:
// a read that reaches the end of a blob that is not what it should be returns
// a *BlobError instead of io.EOF.
func (s *Store) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("opening blob %q: %w", d, err)
	}
	path := s.blobPath(d)
	f, err := os.Open(path)
	if err != nil {
		return nil, blobError(d, "", path, err)
	}
	return &verifyReader{f: f, digest: d, digester: d.Algorithm().Digester()}, nil
}

type verifyReader struct {
	f        *os.File
	digest   digest.Digest
	digester digest.Digester
}

func (v *verifyReader) Read(p []byte) (int, error) {
	n, err := v.f.Read(p)
	v.digester.Hash().Write(p[:n])
	if err == io.EOF {
		if got := v.digester.Digest(); got != v.digest {
			return n, &BlobError{Digest: v.digest, Path: v.f.Name(), Detail: "its content has digest " + got.String()}
		}
	}
	return n, err
}

func (v *verifyReader) Close() error { return v.f.Close() }

// WriteBlob stores what r gives. If want is not "" the content must have that
// digest, and if size is not negative that many bytes; a blob that is in the
// store already is not read from r at all. The blob becomes visible only when
// it is whole, checked and synced to disk. It returns the digest and the size.
func (s *Store) WriteBlob(ctx context.Context, r io.Reader, want digest.Digest, size int64) (digest.Digest, int64, error) {
	alg, what := digest.Canonical, "a blob"
	if want != "" {
		what = "blob " + want.String()
		if err := want.Validate(); err != nil {
			return "", 0, fmt.Errorf("writing blob %q: %w", want, err)
		}
		if s.HasBlob(want, size) {
			if size < 0 {
				if st, err := os.Stat(s.blobPath(want)); err == nil {
					size = st.Size()
				}
			}
			return want, size, nil
		}
		alg = want.Algorithm()
	}
	if size > 0 {
		// Better now than after writing gigabytes; the rest is for the index.
		if f := free(s.dir); f > 0 && uint64(size)+(1<<20) > f {
			return "", 0, fmt.Errorf("writing %s: %w", what, &FullError{Path: s.dir, Need: size, Free: f})
		}
	}
	d, n, err := s.writeBlob(ctx, r, alg, want, size)
	if err != nil {
		return "", 0, fmt.Errorf("writing %s: %w", what, full(s.dir, size, err))
	}
	return d, n, nil
}

func (s *Store) writeBlob(ctx context.Context, r io.Reader, alg digest.Algorithm, want digest.Digest, size int64) (_ digest.Digest, _ int64, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, "tmp"), "blob.")
	if err != nil {
		return "", 0, err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if size >= 0 {
		// One byte more than allowed tells too much from enough.
		r = io.LimitReader(r, size+1)
	}
	h := alg.Digester()
	n, err := copyContext(ctx, io.MultiWriter(f, h.Hash()), r)
	if err != nil {
		return "", 0, err
	}
	got := h.Digest()
	switch {
	case size >= 0 && n > size:
		return "", 0, &BlobError{Digest: want, Detail: fmt.Sprintf("more than its %d bytes", size)}
	case size >= 0 && n < size:
		return "", 0, &BlobError{Digest: want, Detail: fmt.Sprintf("ends after %d of %d bytes", n, size)}
	case want != "" && got != want:
		return "", 0, &BlobError{Digest: want, Detail: "its content has digest " + got.String()}
	}
	if err := f.Chmod(0o444); err != nil {
		return "", 0, err
	}
	if err := f.Sync(); err != nil {
		return "", 0, err
	}
	if err := f.Close(); err != nil {
		return "", 0, err
	}
	s.touch(got)
	path := s.blobPath(got)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", 0, err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return "", 0, err
	}
	return got, n, syncDir(filepath.Dir(path))
}

// DropBad removes a blob if its content is not what its digest says, so that
// it can be written again, and reports whether it did.
func (s *Store) DropBad(ctx context.Context, d digest.Digest) (bool, error) {
	r, err := s.OpenBlob(d)
	if err != nil {
		return false, err
	}
	defer r.Close()
	_, err = copyContext(ctx, io.Discard, r)
	if _, bad := err.(*BlobError); !bad {
		return false, err
	}
	if err := os.Remove(s.blobPath(d)); err != nil {
		return false, fmt.Errorf("removing bad blob: %w", err)
	}
	return true, nil
}
