package source

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// TestGitHiddenReferences fetches references that no clone has: changes of Gerrit and pull
// requests of forges, whose commits are on no branch; and a name that a branch and a tag
// have, which is the tag, as in git.
func TestGitHiddenReferences(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	r, commits := history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	r.git("checkout", "-q", "--detach", commits[2])
	change := r.commit(map[string]string{"change": "x"})
	r.git("update-ref", "refs/changes/34/1234/2", change)
	pull := r.commit(map[string]string{"pull": "x"})
	r.git("update-ref", "refs/pull/7/head", pull)
	r.git("checkout", "-q", "master")
	r.git("branch", "both", commits[0])
	r.git("tag", "both", commits[3])
	for _, location := range []string{srv.URL + "/x.git/", r.dir + "/"} {
		f, _ := newFetcher(t, Options{})
		for _, c := range []struct{ ref, commit, file string }{
			{"refs/changes/34/1234/2", change, "change"},
			{"changes/34/1234/2", change, "change"},
			{"refs/pull/7/head", pull, "pull"},
			{"pull/7/head", pull, "pull"},
			{change, change, "change"},
			{"both", commits[3], "setup.py"},
			{"refs/heads/both", commits[0], "setup.py"},
		} {
			s := Spec{Name: "x", Type: TypeGit, Location: location, Reference: c.ref, Enabled: true}
			res, err := f.Resolve(t.Context(), s)
			if err != nil || res.Commit != c.commit {
				t.Errorf("%s %s: %+v, %v, want %s", location, c.ref, res, err, c.commit)
				continue
			}
			files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
			if err != nil {
				t.Errorf("%s %s: %v", location, c.ref, err)
				continue
			}
			if list := listTar(t, files[0].Path); !slices.Contains(list,
				"x-archive-"+strings.ReplaceAll(c.ref, "/", "-")+"/"+c.file) {
				t.Errorf("%s %s: %q", location, c.ref, list)
			}
		}
	}
}

// TestGitOverSSH fetches by every form of an SSH location. The program that takes the
// place of ssh runs git's command here; the rest is git.
func TestGitOverSSH(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	r, commits := history(t, filepath.Join(root, "x.git"))
	ssh := filepath.Join(root, "ssh")
	script := "#!/bin/sh\necho \"$@\" >>" + filepath.Join(root, "calls") + "\nfor last; do :; done\nexec sh -c \"$last\"\n"
	if err := os.WriteFile(ssh, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSH_COMMAND", ssh)
	for location, host := range map[string]string{
		"ssh://git@git.example" + r.dir:       "git@git.example",
		"ssh://git@git.example:29418" + r.dir: "-p 29418 git@git.example",
		"git+ssh://git.example" + r.dir:       "git.example",
		"git@git.example:" + r.dir:            "git@git.example",
		"git.example:" + r.dir:                "git.example",
	} {
		f, _ := newFetcher(t, Options{})
		s := Spec{Name: "x", Type: TypeGit, Location: location, Reference: "2.0.0", Enabled: true}
		files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
		if err != nil || files[0].Modified.IsZero() {
			t.Errorf("%s: %v", location, err)
			continue
		}
		if res, err := f.Resolve(t.Context(), s); err != nil || res.Commit != commits[2] {
			t.Errorf("%s: %+v, %v", location, res, err)
		}
		calls, err := os.ReadFile(filepath.Join(root, "calls"))
		if err != nil || !strings.Contains(string(calls), host+" git-upload-pack") {
			t.Errorf("%s: ssh was called as %q, %v", location, calls, err)
		}
	}
}

// TestGitMistakes checks the causes and hints of locations that git does not accept.
func TestGitMistakes(t *testing.T) {
	root := t.TempDir()
	r, _ := history(t, filepath.Join(root, "x.git"))
	ssh := filepath.Join(root, "ssh")
	script := "#!/bin/sh\necho 'ssh: connect to host git.example port 22: Connection refused' >&2\nexit 255\n"
	if err := os.WriteFile(ssh, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("GIT_SSH_COMMAND", ssh)
	for location, want := range map[string][2]string{
		"ssh://git@git.example/x.git": {"git.example port 22: Connection refused", ""},
		"git@git.example:x.git":       {"git.example port 22: Connection refused", ""},
		"git://127.0.0.1:1/x.git":     {"127.0.0.1: 127.0.0.1[0: 127.0.0.1]: errno=Connection refused", ""},
		"git+file://" + r.dir:         {"", "omit it from location of [x]"},
		"file://" + r.dir + "#v1": {"",
			"write location = file://" + r.dir + " and reference = v1 in [x]"},
		r.dir + "#v1:sub": {"", "use the directory in the template"},
		"file://ada:zq7vj4@git.example" + "/x#v1:sub": {"", "use the directory in the template"},
		"https://ada:zq7#vj4@git.example/x.git":       {"", "write the # in the login in location of [x] as %23"},
	} {
		f, _ := newFetcher(t, Options{Retries: -1})
		_, err := f.Resolve(t.Context(), Spec{Name: "x", Type: TypeGit, Location: location,
			Reference: "master", Enabled: true})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), want[0]) || !strings.Contains(e.Hint(), want[1]) {
			t.Errorf("%s: %v\nwant %q", location, err, want)
		} else if shown := err.Error() + e.Hint(); strings.Contains(shown, "zq7") || strings.Contains(shown, "vj4") {
			t.Errorf("%s: %s", location, shown)
		}
	}
}
