package main

import (
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestRegistryLoadsNewFile starts a registry with a file, and again with one that has another
// image under the same tag: the file decides what the tag refers to.
func TestRegistryLoadsNewFile(t *testing.T) {
	testenv.Slow(t)
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	origin := registrytest.Embedded(t, server.Options{}).Host()
	dir := filepath.Join(t.TempDir(), "registry")
	for _, month := range []string{"may", "june"} {
		t.Run(month, func(t *testing.T) {
			img := registrytest.Base(t, 5000)
			p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
			d, err := p.Push(t.Context(), origin+"/kolla/nova-api", img)
			if err == nil {
				err = p.Commit(t.Context(), []push.Tag{{Ref: origin + "/kolla/nova-api:" + month, Digest: d.Digest}})
			}
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(t.TempDir(), "set.tar")
			registrytest.Run(t, skopeo, "copy", "--src-tls-verify=false", "docker://"+origin+"/kolla/nova-api:"+month,
				"oci-archive:"+file+":example.org/kolla/nova-api:1")
			r := serveRegistry(t, dir, "--load", file)
			registrytest.MustPull(t, r.host, "HOST/kolla/nova-api:1", d.Digest)
		})
	}
}
