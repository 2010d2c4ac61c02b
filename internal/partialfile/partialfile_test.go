package partialfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/filelock"
)

func write(t *testing.T, f *File, text string) {
	t.Helper()
	if _, err := io.WriteString(f, text); err != nil {
		t.Fatal(err)
	}
}

func TestContinue(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set.tar")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	write(t, f, "one two")
	var held *filelock.HeldError
	if _, err := Open(path); !errors.As(err, &held) {
		t.Fatalf("opened twice: %v", err)
	}
	f.Close()
	if _, err := os.Stat(path); err == nil {
		t.Fatal("the file has its name before it is complete")
	}
	if f, err = Open(path); err != nil {
		t.Fatal(err)
	}
	if err := f.Keep(4); err != nil {
		t.Fatal(err)
	}
	write(t, f, "three")
	if err := f.Commit(0o640); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != "one three" {
		t.Errorf("%q (%v)", b, err)
	}
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o640 {
		t.Errorf("mode %v (%v)", st.Mode(), err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 1 {
		t.Errorf("%v (%v)", entries, err)
	}
}

// A process that opens the file while it is completed gets a new one, not the complete
// file.
func TestCompletedMeanwhile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "set.tar")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				f, err := Open(path)
				var held *filelock.HeldError
				if errors.As(err, &held) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				if b, err := io.ReadAll(f); err != nil || len(b) > 0 {
					t.Errorf("the new file has %q (%v)", b, err)
				}
				if _, err := io.WriteString(f, "complete"); err != nil {
					t.Error(err)
				}
				if err := f.Commit(0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if b, err := os.ReadFile(path); err != nil || string(b) != "complete" {
		t.Errorf("%q (%v)", b, err)
	}
}

// A link under the name of the partial file does not lead to another file.
func TestLinks(t *testing.T) {
	for name, link := range map[string]func(string, string) error{"symbolic": os.Symlink, "hard": os.Link} {
		dir := t.TempDir()
		victim, path := filepath.Join(dir, "victim"), filepath.Join(dir, "set.tar")
		if err := errors.Join(os.WriteFile(victim, []byte("mine"), 0o600), link(victim, Name(path))); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path); err == nil {
			t.Errorf("a %s link was opened", name)
		}
		if b, err := os.ReadFile(victim); err != nil || string(b) != "mine" {
			t.Errorf("%s link: the file is %q (%v)", name, b, err)
		}
	}
}

func TestList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"set.tar", "[*].tar"} {
		f, err := Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, f, "half")
		f.Close()
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "other.partial"), nil, 0o600),
		os.Mkdir(filepath.Join(dir, ".dir.partial"), 0o700)); err != nil {
		t.Fatal(err)
	}
	if files, bytes := List(dir); len(files) != 2 || bytes != 8 || files[1] != Name(filepath.Join(dir, "set.tar")) {
		t.Errorf("%v, %d bytes", files, bytes)
	}
}
