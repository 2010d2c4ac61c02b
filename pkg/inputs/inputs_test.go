package inputs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/lock"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// world is a server with files, and a lock of them with a base image.
type world struct {
	server *httptest.Server
	lock   *lock.Lock
	image  v1.Image
	cache  string
	prune  bool
	// fetched, if it is not nil, is called when the base images are complete.
	fetched func()

	mu       sync.Mutex
	notices  []string
	files    map[string]string
	requests []string // "PATH RANGE"
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{cache: t.TempDir(), files: map[string]string{
		"/debian/dists/trixie/InRelease":     "signed",
		"/debian/pool/a+b/a_1%2b2_amd64.deb": strings.Repeat("package", 1000),
		"/simple/six/":                       "<a href=...>",
		"/files/six-1.16.0-py3-none-any.whl": "wheel",
		"/tarballs/keystone-1.tar.gz":        "archive",
	}}
	w.server = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w.mu.Lock()
		text, ok := w.files[r.URL.EscapedPath()]
		w.requests = append(w.requests, r.URL.EscapedPath()+" "+r.Header.Get("Range"))
		w.mu.Unlock()
		if !ok {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		http.ServeContent(rw, r, "", time.Time{}, strings.NewReader(text))
	}))
	t.Cleanup(w.server.Close)
	w.lock = &lock.Lock{Version: lock.Version, Compatibility: 30}
	for path, text := range w.files {
		d, size := digest.FromString(text), int64(len(text))
		if strings.HasPrefix(path, "/tarballs/") {
			w.lock.Sources = append(w.lock.Sources,
				lock.Source{Section: "keystone-base", Type: "url", Location: w.server.URL + path, Digest: d, Size: size})
			continue
		}
		w.lock.Files = append(w.lock.Files, lock.File{URL: w.server.URL + path, Digest: d, Size: size,
			Images: []string{"base"}})
	}
	git := "from git"
	w.lock.Sources = append(w.lock.Sources, lock.Source{Section: "keystone-base-plugin-x", Type: "git",
		Location: "https://host/x", Reference: "main", Commit: "c", Digest: digest.FromString(git), Size: int64(len(git))})
	write(t, filepath.Join(w.cache, digest.FromString(git).Encoded()), git)
	var err error
	if w.image, err = random.Image(100, 2); err != nil {
		t.Fatal(err)
	}
	d, err := w.image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.lock.Bases = []lock.Base{{Name: "debian:trixie", Platform: "linux/amd64",
		Digest: digest.Digest(d.String()), Size: 1000}}
	w.lock.Sort()
	return w
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) fetch(dir string) (Result, error) { return w.fetchWith(context.Background(), dir) }

func (w *world) fetchWith(ctx context.Context, dir string) (Result, error) {
	return Fetch(ctx, FetchOptions{Lock: w.lock, Dir: dir, Prune: w.prune, Caches: []string{w.cache},
		HTTP: http.DefaultClient, Threads: 4, Stall: time.Minute, Retry: retry.Policy{Retries: 1,
			BaseDelay: time.Millisecond},
		Notice: func(format string, args ...any) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.notices = append(w.notices, fmt.Sprintf(format, args...))
		},
		Images: func(ctx context.Context, bases []lock.Base, to string) error {
			if w.fetched != nil {
				defer w.fetched()
			}
			return WriteBases(ctx, bases, to, func(context.Context, lock.Base) (v1.Image, error) { return w.image, nil })
		}})
}

// hostDir is the name of the server's directory in the mirror.
func (w *world) hostDir() string {
	return "mirror/" + strings.ReplaceAll(strings.TrimPrefix(w.server.URL, "http://"), ":", "_")
}

