package source

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// addSubmodules commits submodules at a commit of the repository at a URL.
func (r *repo) addSubmodules(url, commit string, paths ...string) (tip string) {
	r.t.Helper()
	var modules strings.Builder
	add := []string{"update-index", "--add"}
	for _, p := range paths {
		fmt.Fprintf(&modules, "[submodule %q]\n\tpath = %s\n\turl = %s\n", p, p, url)
		add = append(add, "--cacheinfo", "160000,"+commit+","+p)
	}
	r.commit(map[string]string{".gitmodules": modules.String()})
	r.git(add...)
	r.git("commit", "-q", "-m", "submodules")
	return r.git("rev-parse", "HEAD")
}

// TestGitSubmodulesOfSubmodules fetches submodules of submodules, whose relative URLs are relative to
// their own repository.
func TestGitSubmodulesOfSubmodules(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	leaf, _ := history(t, filepath.Join(root, "far", "leaf.git"))
	middle := newRepo(t, filepath.Join(root, "far", "middle.git"))
	commit := middle.addSubmodules("../leaf.git", leaf.git("rev-parse", "HEAD~1"), "in/leaf", "leaf 2")
	top := newRepo(t, filepath.Join(root, "top.git"))
	top.addSubmodules("../far/middle.git", commit, "middle")
	srv := serveGit(t, root)
	f, log := newFetcher(t, Options{Retries: -1})
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/top.git", Reference: "master", Enabled: true}
	files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
	if err != nil {
		t.Fatal(err)
	}
	list := listTar(t, files[0].Path)
	for _, want := range []string{"middle/.gitmodules", "middle/in/leaf/setup.py", "middle/leaf 2/pkg/mod.py"} {
		if !slices.Contains(list, "x-archive-master/"+want) {
			t.Errorf("no %s in %q, log: %s", want, list, log)
		}
	}
	if got := strings.Count(strings.Join(list, "\n"), "/.git/HEAD"); got != 1 {
		t.Errorf("%d repositories in the archive", got)
	}
}

// TestGitNestedSubmodules: a few repositories whose submodules are each other's make millions.
func TestGitNestedSubmodules(t *testing.T) {
	testenv.Slow(t)
	old := maxSubmodules
	t.Cleanup(func() { maxSubmodules = old })
	maxSubmodules = 20
	root := t.TempDir()
	_, commits := history(t, filepath.Join(root, "0.git"))
	commit := commits[0]
	for i := range 8 {
		r := newRepo(t, filepath.Join(root, fmt.Sprintf("%d.git", i+1)))
		commit = r.addSubmodules(fmt.Sprintf("../%d.git", i), commit, "a", "b", "c", "d", "e", "f")
	}
	srv := serveGit(t, root)
	f, _ := newFetcher(t, Options{Retries: -1})
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/8.git", Reference: "master", Enabled: true}
	_, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
	if err == nil || !strings.Contains(err.Error(), "more than 20 submodules") {
		t.Errorf("got %v", err)
	}
	checkClean(t, f.opts.CacheDir)
}

// TestGitRepeatedTreesInSubmodule: the files of submodules count too, before any of them is written.
func TestGitRepeatedTreesInSubmodule(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	sub := newRepo(t, filepath.Join(root, "sub.git"))
	sub.commit(map[string]string{"f": "text\n"})
	tree := makeTree(t, sub, "100644 blob "+sub.git("rev-parse", "HEAD:f")+"\tf")
	for range 9 {
		var entries strings.Builder
		for i := range 10 {
			fmt.Fprintf(&entries, "040000 tree %s\td%d\n", tree, i)
		}
		tree = makeTree(t, sub, strings.TrimSuffix(entries.String(), "\n"))
	}
	bomb := sub.git("commit-tree", "-m", "bomb", tree)
	sub.git("update-ref", "refs/heads/bomb", bomb)
	r := newRepo(t, filepath.Join(root, "x.git"))
	r.addSubmodules("../sub.git", bomb, "sub")
	srv := serveGit(t, root)
	f, _ := newFetcher(t, Options{Retries: -1})
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
	_, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
	if err == nil || !strings.Contains(err.Error(), "more than 500000 files") {
		t.Errorf("got %v", err)
	}
}

func TestSubmoduleURL(t *testing.T) {
	for _, c := range []struct{ parent, location, want string }{
		{"https://a.example/x/y.git", "https://b.example/z", "https://b.example/z"},
		{"https://a.example/x/y.git", "../z.git", "https://a.example/x/z.git"},
		{"https://a.example/x/y.git/", "../../z.git", "https://a.example/z.git"},
		{"https://a.example/x/y.git", "./z.git", "https://a.example/x/y.git/z.git"},
		{"https://a.example/x/y.git", "./../z.git/", "https://a.example/x/z.git"},
		{"https://a.example/x/y.git", "../../../z.git", ""},
		{"https://a.example/x/y.git", "../../../file::/etc", ""},
		{"https://a.example", "../z", ""},
		{"git@a.example:x/y.git", "../z.git", "git@a.example:x/z.git"},
		{"git@a.example:y.git", "../z.git", "git@a.example:z.git"},
		{"git@a.example:y.git", "../../ext::sh", ""},
		{"https://a.example/y.git", "--upload-pack=x", ""},
		{"https://a.example/y.git", "https://b.example/\nx", ""},
		{"https://a.example/y.git", "", ""},
	} {
		if got, err := submoduleURL(c.parent, c.location); got != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s in %s: %q, %v; want %q", c.location, c.parent, got, err, c.want)
		}
	}
}

// TestPlainDir checks that submodules are not written through links.
func TestPlainDir(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("a", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, fine := range map[string]bool{"a/b": true, "a/new": true, "new/x": true, "link": false, "link/b": false} {
		if err := plainDir(dir, path); (err == nil) != fine {
			t.Errorf("%s: %v", path, err)
		}
	}
}
