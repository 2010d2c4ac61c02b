package inputs

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/lock"
)

const debPath = "/debian/pool/a+b/a_1+2_amd64.deb"

// withoutDebs removes the Debian package from the lock.
func (w *world) withoutDebs() {
	w.lock.Files = slices.DeleteFunc(w.lock.Files, func(f lock.File) bool { return strings.HasSuffix(f.URL, ".deb") })
}

// filesOf returns the contents of all files of a directory, by path.
func filesOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(path)
		name, relErr := filepath.Rel(dir, path)
		files[name] = string(b)
		return errors.Join(err, relErr)
	}))
	return files
}

// Files that fetch did not write belong to the user, also those with the names of the layout: a
// project with checkouts in sources, or a mirror that another program fills.
func TestPruneKeepsFilesOfTheUser(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	user := map[string]string{
		"sources/nova/setup.py":                 "from setuptools import setup",
		"sources/nova-0123456789abcdef":         "a directory or an archive of the user",
		"other/notes":                           "notes",
		"other/" + strings.Repeat("ab", 32):     "notes",
		"mirror/deb.example/debian/dists/sid/x": "mirror",
		"python/simple/mine/index.html":         "page",
		"python/setup.py":                       "from setuptools import setup",
		"oci/blobs/README":                      "about",
		w.hostDir() + debPath:                   strings.Repeat("package", 1000), // as in the lock
	}
	for name, text := range user {
		write(t, filepath.Join(dir, name), text)
	}
	if res, err := w.fetch(dir); err != nil || res.Present != 1 || res.Stale != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	w.withoutDebs()
	w.prune = true
	write(t, filepath.Join(dir, "sources/later"), "later")
	user["sources/later"] = "later"
	if res, err := w.fetch(dir); err != nil || res.Stale != 0 {
		t.Errorf("%+v, %v; nothing of an earlier lock is from fetch", res, err)
	}
	// What fetch has written is removed, by a later fetch than the one that replaced the lock too.
	w.prune = false
	w.lock.Sources = slices.DeleteFunc(w.lock.Sources, func(s lock.Source) bool { return s.Type == "git" })
	for range 2 {
		if res, err := w.fetch(dir); err != nil || res.Stale != 1 {
			t.Errorf("%+v, %v; want the archive from git", res, err)
		}
	}
	w.prune = true
	for _, want := range []int{1, 0} {
		if res, err := w.fetch(dir); err != nil || res.Stale != want {
			t.Errorf("%+v, %v; want %d removed", res, err, want)
		}
	}
	files := filesOf(t, dir)
	for name, text := range user {
		if files[name] != text {
			t.Errorf("%s is %q, want %q", name, files[name], text)
		}
	}
	if _, ok := files["sources/keystone-base-plugin-x-"+digest.FromString("from git").Encoded()[:16]]; ok {
		t.Error("the archive from git remains")
	}
}

// Through a link, a file of an earlier lock can be one of the lock: nothing is removed.
func TestPruneRefusesLinks(t *testing.T) {
	for _, name := range []string{"mirror", "/debian", "/debian/dists/trixie/InRelease"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			dir := t.TempDir()
			if _, err := w.fetch(dir); err != nil {
				t.Fatal(err)
			}
			if name != "mirror" {
				name = w.hostDir() + name
			}
			path := filepath.Join(dir, name)
			must(t, os.Rename(path, path+".real"))
			must(t, os.Symlink(filepath.Base(path)+".real", path))
			w.withoutDebs()
			before := len(filesOf(t, dir))
			res, err := w.fetch(dir)
			if err != nil || res.Stale != 0 || !strings.Contains(strings.Join(w.notices, "\n"),
				"not counted: "+path+" is a symbolic link") {
				t.Errorf("without --prune: %+v, %v, %q", res, err, w.notices)
			}
			w.prune = true
			if res, err = w.fetch(dir); err == nil || !strings.Contains(err.Error(), path+" is a symbolic link") ||
				res.Stale != 0 {
				t.Errorf("with --prune: %+v, %v", res, err)
			}
			if after := len(filesOf(t, dir)); after != before {
				t.Errorf("%d files became %d", before, after)
			}
			in, err := Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer in.Close()
			if err := in.Check([]string{"base"}); err != nil {
				t.Error(err)
			}
		})
	}
}

