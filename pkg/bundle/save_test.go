package bundle

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
)

// A named pipe is written in place, not replaced by a file: as root, replacing
// /dev/null would break the machine.
func TestSaveToPipe(t *testing.T) {
	s, entries := fill(t)
	want, err := os.ReadFile(saveTo(t, s, entries, SaveOptions{}))
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
	if _, err := Save(context.Background(), s, entries, path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Lstat(path); err != nil || st.Mode().Type() != os.ModeNamedPipe {
		t.Fatalf("the pipe became %v (%v)", st.Mode(), err)
	}
	if b := <-got; !bytes.Equal(b, want) {
		t.Errorf("%d bytes came through, and not the bundle's %d", len(b), len(want))
	}
}

// /dev/shm is a directory of ordinary files.
func TestSaveToSharedMemory(t *testing.T) {
	dir, err := os.MkdirTemp("/dev/shm", "kolla-build-*")
	if err != nil {
		t.Skip(err)
	}
	defer os.RemoveAll(dir)
	s, entries := fill(t)
	path := filepath.Join(dir, "set.tar")
	if _, err := Save(context.Background(), s, entries, path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(path); err != nil || st.Size() == 0 {
		t.Errorf("nothing was saved (%v)", err)
	}
}

// A link leads to its file and stays a link; a directory is no file to save to.
func TestSaveThroughLink(t *testing.T) {
	ctx := context.Background()
	s, entries := fill(t)
	dir := t.TempDir()
	link, file := filepath.Join(dir, "link.tar"), filepath.Join(dir, "set.tar")
	if err := errors.Join(os.Symlink("set.tar", link), os.WriteFile(file, []byte("old"), 0o644)); err != nil {
		t.Fatal(err)
	}
	must[Summary](t)(Save(ctx, s, entries, link, SaveOptions{}))
	if fi := must[os.FileInfo](t)(os.Lstat(link)); fi.Mode()&os.ModeSymlink == 0 {
		t.Error("the link was replaced")
	}
	if b := must[[]byte](t)(os.ReadFile(file)); string(b) == "old" {
		t.Error("the link's file is the old one")
	}
	if _, err := Save(ctx, s, entries, dir, SaveOptions{}); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("into a directory: %v", err)
	}
}
