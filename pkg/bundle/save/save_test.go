package save

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/store"
)

const layoutFile = `{"imageLayoutVersion":"1.0.0"}`

func saveTo(t testing.TB, st *store.Store, entries []store.Entry, opts Options) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "set.tar")
	testenv.Must[Summary](t)(Bundle(t.Context(), st, entries, out, opts))
	return out
}

// A named pipe is written in place, not replaced by a file: as root, replacing
// /dev/null would break the machine.
func TestSaveToPipe(t *testing.T) {
	s, entries := storetest.Fill(t)
	want, err := os.ReadFile(saveTo(t, s, entries, Options{}))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	r, err := os.OpenFile(path, os.O_RDWR, 0) // so that neither side waits for the other
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got := make(chan []byte, 1)
	go func() {
		b := make([]byte, len(want))
		n, _ := io.ReadFull(r, b)
		got <- b[:n]
	}()
	if _, err := Bundle(context.Background(), s, entries, path, Options{}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != os.ModeNamedPipe {
		t.Fatalf("the pipe became %v (%v)", st.Mode(), err)
	}
	if b := <-got; !bytes.Equal(b, want) {
		t.Errorf("%d bytes came through, and not the bundle's %d", len(b), len(want))
	}
}

// /dev/shm is a directory of ordinary files. The test needs a file system in memory there.
func TestSaveToSharedMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "kolla-build-*")
	if err != nil {
		testenv.Missing(t, "this test needs a writable /dev/shm: "+err.Error())
	}
	defer os.RemoveAll(dir)
	s, entries := storetest.Fill(t)
	path := filepath.Join(dir, "set.tar")
	if _, err := Bundle(context.Background(), s, entries, path, Options{}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() == 0 {
		t.Errorf("nothing was saved (%v)", err)
	}
}

// A link is followed and stays a link; a directory is an error.
func TestSaveThroughLink(t *testing.T) {
	ctx := context.Background()
	s, entries := storetest.Fill(t)
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link.tar"), filepath.Join(dir, "set.tar")
	if err := errors.Join(os.Symlink("set.tar", link), os.WriteFile(file, []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	testenv.Must[Summary](t)(Bundle(ctx, s, entries, link, Options{}))
	if fi := testenv.Must[os.FileInfo](t)(os.Lstat(link)); fi.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if b := testenv.Must[[]byte](t)(os.ReadFile(file)); string(b) == "old" {
		t.Error("the link's file is the old one")
	}
	if _, err := Bundle(ctx, s, entries, dir, Options{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("into a directory: %v", err)
	}
}

// resized is a source whose layers have other sizes than their descriptors say.
type resized struct {
	*store.Store
	by int
}

func (r resized) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	f, err := r.Store.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	return io.NopCloser(bytes.NewReader(append(b, 0)[:len(b)+r.by])), err
}

// A blob of another size than expected is an error: in a tar it would shift what follows.
func TestSaveWrongSizes(t *testing.T) {
	s, entries := storetest.FillSize(t, 40_000)
	for _, by := range []int{-1, 1} {
		for _, name := range []string{"set.tar", "-", "set/"} {
			out := name
			if name != "-" {
				out = t.TempDir() + "/" + name
			}
			_, err := Bundle(t.Context(), resized{s, by}, entries, out, Options{Stdout: io.Discard})
			if err == nil || !strings.Contains(err.Error(), "are expected") {
				t.Errorf("%s, %+d byte: %v", name, by, err)
			}
		}
	}
}

// A blob of the store that has grown is damaged, as one with other bytes is.
func TestSaveGrownBlob(t *testing.T) {
	s, entries := storetest.FillSize(t, 40_000)
	for d := range storetest.LayersOfAll(t, s, entries[0]) {
		path := filepath.Join(s.Dir(), bundle.BlobPath(d))
		if err := errors.Join(os.Chmod(path, 0o600), os.Truncate(path, 100_000)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Bundle(t.Context(), s, entries, filepath.Join(t.TempDir(), "set.tar"), Options{})
	var damaged *store.BlobError
	if !errors.As(err, &damaged) {
		t.Errorf("%v, want a *store.BlobError", err)
	}
}
