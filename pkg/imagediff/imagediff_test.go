package imagediff

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/inspect"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

// step is an instruction of an image: the files of its layer by name, or, with no
// files, a change of the environment.
type step struct {
	createdBy string
	files     map[string]string
	order     []string // of the files in the archive
}

func build(t *testing.T, env string, steps ...step) v1.Image {
	t.Helper()
	img := mutate.MediaType(empty.Image, types.OCIManifestSchema1)
	img = mutate.ConfigMediaType(img, types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: "linux", Architecture: "amd64",
		Config: v1.Config{Env: []string{env}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, name := range s.order {
			content := s.files[name]
			if err := w.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644,
				Size: int64(len(content))}); err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(w, content); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		layer := archivetest.Layer(t, b.Bytes(), tarball.WithMediaType(types.OCILayer))
		if img, err = mutate.Append(img, mutate.Addendum{Layer: layer,
			History: v1.History{CreatedBy: s.createdBy}}); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

var (
	base  = step{"RUN base", map[string]string{"etc/os": "debian", "etc/old": "x"}, []string{"etc/os", "etc/old"}}
	files = step{"RUN install", map[string]string{"a": "1", "b": "2"}, []string{"a", "b"}}
)

type fixture struct {
	t              *testing.T
	dir            string
	stdout, stderr bytes.Buffer
}

func newFixture(t *testing.T, images map[string]v1.Image) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir()}
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	for name, img := range images {
		f.name(name, img)
	}
	return f
}

