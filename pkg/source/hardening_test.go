package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/untar"
)

// TestDamagedCache changes cached content without changing its name. It must be
// downloaded again, not used under its checksum.
func TestDamagedCache(t *testing.T) {
	ctx := t.Context()
	srv := serveFiles(t)
	data := randomBytes(3000)
	location := srv.put(t, "etcd", data)
	pinned := map[string]string{"amd64": hexOf(data)}
	for name, damage := range map[string]func(string) error{
		"truncated": func(p string) error { return os.Truncate(p, 1000) },
		"one byte":  func(p string) error { return rewrite(p, func(b []byte) { b[17] ^= 1 }) },
		"empty":     func(p string) error { return os.Truncate(p, 0) },
		"a directory": func(p string) error {
			return errors.Join(os.Remove(p), os.Mkdir(p, 0o755))
		},
	} {
		for _, sum := range []map[string]string{pinned, nil} {
			dir := t.TempDir()
			s := Spec{Name: "etcd", Type: TypeURL, Location: location, Enabled: true, SHA256: sum}
			f, _ := newFetcher(t, Options{CacheDir: dir})
			if _, err := f.Resolve(ctx, s); err != nil {
				t.Fatal(err)
			}
			blob := f.cache.path(digest.FromBytes(data))
			if err := os.Chmod(blob, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := damage(blob); err != nil {
				t.Fatal(err)
			}
			if name == "a directory" {
				if err := os.Remove(blob); err != nil {
					t.Fatal(err)
				}
			}
			f, _ = newFetcher(t, Options{CacheDir: dir})
			files, err := f.Archives(ctx, Request{Image: "etcd", Source: &s})
			if err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(files[0].Path)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, pinned %v: %d bytes of other content are used (%v)", name, sum != nil, len(got), err)
			}
		}
	}
	// A copied cache, whose files have other times, is used after a check.
	dir, other := t.TempDir(), t.TempDir()
	s := Spec{Name: "etcd", Type: TypeURL, Location: location, Enabled: true, SHA256: pinned}
	f, _ := newFetcher(t, Options{CacheDir: dir})
	if _, err := f.Resolve(ctx, s); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("cp", "-r", dir+"/.", other).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, _ = newFetcher(t, Options{CacheDir: other, Offline: true})
	if _, err := f.Resolve(ctx, s); err != nil {
		t.Error(err)
	}
}

func rewrite(path string, change func([]byte)) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	change(b)
	return os.WriteFile(path, b, 0o644)
}

// TestGitDumbHTTP fetches from a server that only serves files. git 2.39 starts itself
// without end if it is asked for a partial clone of such a server.
func TestGitDumbHTTP(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	r, commits := history(t, filepath.Join(root, "x"))
	r.git("update-server-info")
	srv := httptest.NewServer(http.FileServer(http.Dir(root)))
	t.Cleanup(srv.Close)
	smart := serveGit(t, filepath.Dir(r.dir))
	refs := []string{"2.0.0", "master", "stable/2026.1", commits[3], commits[3][:10], "master~1"}
	if testing.Short() {
		refs = refs[:2]
	}
	for _, ref := range refs {
		var digests []digest.Digest
		for _, location := range []string{srv.URL + "/x/.git", smart.URL + "/x"} {
			f, _ := newFetcher(t, Options{Retries: -1})
			s := Spec{Name: "x", Type: TypeGit, Location: location, Reference: ref, Enabled: true}
			files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
			if err != nil {
				t.Fatalf("%s: %v", ref, err)
			}
			digests = append(digests, files[0].Digest)
			checkClean(t, f.opts.CacheDir)
		}
		if digests[0] != digests[1] {
			t.Errorf("%s: the archive depends on the kind of server: %s", ref, digests)
		}
	}
}

