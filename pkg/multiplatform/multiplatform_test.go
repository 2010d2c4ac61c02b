package multiplatform

import (
	"errors"
	"path/filepath"
	"testing"

	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// TestJoin checks that an image gets an index of all its platforms, and none if one of them
// failed: a name must not change to fewer platforms than it was built for.
func TestJoin(t *testing.T) {
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	stored := func() digest.Digest {
		d, err := s.WriteImage(t.Context(), registrytest.Base(t, 1000))
		if err == nil {
			err = s.Put(store.Entry{Digest: d, Kind: store.KindBuilt, Key: d.String()})
		}
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	result := func(name, arch string, status build.Status, d digest.Digest) build.Result {
		return build.Result{Image: image.ID{Name: name, Platform: "linux/" + arch}, Reference: "kolla/" + name + ":t",
			Status: status, Digest: d}
	}
	amd, arm := stored(), stored()
	results := []build.Result{
		result("base", "amd64", build.StatusBuilt, amd), result("base", "arm64", build.StatusUnchanged, arm),
		result("leaf", "amd64", build.StatusBuilt, amd), result("leaf", "arm64", build.StatusError, ""),
		result("pushed", "amd64", build.StatusPushError, amd),
	}
	platform := func(id image.ID) ocispecs.Platform {
		return ocispecs.Platform{OS: "linux", Architecture: id.Platform[len("linux/"):]}
	}
	indexes, err := Join(t.Context(), s, results, platform)
	if err != nil {
		t.Fatal(err)
	}
	if len(indexes) != 2 || indexes["kolla/base:t"] == "" || indexes["kolla/pushed:t"] == "" {
		t.Fatalf("indexes: %v", indexes)
	}
	if _, ok, err := s.Lookup("kolla/leaf:t"); ok || err != nil {
		t.Errorf("leaf has a name: %v", err)
	}
	e, ok, err := s.Lookup("kolla/base:t")
	if err != nil || !ok || e.Digest != indexes["kolla/base:t"] {
		t.Fatalf("base: %+v, %v", e, err)
	}
	index, err := s.ImageIndex(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var archs []string
	for i, m := range manifest.Manifests {
		archs = append(archs, m.Platform.Architecture)
		if want := []digest.Digest{amd, arm}[i]; m.Digest.String() != want.String() {
			t.Errorf("manifest %d is %s, want %s", i, m.Digest, want)
		}
	}
	if len(archs) != 2 || archs[0] != "amd64" || archs[1] != "arm64" {
		t.Errorf("platforms: %v", archs)
	}

	_, err = Join(t.Context(), s, []build.Result{result("lost", "amd64", build.StatusBuilt, digest.FromString("lost"))},
		platform)
	if err == nil || errors.Unwrap(err) == nil {
		t.Errorf("an image that is not stored: %v", err)
	}
}