// name stores an image under a name.
func (f *fixture) name(name string, img v1.Image) {
	f.t.Helper()
	s, err := workspace.OpenStore(f.config())
	if err != nil {
		f.t.Fatal(err)
	}
	defer s.Close()
	d, err := s.WriteImage(f.t.Context(), img)
	if err != nil {
		f.t.Fatal(err)
	}
	if err := s.Put(store.Entry{Name: name, Digest: d, Kind: store.KindBuilt}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) config(args ...string) *config.Config {
	f.t.Helper()
	cfg, err := cli.Load(cli.Input{Args: append([]string{"--data-dir", f.dir}, args...),
		Env: []string{"HOME=" + f.t.TempDir()}})
	if err != nil {
		f.t.Fatal(err)
	}
	return cfg
}

// document is the output in JSON.
type document struct {
	Difference
	Layers []struct {
		LayerDifference
		Files []inspect.FileChange
	}
}

// diff runs the command and returns its output in JSON.
func (f *fixture) diff(a, b string) (document, error) {
	f.t.Helper()
	f.stdout.Reset()
	err := Run(f.t.Context(), f.config(), &console.Console{Stdout: &f.stdout, Stderr: &f.stderr}, a, b, true)
	var d document
	if f.stdout.Len() > 0 {
		if err := json.Unmarshal(f.stdout.Bytes(), &d); err != nil {
			f.t.Fatal(err)
		}
		var again bytes.Buffer
		if err := json.Indent(&again, f.stdout.Bytes(), "", "  "); err != nil ||
			!bytes.Equal(again.Bytes(), f.stdout.Bytes()) {
			f.t.Errorf("indented otherwise than other JSON (%v):\n%s", err, &f.stdout)
		}
		if d.Layers == nil || len(d.Layers) > 0 && d.Layers[0].Files == nil {
			f.t.Errorf("a list is missing:\n%s", &f.stdout)
		}
	}
	return d, err
}

func (f *fixture) text(a, b string) string {
	f.t.Helper()
	f.stdout.Reset()
	if err := Run(f.t.Context(), f.config(), &console.Console{Stdout: &f.stdout, Stderr: &f.stderr}, a,
		b, false); err != nil &&
		!errors.Is(err, usererr.ErrReported) {
		f.t.Fatal(err)
	}
	return f.stdout.String()
}

func TestDifferences(t *testing.T) {
	changed := step{"RUN install", map[string]string{"a": "1", "b": "three", "c": "new"}, []string{"a", "b", "c"}}
	reordered := step{"RUN install", files.files, []string{"b", "a"}}
	f := newFixture(t, map[string]v1.Image{
		"kolla/app:one":       build(t, "A=1", base, files),
		"kolla/app:same":      build(t, "A=1", base, files),
		"kolla/app:changed":   build(t, "A=2", base, changed),
		"kolla/app:reordered": build(t, "A=1", base, reordered),
		"kolla/app:short":     build(t, "A=1", base),
	})

	d, err := f.diff("app:one", "app:same")
	if err != nil || !d.Same || len(d.Layers) != 0 {
		t.Errorf("equal images: %+v, %v", d, err)
	}

	d, err = f.diff("app:one", "app:changed")
	if !errors.Is(err, usererr.ErrReported) || d.Same {
		t.Errorf("different images: %v", err)
	}
	if len(d.Config) != 1 || d.Config[0].Field != "config.Env.A" || d.Config[0].From != "1" || d.Config[0].To != "2" {
		t.Errorf("configuration %+v", d.Config)
	}
	if len(d.Layers) != 1 || d.Layers[0].Layer != 2 || d.Layers[0].Step != "RUN install" || d.Layers[0].Packed {
		t.Fatalf("layers %+v", d.Layers)
	}
	kinds := map[string]string{}
	for _, c := range d.Layers[0].Files {
		kinds[c.Path] = c.Kind
	}
	if len(kinds) != 2 || kinds["b"] != "changed" || kinds["c"] != "added" {
		t.Errorf("files %v", kinds)
	}
	if text := f.text("app:one", "app:changed"); !strings.Contains(text, "~ /b  content 1 B → 5 B") ||
		!strings.Contains(text, "+ /c") {
		t.Errorf("text\n%s", text)
	}

	d, err = f.diff("app:one", "app:reordered")
	if !errors.Is(err, usererr.ErrReported) || len(d.Layers) != 1 || !d.Layers[0].Packed || len(d.Layers[0].Files) != 0 {
		t.Errorf("another order of the files: %+v, %v", d.Layers, err)
	}

	d, err = f.diff("app:one", "app:short")
	if !errors.Is(err, usererr.ErrReported) || len(d.Layers) != 1 || !d.Layers[0].Rest || d.Layers[0].Layer != 2 ||
		d.Layers[0].B != "" || len(d.Layers[0].Files) != 2 {
		t.Errorf("another number of layers: %+v, %v", d.Layers, err)
	}
	for _, c := range d.Layers[0].Files {
		if c.Kind != "removed" || c.FromLayer != 1 {
			t.Errorf("file %+v, want it removed from layer 1, counted from 0", c)
		}
	}
}

// The layers of both images are limited together, however they are read, and the error names the
// whole limit.
func TestLimitsOfAllLayers(t *testing.T) {
	files := step{"RUN x", nil, []string{"d/a", "e/b"}}
	layers, err := layersOf(build(t, "A=1", files, files, files, files))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		limits inspect.Limits
		want   string
	}{
		{inspect.Limits{Entries: 8, Names: 24, Implied: 8}, ""},
		{inspect.Limits{Entries: 7}, "more than 7 entries"},
		{inspect.Limits{Entries: 2}, "more than 2 entries"},
		{inspect.Limits{Names: 23}, "more than 23 bytes in the names"},
		{inspect.Limits{Names: 6}, "more than 6 bytes in the names"},
		{inspect.Limits{Implied: 7}, "more than 7 directories without an entry"},
		{inspect.Limits{Implied: 2}, "more than 2 directories without an entry"},
	} {
		check := func(how string, err error) {
			t.Helper()
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("%+v, %s: %v, want %q", c.limits, how, err, c.want)
			}
		}
		r := &reading{limits: c.limits}
		_, _, err := r.both(t.Context(), layers[:2], layers[2:])
		check("two layers of each image", err)
		r = &reading{limits: c.limits}
		for _, l := range layers {
			if _, _, err = r.both(t.Context(), nil, []layer{l}); err != nil {
				break
			}
		}
		check("one layer after the other", err)
	}
	if l := newReading().limits; l.Entries == 0 || l.Names == 0 || l.Implied == 0 {
		t.Errorf("limits %+v: one is the default of a layer", l)
	}
}

func TestFind(t *testing.T) {
	first, second := build(t, "A=1", base), build(t, "A=2", base)
	f := newFixture(t, map[string]v1.Image{"registry.invalid/kolla/app:one": first,
		"registry.invalid/kolla/app:two":      second,
		"registry.invalid/kolla/app-base:one": second})
	for name, ref := range map[string]string{
		"full name":  "registry.invalid/kolla/app:one",
		"short name": "app:one",
		"digest":     digestOf(t, first).String(),
	} {
		if d, err := f.diff(ref, ref); err != nil || d.A.Digest != digestOf(t, first) ||
			d.A.Name != "registry.invalid/kolla/app:one" && name != "digest" {
			t.Errorf("%s %q found %+v, %v", name, ref, d.A, err)
		}
	}
	for ref, part := range map[string]string{
		"app":          "2 images",
		"a:one":        "no image", // part of two names
		"a":            "no image",
		"^app$:one":    "no image",
		"nosuch:one":   "no image",
		"kolla/app:on": "", // looked up in the registry, because no stored image has the name
	} {
		_, err := f.diff(ref, "app:two")
		if err == nil || errors.Is(err, usererr.ErrReported) || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v", ref, err)
		}
	}
	if _, err := f.diff("ap:one", "app:two"); err == nil || !strings.Contains(usererr.Hint(err), "app:one") {
		t.Errorf("a misspelled name: %v, %q", err, usererr.Hint(err))
	}
	// Two names of one image.
	f.name("registry.invalid/kolla/app-base:nightly", second)
	if d, err := f.diff("app-base", "app:two"); err != nil || !d.Same {
		t.Errorf("two names of one image: %+v, %v", d, err)
	}
	// A name without its registry is treated as one of Docker Hub's, which does
	// not exist: the hint has the stored one.
	_, err := f.diff("registry.invalid/none/app:one", "app:two")
	if err == nil || strings.Contains(usererr.Hint(err), "did you mean") {
		t.Errorf("a name that is not stored: %v, %q", err, usererr.Hint(err))
	}
}

