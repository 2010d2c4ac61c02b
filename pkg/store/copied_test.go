package store

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/filecopy"
)

// A blob from a file is verified as one from any reader, whether the file is on the file system
// of the store or on another one.
func TestBlobsFromFiles(t *testing.T) {
	content := bytes.Repeat([]byte("0123456789"), filecopy.MinSize/5)
	wrong := bytes.Replace(content, []byte("9"), []byte("8"), 1)
	const offset = 100
	for place, dir := range map[string]string{"same file system": t.TempDir(), "another file system": sharedMemory(t)} {
		s, err := Open(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		section := func(content []byte, size int64) *filecopy.Section {
			f, err := os.Create(filepath.Join(dir, "file"))
			if err == nil {
				_, err = f.WriteAt(content, offset)
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { f.Close() })
			return filecopy.NewSection(f, offset, size, nil)
		}
		want, size := digest.FromBytes(content), int64(len(content))
		var damaged *BlobError
		if _, _, err := s.WriteBlob(t.Context(), section(wrong, size), want, size); !errors.As(err, &damaged) {
			t.Errorf("%s: damaged content: %v", place, err)
		}
		if _, _, err := s.WriteBlob(t.Context(), section(content[:filecopy.MinSize], size), want, size); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%s: truncated content: %v", place, err)
		}
		if _, _, err := s.WriteBlob(t.Context(), section(content, size-1), want, size); !errors.As(err, &damaged) {
			t.Errorf("%s: a section that is shorter than the blob: %v", place, err)
		}
		if s.HasBlob(want, -1) {
			t.Errorf("%s: the store has a blob that was not verified", place)
		}
		if got, n, err := s.WriteBlob(t.Context(), section(content, size), want, size); got != want || n != size || err != nil {
			t.Errorf("%s: %s of %d bytes, want %s (%v)", place, got, n, want, err)
		}
		if damaged, err := s.DropBad(t.Context(), want); damaged || err != nil {
			t.Errorf("%s: damaged: %t, %v", place, damaged, err)
		}
		if left, err := os.ReadDir(filepath.Join(s.Dir(), "tmp")); err != nil || len(left) != 0 {
			t.Errorf("%s: temporary files %v (%v)", place, left, err)
		}
	}
}

// sharedMemory returns a directory on a file system in memory.
func sharedMemory(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "store")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}
