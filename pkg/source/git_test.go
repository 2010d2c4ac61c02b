package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// gitReference is a reference to a commit of the repository that history makes.
type gitReference struct {
	ref, commit, describe string
	mutable               bool
}

// gitReferences returns every form of reference.
func gitReferences(commits []string) []gitReference {
	tip := commits[len(commits)-1]
	return []gitReference{
		{"master", tip, "2.0.0-3-g" + tip[:7], true},
		{"origin/master", tip, "2.0.0-3-g" + tip[:7], true},
		{"refs/heads/master", tip, "2.0.0-3-g" + tip[:7], true},
		{"stable/2026.1", commits[2], "2.0.0", true},
		{"1.0.0", commits[1], "1.0.0", true},
		{"2.0.0", commits[2], "2.0.0", true},
		{"refs/tags/2.0.0", commits[2], "2.0.0", true},
		{commits[3], commits[3], "2.0.0-1-g" + commits[3][:7], false},
		{strings.ToUpper(commits[3]), commits[3], "2.0.0-1-g" + commits[3][:7], false},
		{commits[4][:9], commits[4], "2.0.0-2-g" + commits[4][:7], true},
		{"HEAD", tip, "2.0.0-3-g" + tip[:7], true},
		{"heads/stable/2026.1", commits[2], "2.0.0", true},
		{"tags/2.0.0", commits[2], "2.0.0", true},
		{"remotes/origin/stable/2026.1", commits[2], "2.0.0", true},
		{"2.0.0^{commit}", commits[2], "2.0.0", true},
		{"2.0.0^{}", commits[2], "2.0.0", true},
		{"2.0.0~1", commits[1], "1.0.0", true},
		{"master~2", commits[3], "2.0.0-1-g" + commits[3][:7], true},
		{"origin/master^", commits[4], "2.0.0-2-g" + commits[4][:7], true},
		{"2.0.0-2-g" + commits[4][:7], commits[4], "2.0.0-2-g" + commits[4][:7], true},
	}
}

// checkGitArchive checks the archive of a commit: it has the data from which pbr finds the
// version and files of a package.
func checkGitArchive(t *testing.T, path string, c gitReference) {
	t.Helper()
	list := listTar(t, path)
	top := "gnocchi-base-archive-" + strings.ReplaceAll(c.ref, "/", "-")
	if list[0] != top+"/" || !slices.Contains(list, top+"/.git/HEAD") {
		t.Errorf("%s: it contains %q", c.ref, list)
	}
	dir := unpack(t, path)
	if got := gitIn(t, dir, "describe", "--tags", "--always"); got != c.describe {
		t.Errorf("%s: described as %s, want %s", c.ref, got, c.describe)
	}
	if got := gitIn(t, dir, "rev-parse", "HEAD"); got != c.commit {
		t.Errorf("%s: HEAD is %s", c.ref, got)
	}
	if got := gitIn(t, dir, "ls-files"); !strings.Contains(got, "pkg/mod.py") {
		t.Errorf("%s: files %s", c.ref, got)
	}
	if got := gitIn(t, dir, "status", "--porcelain"); got != "" {
		t.Errorf("%s: the work tree differs: %s", c.ref, got)
	}
	if got := gitIn(t, dir, "remote"); got != "" {
		t.Errorf("%s: a remote is left: %s", c.ref, got)
	}
	if c.ref == "master" {
		if info, err := os.Lstat(filepath.Join(dir, "link")); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("the link: %v %v", info, err)
		}
		if info, err := os.Stat(filepath.Join(dir, "setup.py")); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("setup.py: %v %v", info.Mode(), err)
		}
		if n := len(strings.Split(gitIn(t, dir, "log", "--format=%s"), "\n")); n != 6 {
			t.Errorf("%d commits", n)
		}
	}
}

