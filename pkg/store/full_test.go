package store

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestFullDisk(t *testing.T) {
	err := noSpace("/", 1<<60, &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC})
	var fe *FullError
	if !errors.As(err, &fe) || !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "1.0 EiB needed") {
		t.Errorf("full = %v", err)
	}
	fe = &FullError{Path: "/data", Need: 159, Free: 1 << 20} // a larger file failed at the same time
	if text := fe.Error(); strings.Contains(text, "needed") || strings.Contains(text, "free") {
		t.Errorf("enough space since: %q", text)
	}
	s := open(t, t.TempDir())
	_, _, err = s.WriteBlob(context.Background(), strings.NewReader("x"), digest.FromString("x"), 1<<60)
	if !errors.As(err, &fe) {
		t.Errorf("a blob larger than the disk: %v", err)
	}
}

// A full disk, where a tmpfs can be mounted.
func TestFullTmpfs(t *testing.T) {
	dir := testenv.Tmpfs(t, "2m")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	small := write(t, s, randomImage(t, 1000, 1))
	put(t, s, Entry{Name: "small:t", Digest: small})
	var fe *FullError
	if _, err := s.WriteImage(context.Background(), randomImage(t, 4<<20, 1)); !errors.As(err, &fe) {
		t.Errorf("larger than the free space: %v", err)
	}
	if _, _, err := s.WriteBlob(context.Background(), &endless{}, "", -1); !errors.As(err, &fe) {
		t.Errorf("of unknown size: %v", err)
	}
	if leftover, _ := os.ReadDir(filepath.Join(dir, "tmp")); len(leftover) != 0 {
		t.Errorf("left behind: %v", leftover)
	}
	put(t, s, Entry{Name: "small:u", Digest: small})
	if err := s.Verify(context.Background(), small); err != nil {
		t.Error(err)
	}
}

type endless struct{ n byte }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		e.n = e.n*167 + 13
		p[i] = e.n
	}
	return len(p), nil
}

// A store that cannot be written to can be read, and is not changed.
func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	if _, err := OpenReadOnly(dir); err == nil {
		t.Error("an empty directory is treated as a store")
	}
	s := open(t, dir)
	d := write(t, s, randomImage(t, 1000, 2))
	put(t, s, Entry{Name: "kolla/base:t", Digest: d, Key: "k1"})
	s.Close()
	before := listing(t, dir)
	r, err := OpenReadOnly(dir)
	if err != nil {
		t.Fatal(err)
	}
	if e, ok, err := r.Lookup("kolla/base:t"); err != nil || !ok || e.Digest != d {
		t.Errorf("Lookup: %v %v %v", e.Digest, ok, err)
	}
	if err := r.Verify(t.Context(), d); err != nil {
		t.Error(err)
	}
	if after := listing(t, dir); after != before {
		t.Errorf("reading changed the directory:\n%s\nbefore:\n%s", after, before)
	}
	other, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var busy *BusyError
	if _, err := other.GC(t.Context()); !errors.As(err, &busy) {
		t.Errorf("GC beside a reader: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}

func listing(t *testing.T, dir string) string {
	t.Helper()
	out, err := exec.Command("find", dir, "-printf", "%p %s %m %T@\n").Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