// The inputs are complete before files of earlier locks are counted: a problem with these is no
// error of fetch, except with --prune. Ctrl-C ends it.
func TestCountingIsNoErrorOfFetch(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if _, err := w.fetch(dir); err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, fetchedFile)
	content, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	// No file system has a name of this length, so its status is an error also for root.
	write(t, list, string(content)+strconv.Quote(w.hostDir()+"/"+strings.Repeat("x", 300))+"\n")
	if res, err := w.fetch(dir); err != nil || !strings.Contains(strings.Join(w.notices, "\n"), "were not counted") {
		t.Errorf("%+v, %v, %q", res, err, w.notices)
	}
	w.prune = true
	if _, err := w.fetch(dir); !errors.Is(err, syscall.ENAMETOOLONG) ||
		!strings.Contains(err.Error(), "the inputs are complete") {
		t.Errorf("with --prune: %v", err)
	}
	write(t, list, string(content))
	w.withoutDebs()
	for _, w.prune = range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		w.fetched = cancel
		if _, err := w.fetchWith(ctx, dir); !errors.Is(err, context.Canceled) {
			t.Errorf("interrupted, prune %t: %v", w.prune, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, w.hostDir(), debPath)); err != nil {
		t.Errorf("interrupted: %v", err)
	}
}

// A list from elsewhere, or one that a power failure has damaged, names no file of the user.
func TestHostileListOfFetched(t *testing.T) {
	w := newWorld(t)
	dir := filepath.Join(t.TempDir(), "inputs")
	outside := filepath.Join(filepath.Dir(dir), "mine")
	write(t, outside, "mine")
	names := []string{"README", "sources/nova", "sources/nova/setup.py", "other/notes", "oci/notes", "python/notes",
		"mirror/notes", "oci/blobs/sha256/notes"}
	var lines strings.Builder
	for _, name := range append(names, "../mine", "mirror/../README", "mirror/h/../../../mine",
		outside, lock.FileName, "") {
		lines.WriteString(strconv.Quote(name) + "\n")
	}
	lines.WriteString("\"mirror/h/cut\nmirror/h/bare\n\x00\x00\n")
	for _, name := range append(names[:1:1], "sources/nova/setup.py", "other/notes", "oci/notes",
		"python/notes", "mirror/notes",
		"mirror/h/cut", "mirror/h/bare") {
		write(t, filepath.Join(dir, name), "mine")
	}
	list := filepath.Join(dir, fetchedFile)
	write(t, list, lines.String())
	before := filesOf(t, dir)
	w.prune = true
	if res, err := w.fetch(dir); err != nil || res.Stale != 0 {
		t.Fatalf("%+v, %v", res, err)
	}
	after := filesOf(t, dir)
	for name, text := range before {
		if name != fetchedFile && after[name] != text {
			t.Errorf("%s became %q", name, after[name])
		}
	}
	if text, err := os.ReadFile(outside); err != nil || string(text) != "mine" {
		t.Errorf("%q, %v", text, err)
	}
	for about, replace := range map[string]func() error{
		"link": func() error { return os.Symlink("README", list) },
		"FIFO": func() error { return syscall.Mkfifo(list, 0o600) },
	} {
		must(t, os.Remove(list))
		must(t, replace())
		if _, err := w.fetch(dir); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", about, err)
		}
	}
}

// A lock without base images leaves no index that refers to removed blobs, and no index of the user.
func TestFetchWithoutBases(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if _, err := w.fetch(dir); err != nil {
		t.Fatal(err)
	}
	w.lock.Bases = nil
	w.prune = true
	if res, err := w.fetch(dir); err != nil || res.Stale != 4 {
		t.Errorf("%+v, %v; want 4 blobs removed", res, err)
	}
	var index ocispec.Index
	b, err := os.ReadFile(filepath.Join(dir, layoutIndex))
	if err == nil {
		err = json.Unmarshal(b, &index)
	}
	if err != nil || len(index.Manifests) > 0 {
		t.Errorf("the index is %s (%v)", b, err)
	}
	dir = t.TempDir()
	write(t, filepath.Join(dir, layoutIndex), "mine")
	write(t, filepath.Join(dir, "oci/blobs/sha256/notes"), "mine")
	if res, err := w.fetch(dir); err != nil || res.Stale != 0 {
		t.Errorf("%+v, %v", res, err)
	}
	if files := filesOf(t, dir); files[layoutIndex] != "mine" || files["oci/blobs/sha256/notes"] != "mine" {
		t.Error("the layout of the user was changed")
	}
}

