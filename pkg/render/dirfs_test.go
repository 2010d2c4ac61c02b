package render

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// A file that rootFS opens with one system call is the file that os.Root opens, and what
// os.Root refuses stays refused, with the same error.
func TestRootFSOpensLikeRoot(t *testing.T) {
	top := t.TempDir()
	tree := filepath.Join(top, "tree")
	files := map[string]string{
		"tree/nova/nova-api/Dockerfile.j2": "FROM base", "tree/a\xff": "name that is not UTF-8", "outside": "secret",
	}
	for name, content := range files {
		path := filepath.Join(top, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	links := map[string]string{
		"nova/inside": "../a\xff", "dir": "nova/nova-api", "up": "../outside", "nova/over": "../../tree/a\xff",
		"absolute": filepath.Join(tree, "a\xff"), "loop": "loop", "broken": "missing", "process": "/proc/self/root",
	}
	for name, target := range links {
		if err := os.Symlink(target, filepath.Join(tree, name)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := openRootFS(tree)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	read := func(f fs.File, err error) string {
		if err != nil {
			return inputfile.WithoutPath(err).Error()
		}
		defer f.Close()
		content, err := io.ReadAll(f)
		if err != nil {
			return inputfile.WithoutPath(err).Error()
		}
		return string(content)
	}
	opened := 0
	for _, name := range []string{
		".", "nova/nova-api/Dockerfile.j2", "nova/nova-api", "a\xff", "nova/inside", "dir/Dockerfile.j2", "up", "nova/over",
		"absolute", "loop", "broken", "process/etc", "missing", "../outside", "nova/../../outside", "a\xff/b", "",
	} {
		got, want := read(r.Open(name)), read(r.Root.Open(name))
		if got != want {
			t.Errorf("%q: %q, os.Root: %q", name, got, want)
		}
		if want == "FROM base" || want == "name that is not UTF-8" {
			opened++
		}
	}
	if opened != 4 {
		t.Errorf("%d files were opened, want 4", opened)
	}
}