// TestGitCredentialsInProcesses looks for credentials in the arguments of all
// processes while git talks to a server.
func TestGitCredentialsInProcesses(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	history(t, filepath.Join(root, "x.git"))
	srv := serveGit(t, root)
	want := "Basic " + base64.StdEncoding.EncodeToString([]byte("ada:s3cret!pa ss"))
	var mu sync.Mutex
	var shown []string
	commands := 0
	srv.spoilWith(func(w http.ResponseWriter, r *http.Request) bool {
		files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
		mu.Lock()
		defer mu.Unlock()
		for _, file := range files {
			b, _ := os.ReadFile(file)
			if bytes.Contains(b, []byte("git")) {
				commands++
			}
			if bytes.Contains(b, []byte("s3cret")) {
				shown = append(shown, string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
			}
		}
		if r.Header.Get("Authorization") == want {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		w.WriteHeader(401)
		return true
	})
	f, _ := newFetcher(t, Options{Retries: -1})
	location := "http://ada:s3cret%21pa%20ss@" + strings.TrimPrefix(srv.URL, "http://") + "/x.git"
	s := Spec{Name: "x", Type: TypeGit, Location: location, Reference: "master", Enabled: true}
	if _, err := f.Archives(t.Context(), Request{Image: "x", Source: &s}); err != nil {
		t.Fatal(err)
	}
	if len(shown) > 0 || commands == 0 {
		t.Errorf("%d commands, credentials in %q", commands, shown)
	}
}

// TestGitMissingSubmodule: a submodule that cannot be fetched is left empty, with a
// warning, as Kolla leaves all submodules.
func TestGitMissingSubmodule(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	srv := serveGit(t, root)
	_, commits := history(t, filepath.Join(root, "sub.git"))
	r := newRepo(t, filepath.Join(root, "x.git"))
	r.commit(map[string]string{"setup.py": "x", ".gitmodules": "[submodule \"there\"]\n\tpath = there\n\turl = ../sub.git\n" +
		"[submodule \"gone\"]\n\tpath = gone\n\turl = ../gone.git\n[submodule \"local\"]\n\tpath = local\n\turl = file:///etc\n"})
	for _, path := range []string{"there", "gone", "local", "line\nwarning: another"} {
		r.git("update-index", "--add", "--cacheinfo", "160000,"+commits[2]+","+path)
	}
	r.git("commit", "-q", "-m", "submodules")
	spec := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
	dir := t.TempDir()
	f, log := newFetcher(t, Options{CacheDir: dir, Retries: -1})
	files, err := f.Archives(t.Context(), Request{Image: "x", Source: &spec})
	if err != nil {
		t.Fatal(err)
	}
	list := listTar(t, files[0].Path)
	for _, want := range []string{"x-archive-master/gone/", "x-archive-master/local/", "x-archive-master/there/setup.py"} {
		if !slices.Contains(list, want) {
			t.Errorf("no %s in %q", want, list)
		}
	}
	if !strings.Contains(log.String(), "submodule gone cannot be fetched") ||
		strings.Contains(log.String(), "\nwarning: another") {
		t.Errorf("the log:\n%s", log)
	}
	// It is fetched again by the next run, when the server may have it.
	if out, err := exec.Command("cp", "-r", filepath.Join(root, "sub.git"),
		filepath.Join(root, "gone.git")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	f, _ = newFetcher(t, Options{CacheDir: dir, Retries: -1})
	files, err = f.Archives(t.Context(), Request{Image: "x", Source: &spec})
	if err != nil || !slices.Contains(listTar(t, files[0].Path), "x-archive-master/gone/setup.py") {
		t.Errorf("later: %v", err)
	}
}

// TestGitHostileSubmodules: no program runs and no file is read that a repository names in
// its submodules, and their number is limited.
func TestGitHostileSubmodules(t *testing.T) {
	testenv.Slow(t)
	root := t.TempDir()
	srv := serveGit(t, root)
	_, commits := history(t, filepath.Join(root, "sub.git"))
	marker := filepath.Join(t.TempDir(), "ran")
	// What the user allows is for locations that the user writes.
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"),
		[]byte("[protocol]\nallow = always\n[protocol \"file\"]\nallow = always\n[protocol \"ext\"]\nallow = always\n"),
		0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("HOME", home)
	module := func(name, path, rest string) string {
		return fmt.Sprintf("[submodule %q]\n\tpath = %s\n%s", name, path, rest)
	}
	for about, modules := range map[string]string{
		"ext":                module("a", "a", "\turl = ext::sh -c touch% "+marker+"\n"),
		"update command":     module("a", "a", "\turl = ../sub.git\n\tupdate = !touch "+marker+"\n"),
		"option as a URL":    module("a", "a", "\turl = --upload-pack=touch "+marker+"\n"),
		"proxy command":      module("a", "a", "\turl = ssh://-oProxyCommand=touch%20"+marker+"/x\n"),
		"option as a name":   module("--upload-pack=touch "+marker, "a", "\turl = ../sub.git\n"),
		"name that climbs":   module("../../../"+filepath.Base(marker), "a", "\turl = ../sub.git\n"),
		"local repository":   module("a", "a", "\turl = "+filepath.Join(root, "sub.git")+"\n"),
		"helper as a URL":    module("a", "a", "\turl = touch::"+marker+"\n"),
		"option as a branch": module("a", "a", "\turl = ../sub.git\n\tbranch = --upload-pack=touch "+marker+"\n"),
		"file URL":           module("a", "a", "\turl = file://"+filepath.Join(root, "sub.git")+"\n"),
		"allowed protocols":  module("a", "a", "\turl = ext::sh -c touch% "+marker+"\n"),
		"allowed file":       module("a", "a", "\turl = file://"+filepath.Join(root, "sub.git")+"\n"),
	} {
		t.Run(about, func(t *testing.T) {
			if strings.HasPrefix(about, "allowed") {
				t.Setenv("GIT_ALLOW_PROTOCOL", "http:file:ext")
			}
			name := strings.ReplaceAll(about, " ", "-") + ".git"
			r := newRepo(t, filepath.Join(root, name))
			r.commit(map[string]string{"setup.py": "x", ".gitmodules": modules})
			r.git("update-index", "--add", "--cacheinfo", "160000,"+commits[2]+",a")
			r.git("commit", "-q", "-m", "submodules")
			s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/" + name, Reference: "master", Enabled: true}
			f, _ := newFetcher(t, Options{Retries: -1})
			files, err := f.Archives(t.Context(), Request{Image: "x", Source: &s})
			if err == nil && strings.Contains(modules, root) &&
				slices.Contains(listTar(t, files[0].Path), "x-archive-master/a/setup.py") {
				t.Error("a local repository was read")
			}
			if _, err := os.Lstat(marker); err == nil {
				t.Error("a command of the repository ran")
			}
		})
	}
	r := newRepo(t, filepath.Join(root, "many.git"))
	r.commit(map[string]string{"setup.py": "x", ".gitmodules": module("a", "a", "\turl = ../sub.git\n")})
	add := []string{"update-index", "--add"}
	for i := range maxSubmodules + 1 {
		add = append(add, "--cacheinfo", fmt.Sprintf("160000,%s,m%d", commits[2], i))
	}
	r.git(add...)
	r.git("commit", "-q", "-m", "submodules")
	f, _ := newFetcher(t, Options{Retries: -1})
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/many.git", Reference: "master", Enabled: true}
	if _, err := f.Archives(t.Context(), Request{Image: "x", Source: &s}); err == nil ||
		!strings.Contains(err.Error(), "submodules") {
		t.Errorf("countless submodules: %v", err)
	}
}

// TestGitEndlessCapabilities: what a server says that it can do takes no memory.
func TestGitEndlessCapabilities(t *testing.T) {
	testenv.Slow(t)
	testenv.Program(t, "git", "git")
	packet := func(text string) string { return fmt.Sprintf("%04x%s", len(text)+4, text) }
	line := packet("x=" + strings.Repeat("y", 60_000) + "\n")
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost { // ls-refs
			w.Header().Set("Content-Type", "application/x-git-upload-pack-result")
			fmt.Fprint(w, packet(strings.Repeat("a", 40)+" refs/heads/master\n")+"0000")
			return
		}
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		fmt.Fprint(w, packet("# service=git-upload-pack\n")+"0000"+packet("version 2\n")+packet("ls-refs=unborn\n"))
		for range 500 {
			_, _ = io.WriteString(w, line)
		}
		fmt.Fprint(w, packet("fetch=shallow filter\n")+packet("object-format=sha1\n")+"0000")
	}))
	defer srv.Close()
	f, _ := newFetcher(t, Options{Retries: -1})
	s := Spec{Name: "x", Type: TypeGit, Location: srv.URL + "/x.git", Reference: "master", Enabled: true}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	refs, r, err := f.listRemote(t.Context(), s, "master")
	runtime.ReadMemStats(&after)
	if err != nil || !r.smart || !r.filter || r.sha256 || refs["refs/heads/master"] == "" {
		t.Fatalf("%v, %+v, %v", refs, r, err)
	}
	if got := after.TotalAlloc - before.TotalAlloc; got > 20<<20 {
		t.Errorf("%d bytes were allocated for 30 MB", got)
	}
}

