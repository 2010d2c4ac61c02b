package repair

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/store"
)

// damaged returns a store with an image, one of whose layers is changed.
func damaged(t *testing.T, change func(path string) error) (s *store.Store, image digest.Digest, layer string) {
	t.Helper()
	dir := t.TempDir()
	s, err := store.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	img, err := random.Image(1000, 2)
	if err == nil {
		image, err = s.WriteImage(t.Context(), img)
	}
	if err == nil {
		err = s.Put(store.Entry{Name: "kolla/base:t", Digest: image, Kind: store.KindBuilt})
	}
	if err != nil {
		t.Fatal(err)
	}
	blobs, err := s.Blobs(t.Context(), image)
	if err != nil {
		t.Fatal(err)
	}
	d := blobs[len(blobs)-1].Digest
	layer = filepath.Join(dir, "blobs", d.Algorithm().String(), d.Encoded())
	if err := errors.Join(os.Chmod(layer, 0o644), change(layer)); err != nil {
		t.Fatal(err)
	}
	return s, image, layer
}

func truncate(path string) error { return os.Truncate(path, 10) }

func flipBit(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	content[len(content)/2] ^= 1
	return os.WriteFile(path, content, 0o644)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

func TestWhole(t *testing.T) {
	s, image, layer := damaged(t, truncate)
	if Whole(t.Context(), s, image) || !exists(layer) {
		t.Errorf("whole with a truncated layer, or the layer was removed (exists: %v)", exists(layer))
	}
	if WholeOrRemove(t.Context(), s, image) || exists(layer) {
		t.Errorf("whole with a truncated layer, or the layer was kept (exists: %v)", exists(layer))
	}
	s, image, _ = damaged(t, func(string) error { return nil })
	if !Whole(t.Context(), s, image) || !WholeOrRemove(t.Context(), s, image) {
		t.Error("an undamaged image is not whole")
	}
}

func TestVerifyRemovesDamagedBlobs(t *testing.T) {
	for name, change := range map[string]func(string) error{"changed": flipBit, "missing": os.Remove,
		"undamaged": func(string) error { return nil }} {
		s, image, layer := damaged(t, change)
		removed := 0
		found := Verify(t.Context(), s, []digest.Digest{image, image, ""}, func(*store.BlobError) { removed++ })
		if found != (name != "undamaged") || exists(layer) != (name == "undamaged") ||
			removed != map[string]int{"changed": 1}[name] {
			t.Errorf("%s: found %v, removed %d, the layer exists: %v", name, found, removed, exists(layer))
		}
	}
}

func TestRemoveDamaged(t *testing.T) {
	s, image, layer := damaged(t, flipBit)
	err := RemoveDamaged(t.Context(), s, s.Verify(t.Context(), image))
	var damage *DamageError
	if !errors.As(err, &damage) || damage.Hint() == "" || exists(layer) {
		t.Errorf("%v, the layer exists: %v", err, exists(layer))
	}
	if other := errors.New("other"); RemoveDamaged(t.Context(), s, other) != other ||
		RemoveDamaged(t.Context(), s, nil) != nil {
		t.Error("another error is changed")
	}
}