// Reading a manifest is bounded, and its digests are valid.
func TestManifestsOfBases(t *testing.T) {
	dir := t.TempDir()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	b := lock.Base{Digest: digest.FromString("large")}
	write(t, filepath.Join(dir, blobPath(b.Digest)), "")
	must(t, os.Truncate(filepath.Join(dir, blobPath(b.Digest)), 1<<40))
	var large *inputfile.TooLargeError
	if _, err := baseBlobs(root, b); !errors.As(err, &large) {
		t.Errorf("a manifest of 1 TB: %v", err)
	}
	for _, bad := range []string{"sha256:../../../mirror", "sha256:", "x"} {
		text := `{"schemaVersion":2,"config":{"digest":"` + digest.FromString("c").String() + `"},"layers":[{"digest":"` + bad + `"}]}`
		b.Digest = digest.FromString(text)
		write(t, filepath.Join(dir, blobPath(b.Digest)), text)
		if blobs, err := baseBlobs(root, b); err == nil {
			t.Errorf("a layer with digest %s: %+v", bad, blobs)
		}
	}
}

// Builds share a directory, and fetch changes it only when no build uses it.
func TestFetchWhileBuilding(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	if _, err := w.fetch(dir); err != nil {
		t.Fatal(err)
	}
	var held *filelock.HeldError
	var open []*Dir
	for range 2 {
		in, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, in)
	}
	for _, in := range open {
		if _, err := w.fetch(dir); !errors.As(err, &held) {
			t.Errorf("while the directory is used: %v", err)
		}
		must(t, in.Close())
	}
	if _, err := w.fetch(dir); err != nil {
		t.Error(err)
	}
	fetching, err := filelock.Try(filepath.Join(dir, dirLockFile))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.As(err, &held) {
		t.Errorf("while it is fetched: %v", err)
	}
	fetching.Close()
	must(t, os.Remove(filepath.Join(dir, dirLockFile)))
	in, err := Open(dir)
	if err != nil {
		t.Fatalf("without a lock file: %v", err)
	}
	must(t, in.Close())
	if _, err := os.Stat(filepath.Join(dir, dirLockFile)); err == nil {
		t.Error("a reader made a lock file")
	}
	// Another error has no hint to wait.
	must(t, os.Mkdir(filepath.Join(dir, dirLockFile), 0o755))
	if _, err := w.fetch(dir); err == nil || strings.Contains(usererr.Hint(err), "repeat") {
		t.Errorf("with a lock file that cannot be opened: %v, hint %q", err, usererr.Hint(err))
	}
}

// An OCI layout of the user is not replaced, also where the lock was written by an earlier fetch.
func TestFetchKeepsTheLayoutOfTheUser(t *testing.T) {
	w := newWorld(t)
	dir := t.TempDir()
	bases := w.lock.Bases
	foreign := `{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"` +
		digest.FromString("theirs").String() + `","size":6}]}`
	mine := map[string]string{layoutIndex: foreign, "oci/oci-layout": `{"imageLayoutVersion":"1.0.0"}`,
		"oci/blobs/sha256/README": "about"}
	for name, text := range mine {
		write(t, filepath.Join(dir, name), text)
	}
	check := func(what string) {
		t.Helper()
		files := filesOf(t, dir)
		for name, text := range mine {
			if files[name] != text {
				t.Errorf("%s: %s is %q", what, name, files[name])
			}
		}
	}
	w.lock.Bases = nil
	if _, err := w.fetch(dir); err != nil {
		t.Fatal(err)
	}
	check("without base images")
	w.lock.Bases = bases
	if _, err := w.fetch(dir); err == nil || !strings.Contains(err.Error(),
		layoutIndex+" is not replaced: it has "+digest.FromString("theirs").String()) {
		t.Errorf("base images into the layout of the user: %v", err)
	}
	check("with base images")
	// It is one that fetch may write if the user removes it, or if its images are those of the lock.
	must(t, os.Remove(filepath.Join(dir, layoutIndex)))
	if _, err := w.fetch(dir); err != nil {
		t.Error(err)
	}
	if files := filesOf(t, dir); files["oci/blobs/sha256/README"] != "about" {
		t.Error("a file of the user among the blobs was removed")
	}
	must(t, os.Remove(filepath.Join(dir, fetchedFile)))
	if _, err := w.fetch(dir); err != nil {
		t.Errorf("a layout of a release without a list: %v", err)
	}
}