// TestRedirects: a server cannot keep us busy with redirects, and these are not
// repeated as faults.
func TestRedirects(t *testing.T) {
	requests := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests++
		http.Redirect(w, r, fmt.Sprintf("/%d", requests), http.StatusFound)
	}))
	defer srv.Close()
	f, _ := newFetcher(t, Options{})
	_, err := f.Resolve(t.Context(), Spec{Name: "x", Type: TypeURL, Location: srv.URL + "/x", Enabled: true})
	if err == nil || !strings.Contains(err.Error(), "redirected") || requests > 20 {
		t.Errorf("%d requests: %v", requests, err)
	}
}

// TestRetryAfter: a wait that a server asks for is respected, but not beyond the
// limit for all attempts.
func TestRetryAfter(t *testing.T) {
	for _, after := range []string{"3600", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat), "99999999999999999"} {
		requests := 0
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests++
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusTooManyRequests)
		}))
		f, _ := newFetcher(t, Options{MaxElapsed: time.Minute, Retries: 1})
		_, err := f.Resolve(t.Context(), Spec{Name: "x", Type: TypeURL, Location: srv.URL + "/x", Enabled: true})
		if err == nil || !strings.Contains(err.Error(), "429") || requests > 2 {
			t.Errorf("Retry-After %s: %d requests, %v", after, requests, err)
		}
		srv.Close()
	}
}

