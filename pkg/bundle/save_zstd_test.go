package bundle

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
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Layers that were built with --compression zstd are carried as they are, with their
// digests. Other tools read them from the bundle.
func TestSaveZstdLayers(t *testing.T) {
	content := bytes.Repeat([]byte("a line of a file that is compressed\n"), 10_000)
	var layerTar bytes.Buffer
	err := pieces([]file{contentFile("etc/file", content)}, func(p piece) error {
		if p.file != nil {
			p.bytes = content
		}
		layerTar.Write(p.bytes)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	layer := archivetest.Layer(t, layerTar.Bytes(), tarball.WithCompression(compression.ZStd),
		tarball.WithMediaType(types.OCILayerZStd))
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	base = must[v1.Image](t)(mutate.ConfigFile(base, &v1.ConfigFile{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"}}))
	img := must[v1.Image](t)(mutate.AppendLayers(base, layer))
	s := openStore(t)
	d := must[digest.Digest](t)(s.WriteImage(t.Context(), img))
	if err := s.Put(store.Entry{Name: refA, Digest: d, Kind: store.KindBuilt}); err != nil {
		t.Fatal(err)
	}
	path := saveTo(t, s, must[[]store.Entry](t)(s.Entries()), SaveOptions{})
	if r := must[*Report](t)(Verify(t.Context(), path, VerifyOptions{})); !r.OK {
		t.Errorf("%+v", r)
	}
	to := openStore(t)
	sum := must[Summary](t)(Load(t.Context(), path, to, LoadOptions{}))
	if len(sum.Images) != 1 || sum.Images[0].Digest != d {
		t.Errorf("%+v, want the digest %s", sum.Images, d)
	}
	if err := to.Verify(t.Context(), d); err != nil {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "copy")
	registrytest.Run(t, testenv.Program(t, "skopeo", "skopeo"), "--insecure-policy", "copy", "--quiet",
		"oci-archive:"+path+":"+refA, "dir:"+dir)
	raw := registrytest.Run(t, testenv.Program(t, "skopeo", "skopeo"), "inspect", "--raw", "oci-archive:"+path+":"+refA)
	if got := digest.FromBytes(raw); got != d {
		t.Errorf("skopeo reads %s, want %s", got, d)
	}
}
