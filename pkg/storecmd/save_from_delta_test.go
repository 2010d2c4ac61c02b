package storecmd

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// Split, parity and deltas work as from the store. Regular expressions select images.
func TestSaveFromRegistryDelta(t *testing.T) {
	p := publishSample(t, registrytest.Embedded(t, server.Options{}).Host())
	full, err := saveFrom(t, p.host+"/kolla:t1", SaveOptions{Split: "100K", Parity: "20%"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(full + ".002"); err != nil {
		t.Fatal(err)
	}
	other := site(t)
	if err := Load(t.Context(), other.config(), other.con, []string{full + ".001"}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := Inventory(t.Context(), other.config(), other.con, nil, true); err != nil {
		t.Fatal(err)
	}
	have := filepath.Join(t.TempDir(), "have.json")
	if err := os.WriteFile(have, other.stdout.Bytes()[bytes.IndexByte(other.stdout.Bytes(), '{'):], 0o644); err != nil {
		t.Fatal(err)
	}
	changed := registrytest.Image(t, registrytest.Base(t, 1000), 5000, 1)
	d, err := push.New(p.client, push.Options{}).Push(t.Context(), p.host+"/kolla/nova-api", changed)
	if err != nil {
		t.Fatal(err)
	}
	p.tag("nova-api:t2", d.Digest)
	delta, err := saveFrom(t, p.host+"/kolla", SaveOptions{Since: have}, "nova-")
	if err != nil {
		t.Fatal(err)
	}
	listed, err := contents.List(t.Context(), delta, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(delta)
	if err != nil {
		t.Fatal(err)
	}
	if listed.Delta == nil || info.Size() > 20_000 {
		t.Errorf("delta %v has %d bytes", listed.Delta, info.Size())
	}
	// A dry run tells whether the site has what the delta requires.
	var missing *load.MissingError
	empty := site(t)
	if err := Load(t.Context(), empty.config(), empty.con, []string{delta}, LoadOptions{DryRun: true}); !errors.As(err, &missing) {
		t.Errorf("a dry run without the base: %v", err)
	}
	// The other files count, in any order, if they have what it requires.
	parts := full + ".001"
	if err := Load(t.Context(), empty.config(), empty.con, []string{delta, parts}, LoadOptions{DryRun: true}); err != nil {
		t.Errorf("a dry run with the base: %v", err)
	}
	unrelated, _ := saved(t)
	err = Load(t.Context(), empty.config(), empty.con, []string{unrelated, delta}, LoadOptions{DryRun: true})
	if missing = nil; !errors.As(err, &missing) || !strings.Contains(err.Error(), "loading bundle "+delta) {
		t.Errorf("a dry run with another bundle: %v", err)
	}
	for _, dryRun := range []bool{true, false} {
		opts := LoadOptions{DryRun: dryRun}
		if err := Load(t.Context(), other.config(), other.con, []string{delta}, opts); err != nil {
			t.Fatalf("dry run %v: %v", dryRun, err)
		}
	}
}

// Byte deltas are made of older layers that the registry still has.
func TestSaveFromRegistryByteDelta(t *testing.T) {
	testenv.Slow(t)
	p := &published{t: t, host: registrytest.Embedded(t, server.Options{}).Host(),
		client: registrytest.Client(t, registry.Options{}), digests: map[string]digest.Digest{}}
	content := make([]byte, 400_000)
	_, _ = newRandom(1).Read(content)
	var want digest.Digest
	for _, tag := range []string{"t1", "t2"} {
		content[200_000]++
		img, err := mutate.AppendLayers(registrytest.Base(t, 1000), compressedLayer(t, content))
		if err != nil {
			t.Fatal(err)
		}
		d, err := push.New(p.client, push.Options{}).Push(t.Context(), p.host+"/kolla/nova-api", img)
		if err != nil {
			t.Fatal(err)
		}
		p.tag("nova-api:"+tag, d.Digest)
		want = d.Digest
	}
	full, err := saveFrom(t, p.host+"/kolla:t1", SaveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	delta, err := saveFrom(t, p.host+"/kolla:t2", SaveOptions{Since: full, Delta: "bytes"})
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(delta); err != nil || info.Size() > 100_000 {
		t.Errorf("the byte delta has %d bytes (%v)", info.Size(), err)
	}
	// A layer is saved whole only if the registry does not have the older one. Faults of the
	// registry or the network end the save instead.
	base := p.layerOf("nova-api:t1")
	backend := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http",
			Host: p.host})
	}}
	refusing := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/blobs/"+string(base)) {
			http.Error(w, "out of order", http.StatusNotImplemented)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	if _, err := saveFrom(t, refusing+"/kolla:t2", SaveOptions{Since: full, Delta: "bytes"}); err == nil ||
		!strings.Contains(err.Error(), string(base)) {
		t.Errorf("it is not known whether the older layer exists: %v", err)
	}
	proxy, err := faultproxy.Start(faultproxy.Options{Target: p.host, Rate: 1, Max: 2,
		Faults: []faultproxy.Fault{faultproxy.Corrupt},
		Match: func(r *http.Request) bool {
			return r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+string(base))
		}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { proxy.Close() })
	again, err := saveFrom(t, proxy.Addr()+"/kolla:t2", SaveOptions{Since: full, Delta: "bytes"})
	if err != nil {
		t.Fatal(err)
	}
	if a, b := fileSize(t, delta), fileSize(t, again); proxy.Injected()[faultproxy.Corrupt] != 2 || b > a+512 {
		t.Errorf("with a damaged older layer, the delta has %d bytes, %d without", b, a)
	}

	other := site(t)
	if err := Load(t.Context(), other.config(), other.con, []string{full, delta}, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	s, err := workspace.OpenStoreForReading(other.config())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := s.Verify(t.Context(), want); err != nil {
		t.Error(err)
	}
}

// layerOf returns the last layer of an image.
func (p *published) layerOf(nameTag string) digest.Digest {
	p.t.Helper()
	name, _, _ := strings.Cut(nameTag, ":")
	m, err := p.repository(name).Manifest(p.t.Context(), p.digests[nameTag].String())
	if err != nil {
		p.t.Fatal(err)
	}
	var parsed ocispec.Manifest
	if err := json.Unmarshal(m.Raw, &parsed); err != nil {
		p.t.Fatal(err)
	}
	return parsed.Layers[len(parsed.Layers)-1].Digest
}

// compressedLayer returns a layer of one file, as builds compress it.
func compressedLayer(t *testing.T, content []byte) v1.Layer {
	t.Helper()
	var buf bytes.Buffer
	z := gzip.NewWriter(&buf)
	tw := tar.NewWriter(z)
	err := tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "etc/data", Size: int64(len(content)), Mode: 0o644})
	_, werr := tw.Write(content)
	if err := errors.Join(err, werr, tw.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return archivetest.Layer(t, buf.Bytes(), tarball.WithMediaType(types.OCILayer))
}