// TestSpecialFiles: devices and FIFOs are errors and are never read.
func TestSpecialFiles(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/zero", "/dev/tty", fifo} {
		for _, s := range []Spec{{Type: TypeLocal, Location: path}, {Type: TypeURL, Location: "file://" + path},
			{Type: TypeGit, Location: path, Reference: "master"}} {
			s.Name, s.Enabled = "x", true
			f, _ := newFetcher(t, Options{Retries: -1})
			if _, err := f.Archives(t.Context(), Request{Image: "x", Plugins: []Spec{s}}); err == nil {
				t.Errorf("%s source %s was used", s.Type, path)
			}
		}
	}
	// A FIFO in place of a file that was listed as one.
	f, _ := newFetcher(t, Options{})
	tr := newTree(f.cache)
	defer tr.close()
	tr.put("x", &entry{kind: tar.TypeReg, size: 1, file: fifo})
	if _, err := tr.write(t.Context()); !errors.Is(err, inputfile.ErrNotRegular) {
		t.Errorf("FIFO: %v", err)
	}
}

// TestExpansion: archives that expand to far more than any source are refused.
func TestExpansion(t *testing.T) {
	old := archiveLimits
	t.Cleanup(func() { archiveLimits = old })
	archiveLimits = untar.Limits{Members: 1000, Bytes: 1 << 20}
	compress := func(write func(*tar.Writer)) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		w := tar.NewWriter(z)
		write(w)
		_ = w.Close()
		_ = z.Close()
		return b.Bytes()
	}
	for name, data := range map[string][]byte{
		"many members": compress(func(w *tar.Writer) {
			for i := range 2000 {
				_ = w.WriteHeader(&tar.Header{Name: fmt.Sprint(i), Typeflag: tar.TypeReg})
			}
		}),
		"large member": compress(func(w *tar.Writer) {
			_ = w.WriteHeader(&tar.Header{Name: "zeros", Typeflag: tar.TypeReg, Size: 2 << 20})
			_, _ = w.Write(make([]byte, 2<<20))
		}),
		"sparse member": compress(func(w *tar.Writer) {
			_ = w.WriteHeader(&tar.Header{Name: "sparse", Typeflag: tar.TypeReg, Size: 1 << 50})
		}),
	} {
		srv := serveFiles(t)
		location := srv.put(t, "bomb.tar.gz", data)
		f, _ := newFetcher(t, Options{Retries: -1})
		var limit *untar.LimitError
		_, err := f.Resolve(t.Context(), Spec{Name: "x", Type: TypeURL, Location: location, Enabled: true})
		if !errors.As(err, &limit) {
			t.Errorf("%s as source: %v", name, err)
		}
		_, err = f.Archives(t.Context(), Request{Image: "x",
			Plugins: []Spec{{Name: "x", Type: TypeURL, Location: location, Enabled: true}}})
		if !errors.As(err, &limit) {
			t.Errorf("%s as plugin: %v", name, err)
		}
	}
}

// TestEndlessDownload: the end of a context stops the download of endless content.
func TestEndlessDownload(t *testing.T) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := w.Write(make([]byte, 1<<16)); err != nil {
				return
			}
		}
	}))
	defer srv.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	f, _ := newFetcher(t, Options{})
	if _, err := f.Resolve(ctx, Spec{Name: "x", Type: TypeURL, Location: srv.URL + "/x", Enabled: true}); !errors.Is(err,
		context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	checkClean(t, f.opts.CacheDir)
}