func digestOf(t *testing.T, img v1.Image) digest.Digest {
	t.Helper()
	return registrytest.Digest(t, img)
}

func TestRegistry(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	host := s.Host()
	first := build(t, "A=1", base)
	publisher := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	ref := host + "/kolla/app:one"
	d, err := publisher.Push(t.Context(), ref, first)
	if err != nil {
		t.Fatal(err)
	}
	if err := publisher.Commit(t.Context(), []push.Tag{{Ref: ref, Digest: d.Digest}}); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, map[string]v1.Image{"kolla/app:one": first})
	found, err := f.diff("kolla/app:one", ref)
	if err != nil || !found.Same || found.B.Name != ref {
		t.Errorf("%+v, %v", found, err)
	}
	if _, err := f.diff("kolla/app:one", host+"/kolla/nosuch:one"); err == nil || errors.Is(err, usererr.ErrReported) {
		t.Errorf("an image that the registry does not have: %v", err)
	}
}

func TestLayout(t *testing.T) {
	f := newFixture(t, map[string]v1.Image{"kolla/app:one": build(t, "A=1", base), "kolla/app:two": build(t, "A=2", base)})
	layout := "oci:" + filepath.Join(f.dir, "store")
	if d, err := f.diff("kolla/app:one", layout+":kolla/app:one"); err != nil || !d.Same {
		t.Errorf("%+v, %v", d, err)
	}
	for _, ref := range []string{layout, layout + ":kolla/app:three", "oci:" + t.TempDir()} {
		if _, err := f.diff("kolla/app:one", ref); err == nil || errors.Is(err, usererr.ErrReported) {
			t.Errorf("%s: %v", ref, err)
		}
	}
}

// TestReadOnlyStore compares images of a store that cannot be written to.
func TestReadOnlyStore(t *testing.T) {
	testenv.Root(t)
	f := newFixture(t, map[string]v1.Image{"kolla/app:one": build(t, "A=1", base, files),
		"kolla/app:two": build(t, "A=2", base)})
	if err := unix.Mount(f.dir, f.dir, "", unix.MS_BIND, ""); err != nil {
		testenv.Missing(t, "mounting is not permitted: "+err.Error())
	}
	t.Cleanup(func() {
		if err := unix.Unmount(f.dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	if err := unix.Mount("", f.dir, "", unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "x"), nil, 0o644); err == nil {
		t.Fatal("the directory can be written to")
	}
	if _, err := f.diff("app:one", "app:two"); !errors.Is(err, usererr.ErrReported) {
		t.Errorf("got %v, want a difference", err)
	}
}

// TestDamagedLayer checks that a damaged blob is an error and stays in the store.
func TestDamagedLayer(t *testing.T) {
	first := build(t, "A=1", base, files)
	f := newFixture(t, map[string]v1.Image{"kolla/app:one": first, "kolla/app:two": build(t, "A=2", base)})
	layers, err := first.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[1].Digest()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, "store", "blobs", h.Algorithm, h.Hex)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, content, 0o444); err != nil {
		t.Fatal(err)
	}
	if _, err := f.diff("app:one", "app:two"); err == nil || errors.Is(err, usererr.ErrReported) {
		t.Errorf("got %v, want an error of reading", err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("comparing removed the blob: %v", err)
	}
}

// A path cannot look like a line of the list, or like another path.
func TestPathsOfOthersInText(t *testing.T) {
	for path, want := range map[string]string{"/etc/x y": "/etc/x y", "/é": "/é",
		"/a\n  + /etc/shadow": `"/a\n  + /etc/shadow"`, "/\u202ehcet": `"/\u202ehcet"`} {
		if got := quotePath(path); got != want {
			t.Errorf("%q is shown as %s", path, got)
		}
	}
	// JSON has the same name, escaped.
	text, err := indented(map[string]string{"path": "/\u202ehcet"}, "")
	if err != nil || !strings.Contains(string(text), `"/\u202ehcet"`) {
		t.Errorf("JSON: %s, %v", text, err)
	}
}
