package storecmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/random"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// fixture is a data directory with a few images.
type fixture struct {
	t              *testing.T
	dir            string
	stdout, stderr bytes.Buffer
	con            *console.Console
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	f.con = &console.Console{Stdout: &f.stdout, Stderr: &f.stderr}
	f.build(map[string]store.Kind{
		"debian:trixie":                             store.KindBase,
		"kolla/nova-api:a":                          store.KindBuilt,
		"kolla/nova-compute:a":                      store.KindBuilt,
		"kolla/nova-api:b":                          store.KindBuilt,
		"registry.example:4000/kolla/nova-api:a":    store.KindBuilt,
		"registry.example:4000/other/keystone:a":    store.KindBuilt,
		"registry.example:4000/deep/kolla/glance:a": store.KindBuilt,
	})
	return f
}

// build stores a new image under each name.
func (f *fixture) build(images map[string]store.Kind) {
	f.t.Helper()
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	for name, kind := range images {
		img, err := random.Image(1000, 1)
		if err != nil {
			f.t.Fatal(err)
		}
		d, err := s.WriteImage(f.t.Context(), img)
		if err != nil {
			f.t.Fatal(err)
		}
		if err := s.Put(store.Entry{Name: name, Digest: d, Kind: kind, Key: d.String()}); err != nil {
			f.t.Fatal(err)
		}
	}
}

// config returns the configuration of a command line.
func (f *fixture) config(args ...string) *config.Config {
	f.t.Helper()
	cfg, err := cli.Load(cli.Input{Args: append([]string{"--data-dir", f.dir}, args...),
		Env: []string{"HOME=" + f.t.TempDir()}})
	if err != nil {
		f.t.Fatal(err)
	}
	return cfg
}

// names returns the names of all images in the store.
func (f *fixture) names() []string {
	f.t.Helper()
	f.stdout.Reset()
	if err := Images(f.config(), f.con, true); err != nil {
		f.t.Fatal(err)
	}
	var images []listedImage
	if err := json.Unmarshal(f.stdout.Bytes(), &images); err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, im := range images {
		names = append(names, im.Name)
	}
	return names
}

func TestImages(t *testing.T) {
	f := newFixture(t)
	if err := Images(f.config("^nova-"), f.con, false); err != nil {
		t.Fatal(err)
	}
	if got := strings.Count(f.stdout.String(), "\n"); got != 5 { // four images and the heading
		t.Errorf("printed\n%s", f.stdout.String())
	}
	if got := f.names(); len(got) != 7 {
		t.Errorf("images %v", got)
	}
	err := Images(f.config("^no-such"), f.con, false)
	if err == nil || !strings.Contains(usererr.Hint(err), "with a name such as ") {
		t.Errorf("a pattern that matches no image: %v", err)
	}
	// Python's syntax, which Go's regular expressions do not have.
	f.stdout.Reset()
	if err := Images(f.config("^nova-(?!api)"), f.con, false); err != nil ||
		strings.Contains(f.stdout.String(), "nova-api") || !strings.Contains(f.stdout.String(), "nova-compute") {
		t.Errorf("printed %s, %v", f.stdout.String(), err)
	}
}

