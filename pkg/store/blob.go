package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/asynchash"
	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// touch records that this process uses a blob, so that GC keeps it. It must be called
// before the file is accessed, so that either the access or GC notices the other.
func (s *Store) touch(d digest.Digest) {
	s.touchMu.Lock()
	s.touched[d] = true
	s.touchMu.Unlock()
}

// HasBlob reports whether a blob of this size is in the store; a negative size
// matches any. GC keeps the blob until the store is closed. The content is not
// checked.
func (s *Store) HasBlob(d digest.Digest, size int64) bool {
	if d.Validate() != nil {
		return false
	}
	s.touch(d)
	st, err := os.Stat(s.blobPath(d))
	return err == nil && st.Mode().IsRegular() && (size < 0 || st.Size() == size)
}

// OpenBlob opens a blob for reading. Its digest is checked while it is read: if
// the content is damaged, the read that reaches the end returns a *BlobError
// instead of io.EOF.
func (s *Store) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("opening blob %q: %w", d, err)
	}
	path := s.blobPath(d)
	f, err := inputfile.OpenRegular(path)
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

// File returns the blob's file, for callers that copy it and verify the copy.
func (v *verifyReader) File() *os.File { return v.f }

// WriteBlob stores the content of r. If expected is not "", the content must have
// that digest, and if size is not negative, that many bytes. r is not read if the
// store has the blob; the content of a blob that is small enough to be a manifest
// or config is verified first, and replaced if it is damaged. The blob becomes
// visible when it is complete, verified and synced. WriteBlob returns its digest
// and size.
func (s *Store) WriteBlob(ctx context.Context, r io.Reader, expected digest.Digest, size int64) (
	digest.Digest, int64, error) {
	b, err := s.receive(ctx, r, expected, size, false)
	if err != nil {
		return "", 0, err
	}
	d, err := b.commit(ctx)
	if err != nil {
		return "", 0, err
	}
	return d, b.size, nil
}

// receive reads the content of a blob. Every blob that it returns must be committed. With
// batched, the caller syncs its directory after that.
func (s *Store) receive(ctx context.Context, r io.Reader, expected digest.Digest, size int64, batched bool) (
	*received, error) {
	alg, what := digest.Canonical, "a blob"
	if expected != "" {
		what = "blob " + expected.String()
		if err := expected.Validate(); err != nil {
			return nil, fmt.Errorf("writing blob %q: %w", expected, err)
		}
		if n, ok := s.intact(expected, size); ok {
			return &received{s: s, want: expected, size: n}, nil
		}
		alg = expected.Algorithm()
	}
	if s.readOnly {
		return nil, fmt.Errorf("writing %s: %w", what, errReadOnly)
	}
	if size > 0 {
		// Fail before gigabytes are written. 1 MiB is reserved for the index.
		if f := freeSpace(s.dir); f > 0 && uint64(size)+(1<<20) > f {
			return nil, fmt.Errorf("writing %s: %w", what, &FullError{Path: s.dir, Need: size, Free: f})
		}
	}
	b := &received{
		s:         s,
		what:      what,
		dir:       filepath.Join(s.dir, "blobs", alg.String()),
		algorithm: alg,
		want:      expected,
		batched:   batched,
	}
	if err := b.read(ctx, r, size); err != nil {
		return nil, b.failure(size, err)
	}
	return b, nil
}

// intact reports whether a blob is in the store, and its size. Small blobs are
// verified; reading large ones whenever they are needed would take too long.
func (s *Store) intact(d digest.Digest, size int64) (int64, bool) {
	if !s.HasBlob(d, size) {
		return 0, false
	}
	if size < 0 {
		st, err := os.Stat(s.blobPath(d))
		if err != nil {
			return 0, false
		}
		size = st.Size()
	}
	if size <= ocijson.MaxBytes {
		if _, err := s.readSmall(d, ""); err != nil {
			return 0, false
		}
	}
	return size, true
}

// received is a blob whose content was read, and which is not visible yet.
type received struct {
	s         *Store
	what      string // in errors
	dir       string
	algorithm digest.Algorithm
	want      digest.Digest // "" for any
	batched   bool
	size      int64
	file      *atomicfile.File // nil if the store had the blob

	// sum waits for the hash of the content, or until the context ends.
	sum func(context.Context) ([]byte, error)
}

func (b *received) failure(need int64, err error) error {
	return fmt.Errorf("writing %s: %w", b.what, noSpace(b.s.dir, need, err))
}