func TestFetchAndOpen(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	res, err := w.fetch(dir)
	if err != nil {
		t.Fatal(err)
	}
	if res.Files != 6 || res.Copied != 1 || res.Downloaded != 5 {
		t.Errorf("%+v", res)
	}
	for path, want := range map[string]string{
		w.hostDir() + "/debian/dists/trixie/InRelease":   "signed",
		w.hostDir() + "/debian/pool/a+b/a_1+2_amd64.deb": strings.Repeat("package", 1000),
		w.hostDir() + "/simple/six/index.html":           "<a href=...>",
		w.hostDir() + "/tarballs/keystone-1.tar.gz":      "archive",
		"python/simple/index.html":                       `<a href="six/">six</a>`,
		"python/simple/six/index.html":                   `<a href="../../../` + w.hostDir() + `/files/six-1.16.0-py3-none-any.whl#sha256=` + digest.FromString("wheel").Encoded(),
	} {
		data, err := os.ReadFile(filepath.Join(dir, path))
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Check([]string{"base"}); err != nil {
		t.Error(err)
	}
	rec, ok := d.LookUp(w.server.URL + "/debian/dists/trixie/InRelease")
	if !ok {
		t.Fatal("a URL of the lock is not found")
	}
	r, err := d.OpenRecord(rec)
	if err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(r); err != nil || string(data) != "signed" {
		t.Errorf("%q, %v", data, err)
	}
	r.Close()
	path, src, ok, err := d.Source("keystone-base-plugin-x", "git", "https://host/x", "main")
	if data, rerr := os.ReadFile(path); err != nil || !ok || rerr != nil ||
		string(data) != "from git" || src.Commit != "c" {
		t.Errorf("%q, %v, %v, %v", data, ok, err, rerr)
	}
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	var named []string
	if err := d.ImportBases(context.Background(), st, func(b lock.Base) error {
		named = append(named, b.Name)
		_, err := st.Image(b.Digest)
		return err
	}); err != nil || fmt.Sprint(named) != "[debian:trixie]" {
		t.Errorf("%v, %v", named, err)
	}
}

// Files of an earlier lock remain, and are counted, until they are pruned. Files beside the layout
// belong to the user.
func TestStaleFiles(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if res, err := w.fetch(dir); err != nil || res.Stale != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	write(t, filepath.Join(dir, "README"), "mine")
	if err := os.Symlink("mirror", filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	w.lock.Files = slices.DeleteFunc(w.lock.Files, func(f lock.File) bool {
		return strings.HasSuffix(f.URL, ".deb") || strings.HasSuffix(f.URL, ".whl")
	})
	var err error
	if w.image, err = random.Image(100, 1); err != nil {
		t.Fatal(err)
	}
	d, err := w.image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.lock.Bases[0].Digest = digest.Digest(d.String())
	const stale = 2 + 1 + 4 // packages, a page of the Python index, and blobs of the base image
	if res, err := w.fetch(dir); err != nil || res.Stale != stale || res.StaleBytes < 7000 {
		t.Errorf("%+v, %v; want %d stale files", res, err, stale)
	}
	deb := filepath.Join(dir, w.hostDir(), "debian/pool/a+b/a_1+2_amd64.deb")
	if _, err := os.Stat(deb); err != nil {
		t.Error(err)
	}
	w.prune = true
	for _, want := range []int{stale, 0} {
		if res, err := w.fetch(dir); err != nil || res.Stale != want {
			t.Errorf("%+v, %v; want %d files removed", res, err, want)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, w.hostDir(), "debian/pool")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("an empty directory remains: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(dir, "README")); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	in, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := in.Check([]string{"base"}); err != nil {
		t.Error(err)
	}
	if err := in.checkBase(w.lock.Bases[0]); err != nil {
		t.Error(err)
	}
}

// TestFetchGoesOn checks that a repeated fetch repairs and resumes, and does not
// download files again.
func TestFetchGoesOn(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	deb := "/debian/pool/a+b/a_1%2b2_amd64.deb"
	whole := w.files[deb]
	delete(w.files, deb)
	_, err := w.fetch(dir)
	var failed *FetchError
	if !errors.As(err, &failed) || len(failed.Failed) != 1 || !strings.Contains(failed.Failed[0], deb) {
		t.Fatalf("%v", err)
	}
	if _, err := Open(dir); err == nil {
		t.Error("an incomplete directory is opened")
	}
	w.files[deb] = strings.Repeat("PACKAGE", 1000)
	if _, err := w.fetch(dir); err == nil || !strings.Contains(err.Error(), "the file on the server has changed") {
		t.Errorf("other content: %v", err)
	}
	w.files[deb] = whole
	partial, err := filepath.Glob(filepath.Join(dir, partialDir, "*-"+digest.FromString(whole).Encoded()))
	if err != nil || len(partial) != 1 {
		t.Fatalf("%q, %v", partial, err)
	}
	write(t, partial[0], whole[:3000])
	write(t, filepath.Join(dir, w.hostDir(), "debian/dists/trixie/InRelease"), "sIgned") // damaged
	w.mu.Lock()
	w.requests = nil
	w.mu.Unlock()
	res, err := w.fetch(dir)
	if err != nil || res.Present != 4 || res.Downloaded != 2 {
		t.Errorf("%+v, %v", res, err)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.requests) != 2 || !strings.Contains(strings.Join(w.requests, "\n"), deb+" bytes=3000-") {
		t.Errorf("requests %q", w.requests)
	}
}

func TestFetchNeedsSpace(t *testing.T) {
	w := newWorld(t)
	w.lock.Files[0].Size = 1 << 60
	if _, err := w.fetch(t.TempDir()); err == nil || !strings.Contains(err.Error(), "free") || len(w.requests) > 0 {
		t.Errorf("%v, %q", err, w.requests)
	}
}

// TestHostileDirectories checks that nothing outside of a directory is read, and nothing
// with another digest.
// A disk that becomes full ends the fetch: every other download would fail as well. The same command
// continues.
func TestFetchToFullDisk(t *testing.T) {
	testenv.Root(t)
	w := newWorld(t)
	dir := testenv.Tmpfs(t, "4m,nr_inodes=9")
	_, err := w.fetch(dir)
	if !errors.Is(err, syscall.ENOSPC) || !strings.Contains(usererr.Hint(err), "continues") {
		t.Fatalf("%v (hint: %s)", err, usererr.Hint(err))
	}
	if _, err := os.Stat(filepath.Join(dir, lock.FileName)); err == nil {
		t.Error("an incomplete directory has a lock")
	}
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, "nr_inodes=1000"); err != nil {
		t.Fatal(err)
	}
	if res, err := w.fetch(dir); err != nil || res.Present+res.Downloaded+res.Copied != res.Files {
		t.Errorf("%+v (%v)", res, err)
	}
}

func TestHostileDirectories(t *testing.T) {
	w := newWorld(t)
	outside := filepath.Join(t.TempDir(), "secret")
	write(t, outside, "signed")
	file := w.hostDir() + "/debian/dists/trixie/InRelease"
	for i, c := range []struct {
		about string
		harm  func(t *testing.T, path string)
		want  string
	}{
		{"missing", func(t *testing.T, path string) { must(t, os.Remove(path)) }, "missing"},
		{"truncated", func(t *testing.T, path string) { write(t, path, "sig") }, "3 bytes instead of 6"},
		{"damaged", func(t *testing.T, path string) { write(t, path, "sIgned") }, "its digest is"},
		{"a link out of it", func(t *testing.T, path string) {
			must(t, os.Remove(path))
			must(t,
				os.Symlink(outside, path))
		}, "escapes"},
		{"a directory that is a link out of it", func(t *testing.T, path string) {
			must(t, os.RemoveAll(filepath.Dir(path)))
			write(t, filepath.Join(filepath.Dir(outside), "InRelease"), "signed")
			must(t, os.Symlink(filepath.Dir(outside), filepath.Dir(path)))
		}, "escapes"},
		{"a FIFO", func(t *testing.T, path string) { must(t, os.Remove(path)); must(t, syscall.Mkfifo(path, 0o600)) },
			"not a regular file"},
	} {
		t.Run(c.about, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), strconv.Itoa(i))
			if _, err := w.fetch(dir); err != nil {
				t.Fatal(err)
			}
			c.harm(t, filepath.Join(dir, file))
			d, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			err = d.Check([]string{"base"})
			if err == nil { // it is found when the file is used
				rec, _ := d.LookUp(w.server.URL + "/debian/dists/trixie/InRelease")
				_, err = d.OpenRecord(rec)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "InRelease") {
				t.Errorf("%v, want %s", err, c.want)
			}
			if err := d.Check([]string{"another image"}); err != nil {
				t.Errorf("an image that does not need it: %v", err)
			}
		})
	}
	dir := t.TempDir()
	if _, err := w.fetch(dir); err != nil {
		t.Fatal(err)
	}
	blob := filepath.Join(dir, blobPath(w.lock.Bases[0].Digest))
	must(t, os.Remove(blob))
	must(t, os.Symlink(outside, blob))
	d, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	st, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	if err := d.ImportBases(context.Background(), st, func(lock.Base) error { return nil }); err == nil ||
		!strings.Contains(err.Error(), "escapes") {
		t.Errorf("a blob that is a link out of it: %v", err)
	}
}

