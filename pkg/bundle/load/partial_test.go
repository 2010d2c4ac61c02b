package load

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/store"
)

const multiName = "site.example/kolla/nova:1"

// multiPlatform saves an image for three platforms, and returns the file and the digests of
// their manifests.
func multiPlatform(t *testing.T) (file string, platforms map[string]digest.Digest) {
	t.Helper()
	st := storetest.Open(t)
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	platforms = map[string]digest.Digest{}
	for _, arch := range []string{"amd64", "arm64", "riscv64"} {
		img := registrytest.Image(t, registrytest.Base(t, 2000), 1000, 1)
		config := testenv.Must[*v1.ConfigFile](t)(img.ConfigFile()).DeepCopy()
		config.OS, config.Architecture = "linux", arch
		img = testenv.Must[v1.Image](t)(mutate.ConfigFile(img, config))
		platforms["linux/"+arch] = digest.Digest(testenv.Must[v1.Hash](t)(img.Digest()).String())
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}}})
	}
	d := testenv.Must[digest.Digest](t)(st.WriteIndex(t.Context(), index))
	if err := st.Put(store.Entry{Name: multiName, Digest: d, Kind: store.KindBuilt}); err != nil {
		t.Fatal(err)
	}
	return bundletest.Save(t, st, testenv.Must[[]store.Entry](t)(st.Entries()), save.Options{}), platforms
}

// TestLoadExportOfOnePlatform loads what Debian's containerd exports of an image for three
// platforms: existing platforms are loaded, and missing ones are reported.
func TestLoadExportOfOnePlatform(t *testing.T) {
	file, platforms := multiPlatform(t)
	d := testenv.Containerd(t)
	ctr := bundletest.Tool(t, testenv.Program(t, "ctr", "containerd"),
		"CONTAINERD_ADDRESS="+strings.TrimPrefix(d.Addr, "unix://"))
	ctr("images", "import", "--no-unpack", "--all-platforms", file)
	for _, exported := range [][]string{{"linux/amd64"}, {"linux/arm64"}, {"linux/amd64", "linux/riscv64"},
		{"linux/amd64", "linux/arm64", "linux/riscv64"}} {
		out := filepath.Join(t.TempDir(), "out.tar")
		args := []string{"images", "export"}
		for _, p := range exported {
			args = append(args, "--platform", p)
		}
		ctr(append(args, out, multiName)...)
		to := storetest.Open(t)
		sum := testenv.Must[Summary](t)(Bundle(t.Context(), out, to, Options{}))
		if len(sum.Images) != 1 || sum.Images[0].Name != multiName {
			t.Fatalf("%v: loaded %+v", exported, sum.Images)
		}
		if err := to.Verify(t.Context(), sum.Images[0].Digest); err != nil {
			t.Errorf("%v: %v", exported, err)
		}
		if len(exported) == 1 && sum.Images[0].Digest != platforms[exported[0]] {
			t.Errorf("%v: loaded %s, want %s", exported, sum.Images[0].Digest, platforms[exported[0]])
		}
		if got := to.Platforms(sum.Images[0]); len(exported) > 1 && !slices.Equal(got, exported) {
			t.Errorf("%v: platforms %v", exported, got)
		}
		if len(exported) == len(platforms) {
			if len(sum.Partial) > 0 {
				t.Errorf("all platforms: %+v", sum.Partial)
			}
			continue
		}
		if len(sum.Partial) != 1 || sum.Partial[0].Name != multiName || !slices.Equal(sum.Partial[0].Loaded, exported) ||
			len(sum.Partial[0].Missing) != len(platforms)-len(exported) {
			t.Errorf("%v: %+v", exported, sum.Partial)
		}
		// Loading it again changes nothing.
		if second := testenv.Must[Summary](t)(Bundle(t.Context(), out, to,
			Options{})); second.Images[0].Digest != sum.Images[0].Digest {
			t.Errorf("%v: again %+v", exported, second.Images)
		}
	}
}

// TestPartialExportIsNoExcuse checks that an image with a missing layer is an error, and so
// is a bundle that we saved with a missing platform.
func TestPartialExportIsNoExcuse(t *testing.T) {
	file, platforms := multiPlatform(t)
	content := testenv.Must[[]byte](t)(os.ReadFile(file))
	without := func(drop func(name string) bool) []byte {
		var out bytes.Buffer
		w := tar.NewWriter(&out)
		for r := tar.NewReader(bytes.NewReader(content)); ; {
			h, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			b := testenv.Must[[]byte](t)(io.ReadAll(r))
			if drop(h.Name) {
				continue
			}
			if err := w.WriteHeader(h); err != nil {
				t.Fatal(err)
			}
			testenv.Must[int](t)(w.Write(b))
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	load := func(b []byte) (*store.Store, Summary, error) {
		to := storetest.Open(t)
		sum, err := Bundle(t.Context(), "-", to, Options{Stdin: bytes.NewReader(b)})
		return to, sum, err
	}
	arm := "blobs/sha256/" + platforms["linux/arm64"].Encoded()
	if to, _, err := load(without(func(name string) bool { return name == arm })); err == nil {
		t.Error("a bundle without one of its manifests was loaded")
	} else {
		storetest.NoImages(t, to)
	}
	if _, sum, err := load(without(func(name string) bool {
		return name == arm ||
			name == bundle.ManifestName
	})); err != nil || len(sum.Partial) != 1 {
		t.Errorf("as another tool writes it: %+v, %v", sum.Partial, err)
	}
	all := ""
	for _, d := range platforms {
		all += d.Encoded()
	}
	for what, drop := range map[string]func(string) bool{
		"all manifests": func(name string) bool { return strings.Contains(all, filepath.Base(name)) },
		"every fifth blob": func() func(string) bool {
			n := 0
			return func(name string) bool {
				if strings.Contains(all, filepath.Base(name)) || !strings.HasPrefix(name, "blobs/sha256/") ||
					strings.HasSuffix(name, "/") {
					return false
				}
				n++
				return n > 1 && n%5 == 0
			}
		}(),
	} {
		to, _, err := load(without(func(name string) bool { return name == bundle.ManifestName || drop(name) }))
		if err == nil {
			t.Errorf("without %s: loaded", what)
			continue
		}
		storetest.NoImages(t, to)
	}
}

// An interruption does not make manifests missing that the store has.
func TestPartialInterrupted(t *testing.T) {
	file, _ := multiPlatform(t)
	st := storetest.Open(t)
	e := testenv.Must[Summary](t)(Bundle(t.Context(), file, st, Options{})).Images[0]
	ctx, cancel := context.WithCancel(t.Context())
	l := newLoader(st, Options{})
	l.received[e.Digest] = 1
	l.images = []ocispec.Descriptor{{Digest: e.Digest}}
	cancel()
	if err := l.keepPartial(ctx); !errors.Is(err, context.Canceled) || l.images[0].Digest != e.Digest {
		t.Errorf("%v; the image is %s, was %s", err, l.images[0].Digest, e.Digest)
	}
}
