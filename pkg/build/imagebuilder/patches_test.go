package imagebuilder

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// patchedLayer is a layer with a list of applied patches.
func patchedLayer(t *testing.T, list string) v1.Layer {
	t.Helper()
	var content bytes.Buffer
	w := tar.NewWriter(&content)
	if err := w.WriteHeader(&tar.Header{Name: patchedFile, Size: int64(len(list)), Mode: 0o644}); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, list); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return archivetest.Layer(t, content.Bytes())
}

// unstored returns an image with layers that are not stored.
func unstored(t *testing.T, layers int) v1.Image {
	t.Helper()
	img := empty.Image
	for range layers {
		l, err := random.Layer(10, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// The list of an image whose layers are not stored is read from the base of its last stage, also
// from one from outside the tree. Where that is not possible, patches may be lost: a warning.
func TestPatchedOfExternalParent(t *testing.T) {
	s := newSite(t)
	outside, err := mutate.AppendLayers(empty.Image, patchedLayer(t, "outer.patch\n"))
	if err != nil {
		t.Fatal(err)
	}
	index, err := layout.Write(filepath.Join(s.dir, "outside"), empty.Index)
	if err == nil {
		err = index.AppendImage(outside, layout.WithPlatform(v1.Platform{OS: "linux", Architecture: "amd64"}))
	}
	if err != nil {
		t.Fatal(err)
	}
	s.write("tree/svc/Dockerfile.j2", "FROM {{ namespace }}/base:{{ tag }} AS first\n"+
		"FROM {{ base_image }}:{{ base_distro_tag }}\nCOPY --from=first /file /file\n")
	results, b := s.run("--base-image", "oci:"+filepath.Join(s.dir, "outside"))
	if b.staging, err = s.store.Stage(); err != nil {
		t.Fatal(err)
	}
	defer b.staging.Close()
	im := *b.opts.Defined.Image(image.ID{Name: "svc"})
	im.Patches = []render.Patch{{Name: "outer.patch", Place: "series:1"}}
	if warnings, err := b.checkPatches(t.Context(), &im, results["svc"].Digest); len(warnings) > 0 || err != nil {
		t.Errorf("a list in a layer: %q, %v", warnings, err)
	}
	if list, err := b.patched(t.Context(), &im, unstored(t, 1)); list != "outer.patch\n" || err != nil {
		t.Errorf("a layer of the base: %q, %v", list, err)
	}
	if list, err := b.patched(t.Context(), &im, unstored(t, 2)); err != errNoLayer {
		t.Errorf("a layer of the image: %q, %v", list, err)
	}
	layers, err := outside.Layers()
	if err != nil {
		t.Fatal(err)
	}
	removed, err := layers[0].Digest()
	if err == nil {
		err = os.Remove(filepath.Join(s.dir, "store/blobs/sha256", removed.Hex))
	}
	if err != nil {
		t.Fatal(err)
	}
	warnings, err := b.checkPatches(t.Context(), &im, results["svc"].Digest)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "series:1: the patch outer.patch may not be applied") ||
		err != nil {
		t.Errorf("no layer of an external base: %q, %v", warnings, err)
	}
}
