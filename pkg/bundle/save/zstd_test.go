package save

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/compression"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Layers that were built with --compression zstd are carried as they are, with their
// digests. Other tools read them from the bundle.
func TestSaveZstdLayers(t *testing.T) {
	content := bytes.Repeat([]byte("a line of a file that is compressed\n"), 10_000)
	var layerTar bytes.Buffer
	err := bundle.Pieces([]bundle.File{bundle.ContentFile("etc/file", content)}, func(p bundle.Piece) error {
		if p.File != nil {
			p.Bytes = content
		}
		layerTar.Write(p.Bytes)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	layer := archivetest.Layer(t, layerTar.Bytes(), tarball.WithCompression(compression.ZStd),
		tarball.WithMediaType(types.OCILayerZStd))
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base = testenv.Must[v1.Image](t)(mutate.ConfigFile(base,
		&v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}))
	img := testenv.Must[v1.Image](t)(mutate.AppendLayers(base, layer))
	s := storetest.Open(t)
	d := testenv.Must[digest.Digest](t)(s.WriteImage(t.Context(), img))
	if err := s.Put(store.Entry{Name: storetest.RefA, Digest: d, Kind: store.KindBuilt}); err != nil {
		t.Fatal(err)
	}
	path := saveTo(t, s, testenv.Must[[]store.Entry](t)(s.Entries()), Options{})
	if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), path, verify.Options{})); !r.OK {
		t.Errorf("%+v", r)
	}
	to := storetest.Open(t)
	sum := testenv.Must[load.Summary](t)(load.Bundle(t.Context(), path, to, load.Options{}))
	if len(sum.Images) != 1 || sum.Images[0].Digest != d {
		t.Errorf("%+v, want the digest %s", sum.Images, d)
	}
	if err := to.Verify(t.Context(), d); err != nil {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	registrytest.Run(t, testenv.Program(t, "skopeo", "skopeo"), "--insecure-policy", "copy", "--quiet",
		"oci-archive:"+path+":"+storetest.RefA, "dir:"+dir)
	raw := registrytest.Run(t, testenv.Program(t, "skopeo", "skopeo"), "inspect", "--raw",
		"oci-archive:"+path+":"+storetest.RefA)
	if got := digest.FromBytes(raw); got != d {
		t.Errorf("skopeo reads %s, want %s", got, d)
	}
}
