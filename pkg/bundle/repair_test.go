package bundle

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// damage changes a byte in the middle of blobs, whose sizes stay.
func damage(t *testing.T, st *store.Store, blobs ...digest.Digest) {
	t.Helper()
	for _, d := range blobs {
		path := filepath.Join(st.Dir(), blobName(d))
		content := must[[]byte](t)(os.ReadFile(path))
		content[len(content)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// layersOfAll returns the layers of images, each once.
func layersOfAll(t *testing.T, st *store.Store, entries ...store.Entry) map[digest.Digest]bool {
	t.Helper()
	all := map[digest.Digest]bool{}
	for _, e := range entries {
		for _, d := range must[[]digest.Digest](t)(layerDigests(st, e)) {
			all[d] = true
		}
	}
	return all
}

// TestArchivesRepair checks that loading an archive of docker save again replaces layers that
// were damaged in the store, compressed by us or by the tool that wrote it.
func TestArchivesRepair(t *testing.T) {
	for _, format := range []archivetest.Format{archivetest.Docker10, archivetest.Docker25, archivetest.DockerOCI} {
		archive := archivetest.Archive(t, format, foreignImages(t)...)
		st := openStore(t)
		load := func() Summary {
			t.Helper()
			return must[Summary](t)(Load(t.Context(), "-", st, LoadOptions{Stdin: bytes.NewReader(archive)}))
		}
		first := load()
		for d := range layersOfAll(t, st, first.Images...) {
			damage(t, st, d)
		}
		second := load()
		for i, e := range second.Images {
			if e.Digest != first.Images[i].Digest {
				t.Errorf("%s: %s is %s, was %s", format, e.Name, e.Digest, first.Images[i].Digest)
			}
			if err := st.Verify(t.Context(), e.Digest); err != nil {
				t.Errorf("%s: %v", format, err)
			}
		}
	}
}

// TestDeltaOfDamagedBase checks that a delta is not loaded on images of which a layer is
// damaged in the store: it names the image, and after the first bundle was loaded again it
// can be loaded.
func TestDeltaOfDamagedBase(t *testing.T) {
	testenv.Slow(t)
	for _, byteDeltas := range []bool{false, true} {
		m := newMonths(t)
		path, _ := m.save(t, m.since(t), byteDeltas)
		site := emptyStore(t)
		must[Summary](t)(Load(t.Context(), m.first, site, LoadOptions{}))
		for d := range layersOfAll(t, site, m.old[0]) {
			damage(t, site, d)
		}
		if _, err := Load(t.Context(), path, site, LoadOptions{Replace: true}); err == nil || !strings.Contains(err.Error(), "sha256:") {
			t.Errorf("byte deltas %v: %v, want an error that names the layer", byteDeltas, err)
		}
		for _, e := range m.old {
			if got, ok, _ := site.Lookup(e.Name); !ok || got.Digest != e.Digest {
				t.Errorf("byte deltas %v: %s was changed", byteDeltas, e.Name)
			}
		}
		must[Summary](t)(Load(t.Context(), m.first, site, LoadOptions{}))
		must[Summary](t)(Load(t.Context(), path, site, LoadOptions{Replace: true}))
		for _, e := range m.now {
			if err := site.Verify(t.Context(), e.Digest); err != nil {
				t.Errorf("byte deltas %v: %v", byteDeltas, err)
			}
		}
	}
}

// TestByteDeltasRepair checks that loading a delta again replaces layers made of byte deltas
// that were damaged in the store.
func TestByteDeltasRepair(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	path, sum := m.save(t, m.since(t), true)
	if sum.Deltas == 0 {
		t.Fatal("no byte delta")
	}
	site := emptyStore(t)
	must[Summary](t)(Load(t.Context(), m.first, site, LoadOptions{}))
	must[Summary](t)(Load(t.Context(), path, site, LoadOptions{Replace: true}))
	old, damaged := layersOfAll(t, site, m.old...), 0
	for d := range layersOfAll(t, site, m.now...) {
		if !old[d] {
			damage(t, site, d)
			damaged++
		}
	}
	second := must[Summary](t)(Load(t.Context(), path, site, LoadOptions{Replace: true}))
	if damaged == 0 || second.Repaired != damaged {
		t.Errorf("%d blobs damaged, %d repaired", damaged, second.Repaired)
	}
	for _, e := range m.now {
		if err := site.Verify(t.Context(), e.Digest); err != nil {
			t.Error(err)
		}
	}
}

// TestByteDeltaWithoutManifest checks that verify does not accept byte deltas without a
// manifest, because their digests are unknown.
func TestByteDeltaWithoutManifest(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	path, _ := m.save(t, m.since(t), true)
	if r := must[*Report](t)(Verify(t.Context(), path, VerifyOptions{})); !r.OK {
		t.Fatalf("with its manifest: %+v", r.Problems)
	}
	var without []item
	for _, i := range unpack(t, must[[]byte](t)(os.ReadFile(path))) {
		if i.h.Name != manifestFile {
			without = append(without, i)
		}
	}
	r := must[*Report](t)(verifyBytes(t, makeTar(t, without...), nil))
	found := 0
	for _, p := range r.Problems {
		if p.Kind == ProblemInvalid && strings.HasPrefix(p.File, deltaDir+"/") {
			found++
		}
	}
	if r.OK || found == 0 {
		t.Errorf("%+v", r)
	}
}