// TestLocalLayout: as in Kolla, a location that ends in a slash stands for the content
// of the directory, and one without for the directory.
func TestLocalLayout(t *testing.T) {
	base := t.TempDir()
	dir := filepath.Join(base, "site", "fixes")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "series"), []byte("one.patch\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("fixes", filepath.Join(base, "site", "link")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for location, want := range map[string][2][]string{
		dir: {{"fixes/", "fixes/series"},
			{"additions/", "additions/fixes/", "additions/fixes/series"}},
		dir + "/":  {{"series"}, {"additions/", "additions/series"}},
		dir + "/.": {{"series"}, {"additions/", "additions/series"}},
		".":        {{"series"}, {"additions/", "additions/series"}},
		"site/fixes": {{"fixes/", "fixes/series"},
			{"additions/", "additions/fixes/", "additions/fixes/series"}},
		"site/fixes/": {{"series"}, {"additions/", "additions/series"}},
		"../../site/link": {{"link/", "link/series"},
			{"additions/", "additions/link/", "additions/link/series"}},
		filepath.Join(base, "site/link") + "/":   {{"series"}, {"additions/", "additions/series"}},
		filepath.Join(base, "site/fixes") + "//": {{"series"}, {"additions/", "additions/series"}},
	} {
		f, _ := newFetcher(t, Options{LocalsBase: base})
		s := Spec{Name: "svc", Type: TypeLocal, Location: location, Enabled: true}
		files, err := f.Archives(t.Context(), Request{Image: "svc", Source: &s, Additions: []Spec{s}})
		if err != nil {
			t.Errorf("%s: %v", location, err)
			continue
		}
		for i, file := range []File{files[0], files[2]} {
			if got := listTar(t, file.Path); !slices.Equal(got, want[i]) {
				t.Errorf("%s: %s has %q, want %q", location, file.Name, got, want[i])
			}
		}
	}
}

// TestSpecialModes: setuid, setgid and sticky are kept, in local sources and in files
// of the build context.
func TestSpecialModes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "h")
	if err := os.MkdirAll(filepath.Join(dir, "spool"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "helper"), []byte("h"), 0o755); err != nil {
		t.Fatal(err)
	}
	want := map[string]int64{"additions/h/": 0o2770, "additions/h/helper": 0o4711, "additions/h/spool/": 0o1777,
		"additions/own": 0o6755}
	for name, mode := range want {
		if rel, ok := strings.CutPrefix(name, "additions/h"); ok {
			if err := syscall.Chmod(filepath.Join(dir, rel), uint32(mode)); err != nil {
				t.Fatal(err)
			}
		}
	}
	f, _ := newFetcher(t, Options{})
	s := Spec{Name: "x", Type: TypeLocal, Location: dir, Enabled: true}
	own := ContextEntry{Path: "additions/own", Mode: 0o755 | os.ModeSetuid | os.ModeSetgid,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("o")), nil }}
	files, err := f.Archives(t.Context(), Request{Image: "x", Additions: []Spec{s}, Context: []ContextEntry{own}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]int64{}
	err = eachMember(t.Context(), files[1].Path, func(h *tar.Header, _ io.Reader) error {
		got[h.Name] = h.Mode
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range want {
		if got[name] != mode {
			t.Errorf("%s has mode %o, want %o", name, got[name], mode)
		}
	}
}

// TestNamesOfBytes archives names that are not UTF-8, which tar(1) must read as they
// are.
func TestNamesOfBytes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "d")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	name := "caf\xe9-" + strings.Repeat("x", 150)
	if err := os.WriteFile(filepath.Join(dir, name), []byte("latin 1"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(name, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	f, _ := newFetcher(t, Options{})
	s := Spec{Name: "x", Type: TypeLocal, Location: dir, Enabled: true}
	files, err := f.Archives(t.Context(), Request{Image: "x", Plugins: []Spec{s}})
	if err != nil {
		t.Fatal(err)
	}
	out := unpack(t, files[0].Path)
	if b, err := os.ReadFile(filepath.Join(out, "d", "link")); err != nil || string(b) != "latin 1" {
		t.Errorf("%q, %v", b, err)
	}
}

// TestReplacedDirectories: each file in place of a directory takes a search through all members.
func TestReplacedDirectories(t *testing.T) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for range maxReplaced + 2 {
		_ = w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeDir, Mode: 0o755})
		_ = w.WriteHeader(&tar.Header{Name: "x", Typeflag: tar.TypeReg, Mode: 0o644})
	}
	_ = w.Close()
	srv := serveFiles(t)
	location := srv.put(t, "replacing.tar", b.Bytes())
	f, _ := newFetcher(t, Options{Retries: -1})
	_, err := f.Archives(t.Context(), Request{Image: "x",
		Plugins: []Spec{{Name: "x", Type: TypeURL, Location: location, Enabled: true}}})
	if err == nil || !strings.Contains(err.Error(), "directories") {
		t.Errorf("got %v", err)
	}
}
