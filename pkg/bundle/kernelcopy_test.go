package bundle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// blobFiles are the layers of two images that are large enough to be copied within the kernel.
func blobFiles(t *testing.T) (*store.Store, []store.Entry, []string) {
	t.Helper()
	s, entries := fillSize(t, 3*filecopy.MinSize)
	var paths []string
	for _, e := range entries {
		for _, l := range must[[]v1.Descriptor](t)(layersOf(s, e)) {
			if l.Size >= filecopy.MinSize {
				paths = append(paths, filepath.Join(s.Dir(), "blobs", "sha256", l.Digest.Hex))
			}
		}
	}
	if len(paths) < 2 {
		t.Fatalf("only %d large layers", len(paths))
	}
	return s, entries, paths
}

// The file is the same, whether the output is on the file system of the store or not.
func TestSaveToFileSystems(t *testing.T) {
	s, entries, _ := blobFiles(t)
	var piped bytes.Buffer
	must[Summary](t)(Save(t.Context(), s, entries, "-", SaveOptions{Stdout: &piped}))
	shm, err := os.MkdirTemp("/dev/shm", "bundle")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(shm)
	for _, dir := range []string{t.TempDir(), shm} {
		out := filepath.Join(dir, "set.tar")
		must[Summary](t)(Save(t.Context(), s, entries, out, SaveOptions{}))
		if b := must[[]byte](t)(os.ReadFile(out)); !bytes.Equal(b, piped.Bytes()) {
			t.Errorf("%s: %d bytes differ from the %d to standard output", out, len(b), piped.Len())
		}
	}
}

// Damage in the store is found although the bytes do not pass through the process, and no file
// gets the name. After a repair, the same save completes.
func TestSaveOfDamagedLargeBlob(t *testing.T) {
	s, entries, paths := blobFiles(t)
	for _, path := range paths {
		whole := must[[]byte](t)(os.ReadFile(path))
		write := func(b []byte) {
			if err := errors.Join(os.Remove(path), os.WriteFile(path, b, 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		damaged := bytes.Clone(whole)
		damaged[filecopy.MinSize/2] ^= 1
		write(damaged)
		out := filepath.Join(t.TempDir(), "set.tar")
		_, err := Save(t.Context(), s, entries, out, SaveOptions{})
		var blob *store.BlobError
		if !errors.As(err, &blob) || blob.Digest.Encoded() != filepath.Base(path) {
			t.Errorf("damaged %s: %v", filepath.Base(path), err)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the damaged bundle has its name (%v)", err)
		}
		write(whole)
		must[Summary](t)(Save(t.Context(), s, entries, out, SaveOptions{}))
		if !must[*Report](t)(Verify(t.Context(), out, VerifyOptions{})).OK {
			t.Error("the bundle after a repair is damaged")
		}
	}
}

// A copy that differs from its source is an error.
func TestWrongCopy(t *testing.T) {
	dir := t.TempDir()
	content := bytes.Repeat([]byte("0123456789"), filecopy.MinSize)
	from := filepath.Join(dir, "from")
	if err := os.WriteFile(from, content, 0o600); err != nil {
		t.Fatal(err)
	}
	intact := contentFile("blobs/sha256/x", content)
	changed := bytes.Clone(content)
	changed[0] ^= 1
	f := file{intact.name, intact.size, digest.FromBytes(changed), func() (io.ReadCloser, error) { return openedFile(from) }}
	out := filepath.Join(dir, "set.tar")
	err := writeToFile(t.Context(), out, []file{f}, &Summary{}, SaveOptions{})
	if err == nil || !strings.Contains(err.Error(), "was not written correctly") {
		t.Error(err)
	}
}

// fileReader is a reader of a file that offers it for copying.
type fileReader struct {
	io.ReadCloser
	f *os.File
}

func (f fileReader) File() *os.File { return f.f }

func openedFile(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	return fileReader{f, f}, err
}
