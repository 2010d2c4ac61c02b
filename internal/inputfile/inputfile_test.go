package inputfile

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := Read(t.Context(), path, 5); err != nil || string(b) != "12345" {
		t.Errorf("%q, %v", b, err)
	}
	var large *TooLargeError
	for _, p := range []string{path, "/dev/zero"} {
		if _, err := Read(t.Context(), p, 4); !errors.As(err, &large) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := Read(t.Context(), t.TempDir(), 4); !errors.Is(err, syscall.EISDIR) {
		t.Errorf("a directory: %v", err)
	}
	if b, err := Read(t.Context(), "/dev/null", 4); err != nil || len(b) != 0 {
		t.Errorf("/dev/null: %q, %v", b, err)
	}
}

func TestPlainError(t *testing.T) {
	_, err := Read(t.Context(), "nosuch", 4)
	if err = PlainError(err); !errors.Is(err, fs.ErrNotExist) || err.Error() != "nosuch: no such file or directory" {
		t.Errorf("%v", err)
	}
	if other := errors.New("other"); PlainError(other) != other || PlainError(nil) != nil {
		t.Error("an error that names no file was changed")
	}
}

func TestNamedPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte(strings.Repeat("x", 1<<20)), 0) }()
	if b, err := Read(t.Context(), path, 2<<20); err != nil || len(b) != 1<<20 {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	if err := <-written; err != nil {
		t.Error(err)
	}
	stop := errors.New("stop")
	// Nobody writes: neither opening nor reading waits for longer than the context.
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	if _, err := Open(ctx, path); !errors.Is(err, stop) {
		t.Errorf("opening: %v", err)
	}
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel = context.WithCancelCause(t.Context())
	r, err := Open(ctx, path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, err := w.WriteString("a"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel(stop)
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, stop) {
		t.Errorf("reading: %v", err)
	}
}

func TestWait(t *testing.T) {
	if v, err := Wait(t.Context(), func() (int, error) { return 1, nil }, nil); v != 1 || err != nil {
		t.Errorf("%d, %v", v, err)
	}
	stop := errors.New("stop")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(stop)
	block, discarded := make(chan struct{}), make(chan int, 1)
	read := func() (int, error) { <-block; return 1, nil }
	if _, err := Wait(ctx, read, func(v int) { discarded <- v }); !errors.Is(err, stop) {
		t.Errorf("after its end: %v", err)
	}
	close(block)
	if v := <-discarded; v != 1 {
		t.Errorf("%d was discarded", v)
	}
}

// State files can be replaced by others: no read waits for a writer or fills the memory.
func TestReadRegular(t *testing.T) {
	dir := t.TempDir()
	path, pipe, link, dangling := filepath.Join(dir, "f"), filepath.Join(dir, "pipe"), filepath.Join(dir, "link"),
		filepath.Join(dir, "dangling")
	if err := errors.Join(os.WriteFile(path, []byte("12345"), 0o600), syscall.Mkfifo(pipe, 0o600), os.Symlink(path, link),
		os.Symlink(filepath.Join(dir, "none"), dangling)); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, link} {
		if b, err := ReadRegular(p, 5); err != nil || string(b) != "12345" {
			t.Errorf("%s: %q, %v", p, b, err)
		}
	}
	var large *TooLargeError
	if _, err := ReadRegular(path, 4); !errors.As(err, &large) {
		t.Errorf("a large file: %v", err)
	}
	for _, p := range []string{pipe, "/dev/zero", "/dev/tty", dir} {
		if _, err := ReadRegular(p, 4); err == nil || errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := ReadRegular(dangling, 4); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a link to nothing: %v", err)
	}
	sparse := filepath.Join(dir, "sparse")
	if err := errors.Join(os.WriteFile(sparse, nil, 0o600), os.Truncate(sparse, 1<<40)); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadRegular(sparse, MaxState); !errors.As(err, &large) {
		t.Errorf("a sparse file: %v", err)
	}
}

func TestCheckSize(t *testing.T) {
	for size, fits := range map[int]bool{4: true, 5: true, 6: false} {
		if err := CheckSize("f", make([]byte, size), 5); (err == nil) != fits {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
}