// TestGitReferences fetches commits by every form of reference, over HTTP and from a
// path, with the data from which pbr finds the version and files of a package.
func TestGitReferences(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	r, commits := history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	references := gitReferences(commits)
	locations := []string{r.dir, srv.URL + "/x.git", "file://" + r.dir}
	if testing.Short() {
		locations = locations[:1]
	}
	for _, location := range locations {
		f, _ := newFetcher(t, Options{})
		for _, c := range references {
			if location != r.dir && strings.ContainsAny(c.ref, "~^") {
				continue // one location is enough for forms that git resolves here
			}
			s := Spec{Name: "gnocchi-base", Type: TypeGit, Location: location, Reference: c.ref, Enabled: true}
			res, err := f.Resolve(ctx, s)
			if err != nil {
				t.Fatal(err)
			}
			if res.Commit != c.commit || res.ID != "git:"+c.commit || res.Mutable != c.mutable {
				t.Errorf("%s: %+v, want %s", c.ref, res, c.commit)
			}
			files, err := f.Archives(ctx, Request{Image: "gnocchi-base", Source: &s})
			if err != nil {
				t.Fatal(err)
			}
			if files[0].Name != "gnocchi-base-archive" || files[0].Modified.IsZero() {
				t.Errorf("%+v", files[0])
			}
			checkGitArchive(t, files[0].Path, c)
		}
		checkClean(t, f.opts.CacheDir)
	}
}

// TestGitBytesAreStable checks that the same commit gives the same bytes at another time, from a
// server with other packs that cannot filter, and by another user.
func TestGitBytesAreStable(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	r, commits := history(t, filepath.Join(root, "x.git"))
	for i := range 40 {
		r.commit(map[string]string{fmt.Sprintf("many/%d", i): strings.Repeat(fmt.Sprintln(i), 300)})
	}
	key := filepath.Join(t.TempDir(), "key")
	keygen := exec.Command(testenv.Program(t, "ssh-keygen", "openssh-client"), "-q", "-t", "ed25519", "-N", "", "-f", key)
	if out, err := keygen.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingKey", key)
	r.git("config", "commit.gpgSign", "true")
	r.commit(map[string]string{"signed": "text\n", "link.txt": strings.Repeat("big\n", 5000)})
	srv := serveGit(t, root)
	for _, ref := range []string{"master", "2.0.0", commits[3]} {
		s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: ref, Enabled: true}
		digest := func() string {
			f, _ := newFetcher(t, Options{})
			files, err := f.Archives(ctx, Request{Image: "x", Source: &s})
			if err != nil {
				t.Fatal(err)
			}
			return files[0].Digest.String()
		}
		r.git("config", "uploadpack.allowFilter", "true")
		t.Setenv("HOME", t.TempDir())
		first := digest()
		r.git("repack", "-a", "-d", "-q", "-f", "--depth=5")
		r.git("config", "uploadpack.allowFilter", "false")
		r.git("config", "uploadpack.allowAnySHA1InWant", "false")
		home := t.TempDir()
		attributes, template := filepath.Join(home, "attributes"), filepath.Join(home, "template")
		if err := os.MkdirAll(filepath.Join(template, "info"), 0o755); err != nil {
			t.Fatal(err)
		}
		for name, value := range map[string]string{
			"GIT_DEFAULT_HASH": "sha256", "GIT_INDEX_VERSION": "4", "GIT_QUARANTINE_PATH": "x", "GIT_TEMPLATE_DIR": template,
		} {
			t.Setenv(name, value)
		}
		for path, text := range map[string]string{
			attributes: "* text eol=crlf -delta\n",
			filepath.Join(template, "info", "attributes"): "* text eol=crlf -delta\n",
			filepath.Join(home, ".gitconfig"): "[core]\ncompression = 9\nautocrlf = true\neol = crlf\nsymlinks = false\n" +
				"attributesFile = " + attributes + "\nbigFileThreshold = 1\nfileMode = false\n[feature]\nmanyFiles = true\n" +
				"[pack]\nwindow = 50\npackSizeLimit = 1m\n[log]\nshowSignature = true\nfollow = true\n" +
				"[init]\ntemplateDir = " + template + "\n[fetch]\nwriteCommitGraph = true\nunpackLimit = 1\nfsckObjects = true\n[transfer]\nunpackLimit = 1000\n",
		} {
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		t.Setenv("HOME", home)
		if second := digest(); second != first {
			t.Errorf("%s: %s, then %s", ref, first, second)
		}
	}
}

