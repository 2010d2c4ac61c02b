package load

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/verify"
)

// TestArchivesRepair checks that loading an archive of docker save again replaces layers that
// were damaged in the store, compressed by us or by the tool that wrote it.
func TestArchivesRepair(t *testing.T) {
	for _, format := range []archivetest.Format{archivetest.Docker10, archivetest.Docker25, archivetest.DockerOCI} {
		archive := archivetest.Archive(t, format, bundletest.ForeignImages(t)...)
		st := storetest.Open(t)
		load := func() Summary {
			t.Helper()
			return testenv.Must[Summary](t)(Bundle(t.Context(), "-", st, Options{Stdin: bytes.NewReader(archive)}))
		}
		first := load()
		for d := range storetest.LayersOfAll(t, st, first.Images...) {
			storetest.Damage(t, st, d)
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
		m := bundletest.NewMonths(t)
		path, _ := m.Save(t, sinceFirst(t, m), byteDeltas)
		site := storetest.Open(t)
		testenv.Must[Summary](t)(Bundle(t.Context(), m.First, site, Options{}))
		for d := range storetest.LayersOfAll(t, site, m.Old[0]) {
			storetest.Damage(t, site, d)
		}
		if _, err := Bundle(t.Context(), path, site, Options{Replace: true}); err == nil ||
			!strings.Contains(err.Error(), "sha256:") {
			t.Errorf("byte deltas %v: %v, want an error that names the layer", byteDeltas, err)
		}
		for _, e := range m.Old {
			if got, ok, _ := site.Lookup(e.Name); !ok || got.Digest != e.Digest {
				t.Errorf("byte deltas %v: %s was changed", byteDeltas, e.Name)
			}
		}
		testenv.Must[Summary](t)(Bundle(t.Context(), m.First, site, Options{}))
		testenv.Must[Summary](t)(Bundle(t.Context(), path, site, Options{Replace: true}))
		for _, e := range m.Now {
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
	m := bundletest.NewMonths(t)
	path, sum := m.Save(t, sinceFirst(t, m), true)
	if sum.Deltas == 0 {
		t.Fatal("no byte delta")
	}
	site := storetest.Open(t)
	testenv.Must[Summary](t)(Bundle(t.Context(), m.First, site, Options{}))
	testenv.Must[Summary](t)(Bundle(t.Context(), path, site, Options{Replace: true}))
	old, damaged := storetest.LayersOfAll(t, site, m.Old...), 0
	for d := range storetest.LayersOfAll(t, site, m.Now...) {
		if !old[d] {
			storetest.Damage(t, site, d)
			damaged++
		}
	}
	second := testenv.Must[Summary](t)(Bundle(t.Context(), path, site, Options{Replace: true}))
	if damaged == 0 || second.Repaired != damaged {
		t.Errorf("%d blobs damaged, %d repaired", damaged, second.Repaired)
	}
	for _, e := range m.Now {
		if err := site.Verify(t.Context(), e.Digest); err != nil {
			t.Error(err)
		}
	}
}

// TestByteDeltaWithoutManifest checks that verify does not accept byte deltas without a
// manifest, because their digests are unknown.
func TestByteDeltaWithoutManifest(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	path, _ := m.Save(t, sinceFirst(t, m), true)
	if r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), path, verify.Options{})); !r.OK {
		t.Fatalf("with its manifest: %+v", r.Problems)
	}
	var without []bundletest.Item
	for _, i := range bundletest.Unpack(t, testenv.Must[[]byte](t)(os.ReadFile(path))) {
		if i.H.Name != bundle.ManifestName {
			without = append(without, i)
		}
	}
	r := testenv.Must[*verify.Report](t)(verify.Bundle(t.Context(), "-",
		verify.Options{Stdin: bytes.NewReader(bundletest.Tar(t, without...))}))
	found := 0
	for _, p := range r.Problems {
		if p.Kind == verify.ProblemInvalid && strings.HasPrefix(p.File, bundle.DeltaDir+"/") {
			found++
		}
	}
	if r.OK || found == 0 {
		t.Errorf("%+v", r)
	}
}