// A directory from elsewhere cannot have a later fetch write or remove files outside of it.
func TestFetchFollowsNoLinks(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"oci", "oci/blobs", "oci/blobs/sha256", "oci/index.json", "mirror",
		"python", ".partial", ".lock"} {
		t.Run(name, func(t *testing.T) {
			dir, outside := filepath.Join(t.TempDir(), "inputs"), t.TempDir()
			if _, err := w.fetch(dir); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{"thesis", "index.json", "sha256/thesis", "blobs/sha256/thesis"} {
				write(t, filepath.Join(outside, file), "mine")
			}
			target := outside
			if name == "oci/index.json" {
				target = filepath.Join(outside, "index.json")
			}
			if name == ".lock" {
				target = filepath.Join(outside, "made")
			}
			must(t, os.RemoveAll(filepath.Join(dir, name)))
			must(t, os.Symlink(target, filepath.Join(dir, name)))
			_, err := w.fetch(dir)
			if err == nil && name != ".partial" && name != "python" {
				t.Error("the link was accepted")
			}
			var leftover []string
			must(t, filepath.WalkDir(outside, func(path string, d os.DirEntry, err error) error {
				if err == nil && !d.IsDir() {
					content, rerr := os.ReadFile(path)
					if err = rerr; string(content) == "mine" {
						leftover = append(leftover, path)
					} else {
						t.Errorf("%s was written", path)
					}
				}
				return err
			}))
			if len(leftover) != 4 {
				t.Errorf("of the files outside, %q are left: %v", leftover, err)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestPathsOfURLs checks that URLs become paths within the directory, each its own.
func TestPathsOfURLs(t *testing.T) {
	for in, want := range map[string]string{
		"http://h/pool/a+b~1/x%2b1.deb":         "mirror/h/pool/a+b~1/x+1.deb",
		"https://h:8443/simple/six/":            "mirror/h_8443/simple/six/index.html",
		"https://h/get?op=a/../b":               "mirror/h/get?op=a%2F..%2Fb",
		"https://h/a%2F..%2F..%2Fb":             "",
		"https://h/a//b":                        "",
		"https://h/a%00b":                       "",
		"https://../x":                          "",
		"https://h/" + strings.Repeat("x", 300): "",
	} {
		if got := urlPath(in); got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
	}
	file := func(url, text string) lock.File { return lock.File{URL: url, Digest: digest.FromString(text)} }
	seen := map[string]digest.Digest{}
	for _, it := range itemsOf(&lock.Lock{Files: []lock.File{
		file("http://h/a", "1"), file("http://h/a/b", "2"), file("https://h/a/b", "3"), file("https://h/a//c", "4"),
		file("http://h/x", "5"), file("https://h/x", "5"),
	}}) {
		if have, ok := seen[it.path]; ok && have != it.digest || !filepath.IsLocal(it.path) {
			t.Errorf("%s has %s", it.url, it.path)
		}
		seen[it.path] = it.digest
	}
	if len(seen) != 5 {
		t.Errorf("%v", seen)
	}
}