// TestGitFiltersOfTheUser checks that programs in the user's settings, such as git-lfs, do not change the
// files that the attributes of a repository and its submodules select, and that a warning says so.
func TestGitFiltersOfTheUser(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	files := map[string]string{
		".gitattributes": "*.dat filter=lfs\n*.txt filter=other.one\n*.png filter=unknown\n",
		"a.dat":          "pointer\n", "b.txt": "text\n", "c.png": "picture\n",
	}
	srv := serveGit(t, root)
	sub, _ := history(t, filepath.Join(root, "sub.git"))
	sub.commit(files)
	r, _ := history(t, filepath.Join(root, "x.git"))
	r.commit(files)
	r.git("-c", "protocol.file.allow=always", "submodule", "--quiet", "add", srv.URL+"/sub.git", "sub")
	r.commit(nil)
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
	fetch := func(config string) (digest, log string) {
		t.Helper()
		home := t.TempDir()
		if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte(config), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Setenv("HOME", home)
		t.Setenv("GIT_CONFIG", os.DevNull) // which only git config reads
		f, lines := newFetcher(t, Options{})
		archives, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
		if err != nil {
			t.Fatal(err)
		}
		// A run that finds the archive in the cache warns as well.
		again, linesAgain := newFetcher(t, Options{CacheDir: f.opts.CacheDir})
		if _, err := again.Archives(t.Context(), Request{Image: "x", Source: &s}); err != nil ||
			!strings.Contains(linesAgain.String(), "selects a filter") {
			t.Errorf("from the cache: %v; log: %s", err, linesAgain)
		}
		return archives[0].Digest.String(), lines.String()
	}
	want, log := fetch("")
	if strings.Count(log, "selects a filter") != 1 {
		t.Errorf("log: %s", log)
	}
	got, log := fetch("[filter \"lfs\"]\nsmudge = sed s/pointer/content/\nclean = cat\nrequired = true\n" +
		"[filter \"other.one\"]\nprocess = false\nrequired = true\n")
	if got != want || strings.Contains(log, "submodule") {
		t.Errorf("%s with filters, %s without; log: %s", got, want, log)
	}
}

// TestGitCommitTimes checks that commits of any time can be fetched, and that their times can be written.
func TestGitCommitTimes(t *testing.T) {
	root := t.TempDir()
	r, _ := history(t, filepath.Join(root, "x.git"))
	tree := r.git("rev-parse", "HEAD^{tree}")
	srv := serveGit(t, root)
	for when, want := range map[string]int64{"0": 0, "-100": 0, "text": 0, "253402300800": lastSecond,
		"9999999999999": lastSecond} {
		file := filepath.Join(t.TempDir(), "commit")
		text := fmt.Sprintf("tree %s\nauthor A <a@b> %s +0000\ncommitter A <a@b> %s +0000\n\ntext\n", tree, when, when)
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r.git("update-ref", "refs/heads/master", r.git("hash-object", "-t", "commit", "-w", "--literally", file))
		f, _ := newFetcher(t, Options{})
		s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
		files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
		if err != nil {
			t.Errorf("%s: %v", when, err)
			continue
		}
		if got := files[0].Modified.Unix(); got != want {
			t.Errorf("%s: the time is %d, want %d", when, got, want)
		}
	}
}

func TestGitIsFetchedWhenItChanges(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	r, _ := history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	dir := t.TempDir()
	spec := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
	get := func(o Options) File {
		t.Helper()
		o.CacheDir = dir
		f, _ := newFetcher(t, o)
		files, err := f.Archives(ctx, Request{Image: "x", Source: &spec})
		if err != nil {
			t.Fatal(err)
		}
		return files[0]
	}
	first := get(Options{})
	all := len(srv.take())
	if second := get(Options{}); second.Digest != first.Digest || !second.Modified.Equal(first.Modified) {
		t.Errorf("%+v, before %+v", second, first)
	}
	if n := len(srv.take()); n == 0 || n > 2 || n >= all {
		t.Errorf("the look-up took %d requests, the fetch %d", n, all)
	}
	for _, o := range []Options{{Offline: true}, {MaxAge: time.Hour}} {
		if second := get(o); second.Digest != first.Digest {
			t.Errorf("%+v", second)
		}
		if got := srv.take(); len(got) != 0 {
			t.Errorf("requests: %q", got)
		}
	}
	tip := r.commit(map[string]string{"new": "new"})
	changed := get(Options{})
	if changed.Digest == first.Digest || changed.Sources[0].Commit != tip {
		t.Errorf("%+v", changed)
	}
	// A cached full commit ID needs no request.
	spec.Reference = tip
	get(Options{})
	srv.take()
	get(Options{})
	if got := srv.take(); len(got) != 0 {
		t.Errorf("requests: %q", got)
	}
	f, _ := newFetcher(t, Options{Offline: true})
	if _, err := f.Resolve(ctx, Spec{Name: "x", Type: TypeGit, Location: spec.Location, Reference: "other",
		Enabled: true}); err == nil ||
		!strings.Contains(err.Error(), "offline") {
		t.Errorf("got %v", err)
	}
}

