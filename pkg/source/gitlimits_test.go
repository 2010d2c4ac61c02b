package source

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/kolla-build/kolla-build/internal/child"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// TestGitRepeatedTrees fetches repositories of a few kilobytes whose commits have billions of
// files or directories.
func TestGitRepeatedTrees(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	srv := serveGit(t, root)
	for name, leaf := range map[string]string{"files": "100644 blob %s\tf", "directories": ""} {
		r := newRepo(t, filepath.Join(root, name+".git"))
		r.commit(map[string]string{"f": "x"})
		object := r.git("rev-parse", "HEAD:f")
		if leaf != "" {
			leaf = fmt.Sprintf(leaf, object)
		}
		tree := makeTree(t, r, leaf)
		for range 9 {
			var entries strings.Builder
			for i := range 10 {
				fmt.Fprintf(&entries, "040000 tree %s\td%d\n", tree, i)
			}
			tree = makeTree(t, r, strings.TrimSuffix(entries.String(), "\n"))
		}
		r.git("update-ref", "refs/heads/bomb", r.git("commit-tree", "-m", "bomb", tree))
		s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/" + name + ".git", Reference: "bomb", Enabled: true}
		f, _ := newFetcher(t, Options{Retries: -1})
		_, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
		if err == nil || !strings.Contains(err.Error(), "more than 500000 files") {
			t.Errorf("%s: %v", name, err)
		}
		checkClean(t, f.opts.CacheDir)
	}
}

func makeTree(t *testing.T, r *repo, entries string) string {
	t.Helper()
	cmd := exec.Command("git", "mktree")
	cmd.Dir = r.dir
	if entries != "" {
		cmd.Stdin = strings.NewReader(entries + "\n")
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// TestSizeLimit checks that what a program writes ends its context when it is too large or
// too much.
func TestSizeLimit(t *testing.T) {
	for name, c := range map[string]struct {
		files  int
		size   int
		limits untar.Limits
		want   string
	}{
		"large": {1, 100_000, untar.Limits{Members: 100, Bytes: 50_000}, "48.8 KiB of files"},
		"many":  {30, 1, untar.Limits{Members: 10, Bytes: 1 << 30}, "20 files"},
		"fine":  {10, 1000, untar.Limits{Members: 10, Bytes: 1 << 20}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				ctx, stop := limitSize(t.Context(), dir, c.limits)
				defer stop()
				for i := range c.files {
					if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), make([]byte, c.size), 0o600); err != nil {
						t.Fatal(err)
					}
				}
				late, cancel := context.WithTimeout(ctx, 10*sizeInterval)
				defer cancel()
				<-late.Done()
				var limit *child.LimitError
				if errors.As(context.Cause(ctx), &limit) != (c.want != "") || limit != nil && limit.Limit != c.want {
					t.Errorf("ended with %v, want %q", context.Cause(ctx), c.want)
				}
			})
		})
	}
}

// TestGitManyReferences lists a server with references that are neither branches nor tags,
// as those of code reviews.
func TestGitManyReferences(t *testing.T) {
	testenv.Slow(t)
	testenv.Program(t, "git", "git")
	packet := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	id := strings.Repeat("a", 40)
	refs := strings.Repeat(packet(id+" refs/changes/99/123499/42\n"), 100_000)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // ls-refs
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			fmt.Fprint(w, refs, packet(id+" refs/heads/master\n"), packet(id+" refs/tags/1\n"),
				packet(strings.Repeat("b", 40)+" refs/other/x\n"), "0000")
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(w, packet("# service=git-upload-pack\n")+"0000"+packet("version 2\n")+packet("ls-refs=unborn\n")+
			packet("object-format=sha1\n")+"0000")
	}))
	defer srv.Close()
	f, _ := newFetcher(t, Options{Retries: -1})
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "refs/other/x", Enabled: true}
	got, _, err := f.listRemote(t.Context(), s, s.Reference)
	if err != nil || len(got) != 3 || got["refs/other/x"] == "" {
		t.Errorf("%d references, %v", len(got), err)
	}
}

// TestGitManyTags: git writes a file for each tag that it fetches.
func TestGitManyTags(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	r := newRepo(t, filepath.Join(root, "x.git"))
	commit := r.commit(map[string]string{"f": "text\n"})
	var refs strings.Builder
	refs.WriteString("# pack-refs with: peeled fully-peeled sorted \n" + commit + " refs/heads/master\n")
	for i := range maxReferences + 1 {
		fmt.Fprintf(&refs, "%s refs/tags/t%06d\n", commit, i)
	}
	if err := os.WriteFile(filepath.Join(r.dir, ".git", "packed-refs"), []byte(refs.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	srv := serveGit(t, root)
	for _, reference := range []string{"master", commit} {
		f, _ := newFetcher(t, Options{Retries: -1})
		s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: reference, Enabled: true}
		_, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
		if err == nil || !strings.Contains(err.Error(), "more than 100000 branches and tags") {
			t.Errorf("%s: %v", reference, err)
		}
	}
}