// TestSelection removes what a command line names and compares what is left.
func TestSelection(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		gone []string
	}{
		"regular expression": {[]string{"^nova-compute$"}, []string{"kolla/nova-compute:a"}},
		"base images too":    {[]string{"debian"}, []string{"debian:trixie"}},
		"tag":                {[]string{"--tag", "b", "."}, []string{"kolla/nova-api:b"}},
		"registry": {[]string{"--registry", "registry.example:4000", "nova"},
			[]string{"registry.example:4000/kolla/nova-api:a"}},
		"registry as a URL": {[]string{"--registry", "https://registry.example:4000/", "nova"},
			[]string{"registry.example:4000/kolla/nova-api:a"}},
		"namespace": {[]string{"--namespace", "kolla", "--tag", "a", "."},
			[]string{"kolla/nova-api:a", "kolla/nova-compute:a", "registry.example:4000/kolla/nova-api:a",
				"registry.example:4000/deep/kolla/glance:a"}},
		"nothing of that tag": {[]string{"--tag", "z", "nova"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			before := f.names()
			f.stdout.Reset()
			if err := Remove(t.Context(), f.config(c.args...), f.con, true); err != nil {
				t.Fatal(err)
			}
			shown := strings.Fields(f.stdout.String())
			if after := f.names(); !slices.Equal(after, before) {
				t.Errorf("a dry run left %v of %v", after, before)
			}
			if err := Remove(t.Context(), f.config(c.args...), f.con, false); err != nil {
				t.Fatal(err)
			}
			if c.gone == nil && !strings.Contains(f.stderr.String(), "nothing removed: no image of tag z in ") {
				t.Errorf("the tag without images is not named: %s", &f.stderr)
			}
			after := f.names()
			var gone []string
			for _, n := range before {
				if !slices.Contains(after, n) {
					gone = append(gone, n)
				}
			}
			slices.Sort(c.gone)
			if !slices.Equal(gone, c.gone) {
				t.Errorf("removed %v, want %v", gone, c.gone)
			}
			if slices.Sort(shown); !slices.Equal(shown, c.gone) {
				t.Errorf("a dry run shows %v, want %v", shown, c.gone)
			}
		})
	}
	f := newFixture(t)
	if err := Remove(t.Context(), f.config(), f.con, false); !usererr.IsUsage(err) || usererr.Hint(err) == "" {
		t.Errorf("remove without a regular expression: %v", err)
	}
	if n := len(f.names()); n != 7 {
		t.Errorf("%d images are left", n)
	}
}