// read writes the content to a temporary file, which it closes after an error.
func (b *received) read(ctx context.Context, r io.Reader, size int64) error {
	opts := atomicfile.Options{Mode: 0o444, Durable: true, NameLater: b.batched, TempDir: filepath.Join(b.s.dir, "tmp")}
	f, err := atomicfile.Create(filepath.Join(b.dir, "blob"), opts)
	if err != nil {
		return err
	}
	b.file = f
	err = errors.ErrUnsupported
	if section, ok := r.(*filecopy.Section); ok && section.Size() == size && size >= filecopy.MinSize {
		err = b.copy(ctx, section)
	}
	if errors.Is(err, errors.ErrUnsupported) {
		err = b.write(ctx, r, size)
	}
	switch {
	case err != nil:
	case size >= 0 && b.size > size:
		err = &BlobError{Digest: b.want, Detail: fmt.Sprintf("more than its %d bytes", size)}
	case size >= 0 && b.size < size:
		err = &BlobError{Digest: b.want, Detail: fmt.Sprintf("ends after %d of %d bytes", b.size, size)}
	default:
		return nil
	}
	if b.sum != nil {
		_, _ = b.sum(ctx)
	}
	f.Close()
	return err
}

// copy copies the content within the kernel. What was written is then read to be hashed, as
// fast as the processors can while the next blobs are copied.
func (b *received) copy(ctx context.Context, section *filecopy.Section) error {
	hash := asynchash.OfFile(b.file, 0, b.algorithm.Hash(), section.Progress)
	early := disk.NewEarlyWriter(b.file.File)
	err := section.CopyTo(ctx, b.file.File, 0, func(n int64) { hash.Written(n); early.Wrote(n) })
	if err != nil {
		hash.Stop()
		return err
	}
	early.Start() // the rest, while it is hashed
	b.size, b.sum = section.Size(), hash.Sum
	return nil
}

func (b *received) write(ctx context.Context, r io.Reader, size int64) (err error) {
	if size >= 0 {
		r = io.LimitReader(r, size+1) // one more byte shows that there are too many
	}
	hash := asynchash.New(b.algorithm.Hash())
	b.sum = func(context.Context) ([]byte, error) { return hash.Sum(), nil }
	early := disk.NewEarlyWriter(b.file.File)
	b.size, err = hash.Copy(ctx, early, r)
	early.Start() // the rest, while it is hashed
	return err
}

// commit verifies a blob, syncs it and makes it visible. It may be called once.
func (b *received) commit(ctx context.Context) (digest.Digest, error) {
	if b.file == nil {
		return b.want, nil
	}
	defer b.file.Close()
	if err := b.verify(ctx); err != nil {
		return "", err
	}
	return b.want, b.publish()
}

// verify compares the content with the digest, and sets the digest if any was accepted.
func (b *received) verify(ctx context.Context) error {
	sum, err := b.sum(ctx)
	if err != nil {
		return b.failure(0, err)
	}
	got := digest.NewDigestFromBytes(b.algorithm, sum)
	if b.want != "" && got != b.want {
		return b.failure(0, &BlobError{Digest: b.want, Detail: "its content has digest " + got.String()})
	}
	b.want = got
	return nil
}

// publish syncs a verified blob and makes it visible.
func (b *received) publish() error {
	b.s.touch(b.want)
	path := b.s.blobPath(b.want)
	err := atomicfile.MkdirAll(b.dir, 0o755)
	if err == nil {
		err = b.file.CommitAs(path)
	}
	if err != nil {
		if st, statErr := os.Lstat(path); statErr == nil && st.IsDir() {
			err = &OpenError{Path: path, Problem: ProblemInPlace, Advice: "remove the directory, which kolla-build does not make"}
		}
		return b.failure(b.size, err)
	}
	if st, ok := b.s.stampOf(b.want); ok && st.Size == b.size {
		b.s.recordVerified(b.want, st)
	}
	return nil
}

// DropBad removes a blob if its content does not match its digest, so that it can
// be written again, and reports whether it did.
func (s *Store) DropBad(ctx context.Context, d digest.Digest) (bool, error) {
	r, err := s.OpenBlob(d)
	if err != nil {
		return false, err
	}
	defer r.Close()
	_, err = ctxio.Copy(ctx, io.Discard, r)
	var damaged *BlobError
	if !errors.As(err, &damaged) {
		return false, err
	}
	if s.readOnly {
		return false, errReadOnly
	}
	// Another process may have repaired the blob in the meantime.
	read, err := r.(*verifyReader).f.Stat()
	if err != nil {
		return false, fmt.Errorf("removing damaged blob: %w", err)
	}
	if current, err := os.Lstat(s.blobPath(d)); err == nil && !os.SameFile(read, current) {
		return false, nil
	}
	if err := os.Remove(s.blobPath(d)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("removing damaged blob: %w", err)
	}
	return true, nil
}
