package render

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

func listing(t *testing.T, files []File) string {
	t.Helper()
	var b strings.Builder
	for _, f := range files {
		if f.IsDir() {
			fmt.Fprintf(&b, "%s/\n", f.Path)
			continue
		}
		content, err := f.Read()
		if err != nil {
			t.Fatal(err)
		}
		if int64(len(content)) != f.Size {
			t.Errorf("%s: size %d, content %d", f.Path, f.Size, len(content))
		}
		fmt.Fprintf(&b, "%s %o %s\n", f.Path, f.Mode, strings.TrimSpace(string(content)))
	}
	return b.String()
}

func TestTreeOverlay(t *testing.T) {
	a := unpack(t, `
-- base/Dockerfile.j2 --
FROM x
-- base/link --
-> file
-- base/file --
one
-- base/dir --
-> ../shared
-- shared/inner --
shared
-- nova/nova-api/Dockerfile.j2 --
FROM base
`)
	if err := os.Chmod(filepath.Join(a, "base/file"), 0o755); err != nil {
		t.Fatal(err)
	}
	b := unpack(t, `
-- base/file --
two
-- mine/Dockerfile.j2 --
FROM base
`)
	tree, err := openDirs(t, a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := `base/
base/Dockerfile.j2 644 FROM x
base/dir/
base/dir/inner 644 shared
base/file 644 two
base/link 755 one
mine/
mine/Dockerfile.j2 644 FROM base
nova/
nova/nova-api/
nova/nova-api/Dockerfile.j2 644 FROM base
shared/
shared/inner 644 shared
`
	if got := listing(t, tree.sortedFiles()); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := fmt.Sprint(tree.Images()); got != "[base mine nova/nova-api]" {
		t.Error(got)
	}
	if got := listing(t, tree.filesIn("base/dir")); got != "inner 644 shared\n" {
		t.Error(got)
	}
}

func TestTreeOfFS(t *testing.T) {
	tree, err := OpenTree(TreeOptions{Layers: []Layer{{Name: "built in", FS: fstest.MapFS{
		"base/Dockerfile.j2": {Data: []byte("FROM x"), Mode: 0o444},
		"base/start":         {Data: []byte("#!/bin/sh"), Mode: 0o444},
		"base/x":             {Data: []byte("#"), Mode: 0o444},
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	// Like an embedded file system, it has no file modes.
	if got, want := listing(t,
		tree.sortedFiles()), "base/\nbase/Dockerfile.j2 644 FROM x\nbase/start 755 #!/bin/sh\nbase/x 644 #\n"; got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := tree.files["base/x"].Origin; got != "base/x (built in)" {
		t.Error(got)
	}
}

// TestTreeLinks checks that links are followed as in Kolla, also out of a tree on disk,
// and that a link which cannot be followed is an error of that file.
func TestTreeLinks(t *testing.T) {
	out := unpack(t, "-- secret --\nx\n-- dir/f --\nf\n-- dir/more/g --\ng\n-- common/Dockerfile.j2 --\nFROM scratch\n-- "+
		"common/ca.crt --\n-> ../secret\n")
	tree, err := openDirs(t, unpack(t,
		"-- base/Dockerfile.j2 --\nFROM scratch\n-- base/absolute --\n-> "+out+"/secret\n-- base/dir --\n-> "+out+"/dir\n"+
			"-- base/in --\n-> dir/f\n-- base/dangling --\n-> y\n-- base/loop --\n-> .\n-- base/itself --\n-> itself\n-- base/root --\n-> /\n"+
			"-- base/null --\n-> /dev/null\n-- common --\n-> "+out+"/common\n"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"base/absolute": "x\n", "base/dir/f": "f\n", "base/dir/more/g": "g\n",
		"base/in": "f\n", "common/ca.crt": "x\n"} {
		if b, err := tree.files[name].Read(); err != nil || string(b) != want {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	if got := tree.Images(); !slices.Equal(got, []string{"base", "common"}) {
		t.Errorf("images %q", got)
	}
	for name, want := range map[string]string{"base/dangling": "does not exist", "base/loop": "lead into each other",
		"base/itself": "lead into each other",
		"base/root":   "lead into each other", "base/null": "neither a file nor a directory"} {
		if _, err := tree.files[name].Read(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", name, err, want)
		}
	}
	if got := tree.Broken(); len(got) != 5 {
		t.Errorf("broken: %q", got)
	}
}

func TestTreeErrors(t *testing.T) {
	for _, c := range []struct{ name, a, b, want string }{
		{"empty", "-- x --\n", "", "no Dockerfile.j2 in A: a template tree is a directory"},
		{"at the top", "-- Dockerfile.j2 --\n", "", "A/Dockerfile.j2 is at the top of its tree"},
		{"file over directory", "-- base/Dockerfile.j2 --\n-- base/x/y --\n", "-- base/x --\n",
			"B/base/x cannot replace A/base/x: one is a directory and the other is not"},
		{"bad repos.yaml", "-- base/Dockerfile.j2 --\n-- repos.yaml --\n- x\n", "",
			"A/repos.yaml:1: the file must be a mapping"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := unpack(t, c.a), unpack(t, c.b)
			dirs := []string{a}
			if c.b != "" {
				dirs = append(dirs, b)
			}
			_, err := openDirs(t, dirs...)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.NewReplacer(a, "A", b, "B").Replace(err.Error())
			if !strings.Contains(got, c.want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	if _, err := DirLayer("/no/such"); err == nil ||
		err.Error() != "template directory /no/such: no such file or directory" {
		t.Error(err)
	}
}

func TestDefaultRepos(t *testing.T) {
	// As in a checkout of Kolla, with the variants that some releases have.
	dir := unpack(t, `
-- kolla/docker/base/Dockerfile.j2 --
FROM x
-- kolla/template/repos.yaml --
debian: {one: text}
-- kolla/template/repos-noble.yaml --
debian: {two: text}
`)
	tree, err := openDirs(t, filepath.Join(dir, "kolla/docker"))
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]string{"bookworm": "one", "noble": "two", "24.04": "two"} {
		if f := tree.defaultRepos("ubuntu", tag); f.sections["debian"].repos[want] == nil {
			t.Errorf("%s: %s", tag, f.name)
		}
	}
	if tree, err = openDirs(t, unpack(t, "-- base/Dockerfile.j2 --\n")); err != nil ||
		tree.repos.sections["rocky"] == nil {
		t.Errorf("the caller's repositories are not used: %v", err)
	}
}