// TestGC removes an image whose name another one has taken, after a dry run has shown it.
// Counts of zero are not shown.
func TestImagesAndBlobs(t *testing.T) {
	got := imagesAndBlobs(0, 1) + "; " + imagesAndBlobs(2, 0) + "; " + imagesAndBlobs(1, 3)
	if want := "1 blob; 2 unnamed images; 1 unnamed image and 3 blobs"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestGC(t *testing.T) {
	f := newFixture(t)
	f.build(map[string]store.Kind{"kolla/nova-api:a": store.KindBuilt}) // another image gets the name
	f.stderr.Reset()
	if err := GC(t.Context(), f.config(), f.con, GCOptions{Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(f.stderr.String(), "store: nothing to remove") {
		t.Errorf("within the time: %s", f.stderr.String())
	}
	f.stderr.Reset()
	if err := GC(t.Context(), f.config(), f.con, GCOptions{DryRun: true}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(f.stderr.String(), "store: 1 unnamed image and 3 blobs would be removed") {
		t.Errorf("a dry run: %s", f.stderr.String())
	}
	f.stderr.Reset()
	if err := GC(t.Context(), f.config(), f.con, GCOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(f.stderr.String(), "store: 1 unnamed image and 3 blobs removed") {
		t.Errorf("after the time: %s", f.stderr.String())
	}
}

// TestGCBuilderCache removes the builder's cache if asked to, and not while a builder
// uses it.
func TestGCBuilderCache(t *testing.T) {
	testenv.Root(t)
	f := newFixture(t)
	dir := workspace.BuilderDir(f.config())
	if err := os.MkdirAll(filepath.Join(dir, "runc-overlayfs"), 0o711); err != nil {
		t.Fatal(err)
	}
	cached := filepath.Join(dir, "runc-overlayfs", "cache.db")
	if err := os.WriteFile(cached, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := GC(t.Context(), f.config(), f.con, GCOptions{Keep: time.Hour}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.stdout.String(), dir) || !strings.Contains(f.stdout.String(), "1.0 MiB") {
		t.Errorf("what the builder's cache holds is not printed: %s", f.stdout.String())
	}
	lock, err := filelock.Try(filepath.Join(dir, "kolla-build.lock"))
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.SetProcess(); err != nil {
		t.Fatal(err)
	}
	err = GC(t.Context(), f.config(), f.con, GCOptions{Keep: time.Hour, BuilderCache: true})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("process %d", os.Getpid())) {
		t.Errorf("while a builder runs: %v", err)
	}
	if _, err := os.Stat(cached); err != nil {
		t.Fatalf("removed while a builder runs: %v", err)
	}
	lock.Close()
	if err := GC(t.Context(), f.config(), f.con, GCOptions{Keep: time.Hour, BuilderCache: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(cached); !os.IsNotExist(err) {
		t.Errorf("the cache is still there: %v", err)
	}
}

// TestImagesPatterns selects images by short name, by short name and tag, and by the
// whole name.
func TestImagesPatterns(t *testing.T) {
	for pattern, want := range map[string]int{
		"^nova-api$":                   3,
		":b":                           1,
		"^nova-api:a$":                 2,
		"(?:nova|glance)-api":          3,
		"registry.example:4000/kolla/": 1,
		"deep/kolla":                   1,
	} {
		f := newFixture(t)
		found, err := find(openStore(t, f), query{patterns: []string{pattern}})
		if err != nil || len(found) != want {
			t.Errorf("%q matches %v, %v, want %d images", pattern, found, err, want)
		}
	}
	f := newFixture(t)
	if _, err := find(openStore(t, f), query{patterns: []string{"novaapi"}}); err == nil ||
		!strings.Contains(usererr.Hint(err), "nova-api") {
		t.Errorf("a misspelled name: %v, %q", err, usererr.Hint(err))
	}
}

func openStore(t *testing.T, f *fixture) *store.Store {
	t.Helper()
	s, err := workspace.OpenStoreForReading(f.config())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestSave(t *testing.T) {
	f := newFixture(t)
	if err := Save(t.Context(), f.config(), f.con, "", SaveOptions{}); !usererr.IsUsage(err) {
		t.Errorf("save without --output: %v", err)
	}
	path := filepath.Join(t.TempDir(), "set.tar")
	if err := Save(t.Context(), f.config("--tag", "a"), f.con, path, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(f.stderr.String(), "5 images, 15 blobs") { // no base image, no tag b
		t.Errorf("saved %s", f.stderr.String())
	}
	if err := Save(t.Context(), f.config("--tag", "z"), f.con, path, SaveOptions{}); err == nil {
		t.Error("saved without an image")
	}
}

func TestNames(t *testing.T) {
	f := newFixture(t)
	if got, want := Names(f.config()), []string{"debian", "glance", "keystone", "nova-api",
		"nova-compute"}; !slices.Equal(got, want) {
		t.Errorf("names %v, want %v", got, want)
	}
	empty := &config.Config{DataDir: filepath.Join(t.TempDir(), "data")}
	if got := Names(empty); len(got) != 0 {
		t.Errorf("names of a store that does not exist: %v", got)
	}
	if matches, _ := filepath.Glob(empty.DataDir); len(matches) != 0 {
		t.Error("completion created the data directory")
	}
}

func TestShortName(t *testing.T) {
	for reference, want := range map[string]string{
		"nova-api": "nova-api", "kolla/nova-api:t": "nova-api", "localhost:4000/kolla/nova-api:t": "nova-api",
		"localhost:4000/nova-api@sha256:0": "nova-api", "a/b/c:1@sha256:0": "c",
	} {
		if got := shortName(reference); got != want {
			t.Errorf("shortName(%q) = %q, want %q", reference, got, want)
		}
	}
}

// A file without content, as of a medium that returns zeros, is no bundle.
func TestVerifyZeros(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zeros")
	if err := os.WriteFile(file, make([]byte, 10_000), 0o644); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	con := &console.Console{Stdout: &out, Stderr: &out}
	err := Verify(t.Context(), con, []string{file}, VerifyOptions{Progress: "quiet"})
	if err == nil || !strings.Contains(err.Error(), "contains no index.json") {
		t.Errorf("%v\n%s", err, out.String())
	}
}
