package store

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// copies counts the calls of copy_file_range that copied something. Calls from the one with the
// number failFrom, unless that is 0, return failure and copy nothing.
type copies struct{ calls, copied, failFrom atomic.Int64 }

func countCopies(t *testing.T, failure error) *copies {
	t.Helper()
	c := &copies{}
	t.Cleanup(func() { filecopy.CopyFileRange = unix.CopyFileRange })
	filecopy.CopyFileRange = func(from int, fromAt *int64, to int, toAt *int64, size, flags int) (int, error) {
		if fail := c.failFrom.Load(); c.calls.Add(1) >= fail && fail > 0 {
			return 0, failure
		}
		n, err := unix.CopyFileRange(from, fromAt, to, toAt, size, flags)
		if n > 0 {
			c.copied.Add(1)
		}
		return n, err
	}
	return c
}

// sectionOf returns a part of a new file.
func sectionOf(t *testing.T, dir string, content []byte, size int64, progress func(int64)) *filecopy.Section {
	t.Helper()
	const offset = 100
	f, err := os.CreateTemp(dir, "file")
	if err == nil {
		_, err = f.WriteAt(content, offset)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return filecopy.NewSection(f, offset, size, progress)
}

// A blob from a file is verified as one from any reader, whether it is copied within the kernel,
// or read because the file is on another file system, because the kernel cannot copy, or because
// it copies nothing.
func TestBlobsFromFiles(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), filecopy.MinSize/5)
	wrong := bytes.Replace(content, []byte("9"), []byte("8"), 1)
	want, size := digest.FromBytes(content), int64(len(content))
	for name, c := range map[string]struct {
		dir     func(*testing.T) string
		fail    bool
		failure error
	}{
		"same file system":    {dir: (*testing.T).TempDir},
		"another file system": {dir: testenv.OtherFileSystem},
		"copies fail":         {(*testing.T).TempDir, true, unix.EXDEV},
		"nothing is copied":   {(*testing.T).TempDir, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			dir, calls := c.dir(t), countCopies(t, c.failure)
			if c.fail {
				calls.failFrom.Store(1)
			}
			s, err := Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			var damaged *BlobError
			if _, _, err := s.WriteBlob(t.Context(), sectionOf(t, dir, wrong, size, nil), want,
				size); !errors.As(err, &damaged) {
				t.Errorf("damaged content: %v", err)
			}
			truncated := sectionOf(t, dir, content[:filecopy.MinSize], size, nil)
			if _, _, err := s.WriteBlob(t.Context(), truncated, want, size); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("truncated content: %v", err)
			}
			if _, _, err := s.WriteBlob(t.Context(), sectionOf(t, dir, content, size-1, nil), want,
				size); !errors.As(err, &damaged) {
				t.Errorf("a section that is shorter than the blob: %v", err)
			}
			if s.HasBlob(want, -1) {
				t.Error("the store has a blob that was not verified")
			}
			var read atomic.Int64
			section := sectionOf(t, dir, content, size, func(n int64) { read.Add(n) })
			if got, n, err := s.WriteBlob(t.Context(), section, want, size); got != want || n != size || err != nil {
				t.Errorf("%s of %d bytes, want %s (%v)", got, n, want, err)
			}
			if read.Load() != size {
				t.Errorf("%d of %d bytes were reported", read.Load(), size)
			}
			if damaged, err := s.DropBad(t.Context(), want); damaged || err != nil {
				t.Errorf("damaged: %t, %v", damaged, err)
			}
			checkNoTemporaries(t, s)
			if within := name == "same file system"; calls.calls.Load() == 0 || within != (calls.copied.Load() > 0) {
				t.Errorf("%d of %d calls copied within the kernel", calls.copied.Load(), calls.calls.Load())
			}
		})
	}
}

// A copy that fails after its first step is an error, and nothing of it remains.
func TestFullDiskWhileABlobIsCopied(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1<<20) // more than one step
	calls := countCopies(t, unix.ENOSPC)
	calls.failFrom.Store(2)
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	size := int64(len(content))
	var full *FullError
	_, _, err = s.WriteBlob(t.Context(), sectionOf(t, t.TempDir(), content, size, nil), digest.FromBytes(content), size)
	if !errors.As(err, &full) || calls.copied.Load() != 1 {
		t.Errorf("after %d steps: %v", calls.copied.Load(), err)
	}
	checkNoTemporaries(t, s)
}

// The end of the context stops the verification of a copy, which shared blocks make necessary
// for the whole blob.
func TestInterruptedVerification(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), 1<<20)
	size, want, stopped := int64(len(content)), digest.FromBytes(content), errors.New("stopped")
	for name, write := range map[string]func(context.Context, *Store, io.Reader) error{
		"one": func(ctx context.Context, s *Store, r io.Reader) error {
			_, _, err := s.WriteBlob(ctx, r, want, size)
			return err
		},
		"batch": func(ctx context.Context, s *Store, r io.Reader) error {
			b := s.Batch()
			return errors.Join(b.Write(ctx, r, want, size, func(err error) error { return err }), b.Wait())
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			t.Cleanup(func() { filecopy.CopyFileRange = unix.CopyFileRange })
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan struct{})
			filecopy.CopyFileRange = func(from int, fromAt *int64, to int, toAt *int64, size, flags int) (int, error) {
				n, err := unix.CopyFileRange(from, fromAt, to, toAt, size, flags)
				if *fromAt >= 100+int64(len(content)) {
					close(done)
				}
				return n, err
			}
			// Progress waits for the whole copy, as if that took no time.
			section := sectionOf(t, t.TempDir(), content, size, func(int64) { <-done; cancel(stopped) })
			if err := write(ctx, s, section); !errors.Is(err, stopped) || s.HasBlob(want, -1) {
				t.Errorf("stored: %t (%v)", s.HasBlob(want, -1), err)
			}
			checkNoTemporaries(t, s)
		})
	}
}

func checkNoTemporaries(t *testing.T, s *Store) {
	t.Helper()
	if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) != 0 {
		t.Errorf("temporary files %v (%v)", left, err)
	}
}
