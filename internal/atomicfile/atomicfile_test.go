package atomicfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func TestWriteFile(t *testing.T) {
	for name, opts := range map[string]Options{
		"plain":   {},
		"durable": {Durable: true},
		"mode":    {Mode: 0o600},
		"tempdir": {Durable: true, TempDir: t.TempDir()},
	} {
		t.Run(name, func(t *testing.T) {
			defer syscall.Umask(syscall.Umask(0o077))
			path := filepath.Join(t.TempDir(), "state.json")
			for _, content := range []string{"first", "second, longer", ""} {
				if err := WriteFile(path, []byte(content), opts); err != nil {
					t.Fatal(err)
				}
				want(t, path, content)
			}
			mode := opts.Mode
			if mode == 0 {
				mode = 0o644
			}
			if fi, err := os.Stat(path); err != nil || fi.Mode() != mode {
				t.Errorf("mode %v (%v), want %v", fi.Mode(), err, mode)
			}
			alone(t, path)
		})
	}
	if err := WriteFile(filepath.Join(t.TempDir(), "no", "such"), nil, Options{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without its directory: %v", err)
	}
}

func TestFailedCommitKeepsOldFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := Create(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("new"); err != nil {
		t.Fatal(err)
	}
	if err := f.CommitAs(filepath.Join(dir, "no", "such")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("commit into a missing directory: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	want(t, path, "old")
	alone(t, path)
}

func TestCommitAs(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "blob"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "sha256-of-it")
	if err := f.CommitAs(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Errorf("Close after the commit: %v", err)
	}
	want(t, path, "content")
	alone(t, path)
	if err := f.Commit(); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("second commit: %v", err)
	}
}

// TestReadersSeeWholeFiles reads while others replace: content is never mixed,
// cut short or missing.
func TestReadersSeeWholeFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	contents := map[string]bool{}
	var all [][]byte
	for i := range 4 {
		b := make([]byte, 200_000+i)
		for j := range b {
			b[j] = byte('a' + i)
		}
		all = append(all, b)
		contents[string(b)] = true
	}
	if err := WriteFile(path, all[0], Options{}); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for _, b := range all {
		writers.Go(func() {
			for range 50 {
				if err := WriteFile(path, b, Options{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 200 {
		b, err := os.ReadFile(path)
		if err != nil || !contents[string(b)] {
			t.Fatalf("read %d bytes that were never written (%v)", len(b), err)
		}
	}
	writers.Wait()
	alone(t, path)
}

func TestOutput(t *testing.T) {
	write := func(text string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, text); return err }
	}
	t.Run("link and mode are kept", func(t *testing.T) {
		dir := t.TempDir()
		file, link := filepath.Join(dir, "file"), filepath.Join(dir, "link")
		if err := os.WriteFile(file, []byte("old"), 0o640); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("file", link); err != nil {
			t.Fatal(err)
		}
		if err := Output(link, Options{Durable: true}, write("new")); err != nil {
			t.Fatal(err)
		}
		want(t, file, "new")
		if fi, err := os.Lstat(link); err != nil || fi.Mode()&fs.ModeSymlink == 0 {
			t.Error("the link was replaced")
		}
		if fi, err := os.Stat(file); err != nil || fi.Mode() != 0o640 {
			t.Errorf("mode %v (%v)", fi.Mode(), err)
		}
	})
	t.Run("a failed write keeps the old file", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(path, []byte("old"), 0o644); err != nil {
			t.Fatal(err)
		}
		cause := errors.New("cause")
		err := Output(path, Options{}, func(w io.Writer) error {
			_, _ = io.WriteString(w, "half")
			return cause
		})
		if !errors.Is(err, cause) {
			t.Errorf("got %v", err)
		}
		want(t, path, "old")
		alone(t, path)
	})
	t.Run("named pipe", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(path, 0o600); err != nil {
			t.Fatal(err)
		}
		read := make(chan string)
		go func() {
			b, _ := os.ReadFile(path)
			read <- string(b)
		}()
		if err := Output(path, Options{}, write("through")); err != nil {
			t.Fatal(err)
		}
		if got := <-read; got != "through" {
			t.Errorf("the reader got %q", got)
		}
		if fi, err := os.Lstat(path); err != nil || fi.Mode()&fs.ModeNamedPipe == 0 {
			t.Error("the pipe was replaced")
		}
	})
	t.Run("full device", func(t *testing.T) {
		if err := Output("/dev/full", Options{}, write("x")); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("directory", func(t *testing.T) {
		if err := Output(t.TempDir(), Options{}, write("x")); !errors.Is(err, syscall.EISDIR) {
			t.Errorf("got %v", err)
		}
	})
	for path, want := range map[string]bool{"/dev/stdout": true, "/dev/shm/x": false,
		"/devices/x": false, "dev/null": false} {
		if InDev(path) != want {
			t.Errorf("InDev(%q) is not %t", path, want)
		}
	}
}

func TestRename(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Rename(filepath.Join(dir, "a"), filepath.Join(dir, "b")); err != nil {
		t.Fatal(err)
	}
	want(t, filepath.Join(dir, "b"), "x")
	if err := Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func want(t *testing.T, path, content string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil || string(b) != content {
		t.Errorf("%s has %q (%v), want %q", path, b, err, content)
	}
}

// alone checks that no temporary file is left beside a file.
func alone(t *testing.T, path string) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".*"))
	if err != nil || len(names) > 0 {
		t.Errorf("left behind: %v (%v)", names, err)
	}
}

// A process that is killed while it writes leaves nothing behind.
func TestNothingIsVisibleBeforeCommit(t *testing.T) {
	dir := t.TempDir()
	f, err := Create(filepath.Join(dir, "f"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if f.temp != "" {
		t.Skip("this file system has no files without names")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	if err := f.Commit(); err != nil {
		t.Fatal(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 || names[0].Name() != "f" {
		t.Errorf("%v, %v", names, err)
	}
}

// TestUnnamed checks that nothing is left of a file when its process is killed: it has no
// name from the beginning.
func TestUnnamed(t *testing.T) {
	dir := t.TempDir()
	f, err := Unnamed(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if names, err := os.ReadDir(dir); err != nil || len(names) > 0 {
		t.Errorf("the directory has %v (%v)", names, err)
	}
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if _, err := f.ReadAt(b, 0); err != nil || string(b) != "content" {
		t.Errorf("%q (%v)", b, err)
	}
	if _, err := Unnamed(filepath.Join(dir, "missing")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("in a missing directory: %v", err)
	}
}

// TestDanglingLink checks that a link to a file that does not exist yet stays a link.
func TestDanglingLink(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, link := range map[string]string{
		"dir": "real/sub", "first": "second", "second": "dir/../new", "circle": "circle", "lost": "missing/new",
	} {
		if err := os.Symlink(link, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	write := func(name string) error {
		return Output(filepath.Join(dir, name), Options{}, func(w io.Writer) error {
			_, err := io.WriteString(w, "content")
			return err
		})
	}
	if err := write("first"); err != nil {
		t.Fatal(err)
	}
	// dir is a link, so dir/.. is not the directory of the link.
	if b, err := os.ReadFile(filepath.Join(dir, "real", "new")); err != nil || string(b) != "content" {
		t.Errorf("the target has %q, %v", b, err)
	}
	for _, name := range []string{"circle", "lost"} {
		if err := write(name); err == nil {
			t.Errorf("%s was written", name)
		}
	}
	for _, name := range []string{"first", "second", "circle", "lost"} {
		if fi, err := os.Lstat(filepath.Join(dir, name)); err != nil || fi.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link %s was replaced (%v)", name, err)
		}
	}
}

// TestLinksOfOthers checks that a link which another user placed in a directory such as /tmp
// is followed only if the kernel follows it for other programs (fs.protected_symlinks).
func TestLinksOfOthers(t *testing.T) {
	testenv.Root(t)
	setting, _ := os.ReadFile("/proc/sys/fs/protected_symlinks")
	protected, content := string(setting) == "1\n", ""
	if protected {
		content = "old"
	}
	dir := t.TempDir()
	shared := filepath.Join(dir, "shared")
	if err := errors.Join(os.Mkdir(shared, 0o755), os.Chmod(shared, 0o777|os.ModeSticky)); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(dir, "victim")
	for _, exists := range []bool{false, true} {
		if exists {
			if err := os.WriteFile(victim, []byte("old"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		link := filepath.Join(shared, fmt.Sprint("link-", exists))
		if err := errors.Join(os.Symlink(victim, link), os.Lchown(link, 65534, 65534)); err != nil {
			t.Fatal(err)
		}
		err := Output(link, Options{}, func(io.Writer) error { return nil })
		if protected && !errors.Is(err, fs.ErrPermission) || !protected && err != nil {
			t.Errorf("target exists: %v, links are protected: %v: %v", exists, protected, err)
		}
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != content {
		t.Errorf("the target has %q, want %q, %v", b, content, err)
	}
}
