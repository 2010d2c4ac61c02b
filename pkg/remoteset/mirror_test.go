package remoteset

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
)

// Images are looked up at the user's location; layers come from the mirrors of
// registries.conf if they have them.
func TestMirror(t *testing.T) {
	origin := registrytest.StartProxy(t, registrytest.Embedded(t, server.Options{}).Host(), nil)
	mirror := registrytest.StartProxy(t, registrytest.Embedded(t, server.Options{}).Host(), nil)
	base := registrytest.Base(t, 10_000)
	there, missing := registrytest.Image(t, base, 5000, 1), registrytest.Image(t, base, 5000, 1)
	publish := func(host, name string, img v1.Image) {
		t.Helper()
		p := push.New(registrytest.Client(t, registry.Options{EtcDir: t.TempDir()}), push.Options{})
		d, err := p.Push(t.Context(), host+"/kolla/"+name, img)
		if err == nil {
			err = p.Commit(t.Context(), []push.Tag{{Ref: host + "/kolla/" + name + ":t", Digest: d.Digest}})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(origin.Host, "there", there)
	publish(origin.Host, "missing", missing)
	publish(mirror.Host, "there", there)
	etc := t.TempDir()
	conf := "[[registry]]\nprefix='" + origin.Host + "'\n[[registry.mirror]]\nlocation='" + mirror.Host + "'\n"
	if err := os.MkdirAll(filepath.Join(etc, "containers"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(etc, "containers", "registries.conf"), []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	readAll := func() {
		t.Helper()
		client := registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1})
		set, err := Open(t.Context(), client, setcopy.Location{Registry: origin.Host, Namespace: "kolla", Tag: "t"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range set.Entries() {
			blobs, err := set.Blobs(t.Context(), e.Digest)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range blobs {
				r, err := set.OpenBlob(b.Digest)
				if err != nil {
					t.Fatal(err)
				}
				n, err := io.Copy(io.Discard, r)
				r.Close()
				if err != nil || n != b.Size {
					t.Errorf("%s: %d bytes of %d (%v)", e.Name, n, b.Size, err)
				}
			}
		}
	}
	origin.Set(nil)
	mirror.Set(nil)
	readAll()
	if n := origin.Count("GET", "/there/blobs/"); n > 0 {
		t.Errorf("%d blobs that the mirror has were read from the origin", n)
	}
	if origin.Count("GET", "/missing/blobs/") == 0 || mirror.Count("GET", "/there/blobs/") == 0 {
		t.Error("blobs were not read where they are")
	}
	mirror.Set(func(*http.Request) registrytest.Fault { return registrytest.Reset })
	readAll()
}