func TestGitSubmodules(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	srv := serveGit(t, root)
	sub, subCommits := history(t, filepath.Join(root, "sub.git"))
	r := newRepo(t, filepath.Join(root, "x.git"))
	r.commit(map[string]string{"setup.py": "x", ".gitmodules": "[submodule \"lib\"]\n\tpath = vendor/lib\n\turl = ../sub.git\n"})
	r.git("update-index", "--add", "--cacheinfo", "160000,"+subCommits[2]+",vendor/lib")
	r.git("commit", "-q", "-m", "submodule")
	_ = sub
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
	f, _ := newFetcher(t, Options{})
	files, err := f.Archives(ctx, Request{Image: "x", Source: &s})
	if err != nil {
		t.Fatal(err)
	}
	list := listTar(t, files[0].Path)
	if !slices.Contains(list, "x-archive-master/vendor/lib/setup.py") ||
		slices.Contains(list, "x-archive-master/vendor/lib/.git") {
		t.Errorf("it contains %q", list)
	}
	if got := readMember(t, files[0].Path, "x-archive-master/vendor/lib/setup.py"); got != "v2" {
		t.Errorf("the submodule is at %q", got)
	}
}

func TestGitErrors(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	_, commits := history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	for _, c := range []struct{ location, ref, say, advise string }{
		{srv.URL + "/x.git", "stable/2026-1", `no branch or tag "stable/2026-1"`, `did you mean "stable/2026.1"?`},
		{srv.URL + "/x.git", "2026.1", `no branch or tag "2026.1"`, `"stable/2026.1"`},
		{srv.URL + "/x.git", "nothing-like-it", "no branch or tag", ""},
		{srv.URL + "/x.git", strings.Repeat("0", 40), "no commit 0000", ""},
		{srv.URL + "/x.git", commits[0][:6] + "0000000000", "no commit", ""},
		{srv.URL + "/none.git", "master", "not found", "check location"},
		{"/none/such", "master", "does not appear to be a git repository", "check location"},
		{"http://127.0.0.1:1/x.git", "master", "127.0.0.1", ""},
	} {
		f, _ := newFetcher(t, Options{Retries: 1})
		s := Spec{Name: "nova-base", Type: TypeGit, Location: c.location, Reference: c.ref, Enabled: true}
		_, err := f.Archives(ctx, Request{Image: "nova-base", Source: &s})
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(err.Error(), c.say) || !strings.Contains(e.Hint(), c.advise) ||
			!strings.Contains(err.Error(), "[nova-base]") {
			t.Errorf("%s at %s: %v (hint %v)", c.location, c.ref, err, e)
		}
		checkClean(t, f.opts.CacheDir)
	}
}

// TestGitCredentials checks that credentials reach the server and nothing else.
func TestGitCredentials(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:s3cret!"))
	srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("Authorization") == want {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(401)
		return true
	})
	host := strings.TrimPrefix(srv.URL, "http://")
	f, log := newFetcher(t, Options{Retries: 1})
	s := Spec{Name: "x", Type: TypeGit, Location: "http://ada:s3cret%21@" + host + "/x.git",
		Reference: "master", Enabled: true}
	files, err := f.Archives(ctx, Request{Image: "x", Source: &s})
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(data, []byte("s3cret")) || bytes.Contains(data, []byte("ada")) ||
		bytes.Contains(data, []byte(host)) {
		t.Error("the archive contains its location")
	}
	shown := log.String() + fmt.Sprintf("%+v", files)
	for _, location := range []string{"http://ada:s3cret-wrong@" + host + "/x.git", "http://" + host + "/x.git",
		"http://ada:s3cret@127.0.0.1:1/x.git", "http://s3cret-token@127.0.0.1:1/x.git"} {
		s.Location = location
		_, err := f.Resolve(ctx, s)
		if err == nil {
			t.Fatalf("%s: it succeeded", location)
		}
		var e *Error
		if strings.Contains(location, host) && (!errors.As(err, &e) || !strings.Contains(e.Hint(), "login")) {
			t.Errorf("%v (hint %v)", err, e)
		}
		shown += err.Error()
	}
	shown += log.String()
	if strings.Contains(shown, "s3cret") {
		t.Errorf("the password is shown:\n%s", shown)
	}
	grepCache(t, f.opts.CacheDir, "s3cret")
}

