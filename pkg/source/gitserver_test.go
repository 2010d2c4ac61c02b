package source

import (
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// repo is a git repository, which gitServer can serve.
type repo struct {
	t   testing.TB
	dir string
	n   int // commits made
}

func newRepo(t testing.TB, dir string) *repo {
	t.Helper()
	testenv.Program(t, "git", "git")
	r := &repo{t: t, dir: dir}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.git("init", "-q", "-b", "master")
	r.git("config", "uploadpack.allowFilter", "true")
	r.git("config", "uploadpack.allowAnySHA1InWant", "true")
	return r
}

func (r *repo) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	when := fmt.Sprintf("%d +0000", 1_700_000_000+r.n*100)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=A", "GIT_AUTHOR_EMAIL=a@b", "GIT_COMMITTER_NAME=A",
		"GIT_COMMITTER_EMAIL=a@b",
		"GIT_AUTHOR_DATE="+when, "GIT_COMMITTER_DATE="+when, "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *repo) commit(files map[string]string) string {
	r.t.Helper()
	r.n++
	for name, text := range files {
		p := filepath.Join(r.dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			r.t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			r.t.Fatal(err)
		}
	}
	r.git("add", "-A")
	r.git("commit", "-q", "--allow-empty", "-m", fmt.Sprintf("commit %d", r.n))
	return r.git("rev-parse", "HEAD")
}

// history is a repository with branches, tags, an executable and a link.
func history(t testing.TB, dir string) (r *repo, commits []string) {
	r = newRepo(t, dir)
	for i := range 5 {
		commits = append(commits, r.commit(map[string]string{"setup.py": fmt.Sprint("v", i),
			"pkg/mod.py": strings.Repeat("x", i*1000)}))
		switch i {
		case 1:
			r.git("tag", "1.0.0")
		case 2:
			r.git("tag", "-a", "-m", "release", "2.0.0")
			r.git("branch", "stable/2026.1")
		}
	}
	if err := os.Chmod(filepath.Join(dir, "setup.py"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("setup.py", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	return r, append(commits, r.commit(nil))
}

// gitServer serves the repositories in a directory.
type gitServer struct {
	*httptest.Server
	requests
}

func serveGit(t testing.TB, root string) *gitServer {
	t.Helper()
	out, err := exec.Command(testenv.Program(t, "git", "git"), "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	backend := filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		testenv.Missing(t, "git-http-backend is not installed: "+err.Error())
	}
	h := &cgi.Handler{Path: backend, Env: []string{"GIT_PROJECT_ROOT=" + root,
		"GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1",
		"GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"},
		InheritEnv: []string{"PATH"}, Stderr: io.Discard}
	s := &gitServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Method+" "+r.URL.Path)
		spoil := s.spoil
		s.mu.Unlock()
		if spoil != nil && spoil(w, r) {
			return
		}
		env := *h
		env.Env = append(slices.Clone(h.Env), "GIT_PROTOCOL="+r.Header.Get("Git-Protocol"))
		env.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

// unpack unpacks an archive with tar(1) and returns the one directory in it.
func unpack(t testing.TB, path string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xf", path, "-C", dir).CombinedOutput(); err != nil {
		t.Fatalf("tar: %v\n%s", err, out)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%d entries (%v)", len(entries), err)
	}
	return filepath.Join(dir, entries[0].Name())
}

func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-c", "safe.directory=*", "-C", dir}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}