func TestGitFaultsAreRetried(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "2.0.0", Enabled: true}
	n := 0
	srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		switch n++; n % 6 {
		case 1:
			w.WriteHeader(503)
			return true
		case 4:
			testenv.Abort(w)
			return true
		}
		return false
	})
	f, log := newFetcher(t, Options{Retries: 10})
	if _, err := f.Archives(ctx, Request{Image: "x", Source: &s}); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "trying again") {
		t.Errorf("the log:\n%s", log)
	}
	checkClean(t, f.opts.CacheDir)
}

// TestGitInsideARepository checks that a run inside a repository does not use its remote.
func TestGitInsideARepository(t *testing.T) {
	ctx := context.Background()
	root := t.TempDir()
	_, commits := history(t, filepath.Join(root, "x.git"))
	mine := newRepo(t, filepath.Join(root, "mine"))
	mine.commit(map[string]string{"a": "a"})
	mine.git("remote", "add", "origin", "file:///none/such")
	t.Chdir(mine.dir)
	t.Setenv("GIT_DIR", filepath.Join(mine.dir, ".git"))
	f, _ := newFetcher(t, Options{CacheDir: "cache"})
	s := Spec{Name: "x", Type: TypeGit, Location: "../x.git", Reference: "master", Enabled: true}
	files, err := f.Archives(ctx, Request{Image: "x", Source: &s})
	if err != nil {
		t.Fatal(err)
	}
	if got := files[0].Sources[0].Commit; got != commits[len(commits)-1] {
		t.Errorf("commit %s", got)
	}
}

// TestGitIsFetchedOnceAtATime checks that many images, and two processes, fetch a repository
// once.
func TestGitIsFetchedOnceAtATime(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	root := t.TempDir()
	history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	spec := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "2.0.0", Enabled: true}
	dir := t.TempDir()
	f1, _ := newFetcher(t, Options{CacheDir: dir})
	f2, _ := newFetcher(t, Options{CacheDir: dir}) // in place of another process
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			f := f1
			if i%2 == 0 {
				f = f2
			}
			if _, err := f.Archives(ctx, Request{Image: "x", Source: &spec}); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	together := len(srv.take())
	f3, _ := newFetcher(t, Options{})
	if _, err := f3.Archives(ctx, Request{Image: "x", Source: &spec}); err != nil {
		t.Fatal(err)
	}
	if single := len(srv.take()); together > single+2 { // with the look-up of the other process
		t.Errorf("%d requests together, %d for a single fetch", together, single)
	}
}

// TestGitSHA256 fetches from a repository whose object IDs are SHA-256.
func TestGitSHA256(t *testing.T) {
	testenv.Slow(t)
	dir := filepath.Join(t.TempDir(), "x.git")
	r := &repo{t: t, dir: dir}
	if out, err := exec.Command(testenv.Program(t, "git", "git"), "init", "-q", "-b", "master", "--object-format=sha256",
		dir).CombinedOutput(); err != nil {
		testenv.Missing(t, "git cannot make SHA-256 repositories: "+string(out))
	}
	r.commit(map[string]string{"setup.py": "1"})
	r.git("tag", "1.0")
	commit := r.commit(map[string]string{"setup.py": "2"})
	for _, ref := range []string{"master", commit, commit[:10], "1.0", "master~1"} {
		f, _ := newFetcher(t, Options{Retries: -1})
		s := Spec{Name: "x", Type: TypeGit, Location: dir, Reference: ref, Enabled: true}
		files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
		if err != nil {
			t.Errorf("%s: %v", ref, err)
			continue
		}
		if got := gitIn(t, unpack(t, files[0].Path), "status", "--porcelain"); got != "" {
			t.Errorf("%s: the work tree differs: %s", ref, got)
		}
	}
}
