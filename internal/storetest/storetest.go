// Package storetest makes stores with images for tests. It must not know bundles or builds.
package storetest

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/memo"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Open opens a new store in a temporary directory.
func Open(t testing.TB) *store.Store {
	t.Helper()
	s, err := store.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// RefA and RefB are the names of the images of Fill.
const (
	RefA = "localhost:4000/kolla/nova-api:2026.1"
	RefB = "localhost:4000/kolla/nova-compute:2026.1"
)

// Fill returns a new store with two images that share a base layer.
func Fill(t testing.TB) (*store.Store, []store.Entry) {
	t.Helper()
	return FillSize(t, 10_000)
}

// FillSize is Fill with layers of size bytes, and a base layer of twice as many.
func FillSize(t testing.TB, size int64) (*store.Store, []store.Entry) {
	t.Helper()
	s := Open(t)
	base := testenv.Must[v1.Image](t)(random.Image(2*size, 1))
	base = mutate.ConfigMediaType(mutate.MediaType(base, types.OCIManifestSchema1), types.OCIConfigJSON)
	cf := testenv.Must[*v1.ConfigFile](t)(base.ConfigFile()).DeepCopy()
	cf.OS, cf.Architecture = "linux", "amd64"
	base = testenv.Must[v1.Image](t)(mutate.ConfigFile(base, cf))
	for _, ref := range []string{RefB, RefA} {
		img := testenv.Must[v1.Image](t)(mutate.AppendLayers(base,
			testenv.Must[v1.Layer](t)(random.Layer(size, types.OCILayer))))
		d := testenv.Must[digest.Digest](t)(s.WriteImage(context.Background(), img))
		if err := s.Put(store.Entry{Name: ref, Digest: d, Key: "key of " + ref, Kind: store.KindBuilt}); err != nil {
			t.Fatal(err)
		}
	}
	return s, testenv.Must[[]store.Entry](t)(s.Entries())
}

// LayersOf returns the descriptors of the layers of an image.
func LayersOf(s *store.Store, e store.Entry) ([]v1.Descriptor, error) {
	img, err := s.Image(e.Digest)
	if err != nil {
		return nil, err
	}
	m, err := img.Manifest()
	if err != nil {
		return nil, err
	}
	return m.Layers, nil
}

// layerTars are the results of layerTar: many tests use the same ones.
var layerTars memo.Map[[3]int, []byte]

// LayerTar returns the tar of a layer with files of which some differ between versions. It
// must not be modified.
func LayerTar(seed uint64, files, version int) []byte {
	b, _ := layerTars.Get(context.Background(), [3]int{int(seed), files, version}, func() ([]byte, error) {
		return makeLayerTar(seed, files, version), nil
	})
	return b
}

func makeLayerTar(seed uint64, files, version int) []byte {
	rng := rand.New(rand.NewPCG(seed, 1))
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for i := range files {
		content := make([]byte, 20_000)
		for j := range content {
			content[j] = "abcdefghijklmnopqrstuvwxyz \n"[rng.IntN(28)]
		}
		if version > 0 && i%25 == 7 {
			copy(content[500*version:], fmt.Sprintf("version %d", version))
		}
		_ = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: fmt.Sprintf("usr/share/f%d", i),
			Size: int64(len(content)), Mode: 0o644, ModTime: time.Unix(1_700_000_000+int64(version), 0)})
		_, _ = w.Write(content)
	}
	_ = w.Close()
	return b.Bytes()
}

// PutBlob stores a blob and returns its descriptor.
func PutBlob(t *testing.T, st *store.Store, b []byte, mediaType string) ocispec.Descriptor {
	t.Helper()
	d, n, err := st.WriteBlob(t.Context(), bytes.NewReader(b), digest.FromBytes(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: n}
}

// PutImage stores an image of tars, which are compressed as built layers are.
func PutImage(t *testing.T, st *store.Store, name string, tars ...[]byte) store.Entry {
	t.Helper()
	return PutCompressed(t, st, compress.Default, name, tars...)
}

// PutCompressed is PutImage with other settings of the compression.
func PutCompressed(t *testing.T, st *store.Store, settings compress.Settings, name string, tars ...[]byte) store.Entry {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: ocispec.RootFS{Type: "layers"}}
	for _, content := range tars {
		m.Layers = append(m.Layers, PutBlob(t, st, compressOnce(t, settings, content), settings.MediaType()))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(content))
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Config = PutBlob(t, st, raw, ocispec.MediaTypeImageConfig)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	e := store.Entry{Name: name, Digest: PutBlob(t, st, raw, m.MediaType).Digest, Kind: store.KindBuilt}
	if err := st.Put(e); err != nil {
		t.Fatal(err)
	}
	return e
}

// compressedTars are small layers that compressOnce made, by settings and content: many
// tests use the same ones.
var compressedTars memo.Map[string, []byte]

func compressOnce(t *testing.T, settings compress.Settings, content []byte) []byte {
	t.Helper()
	key := fmt.Sprint(settings, digest.FromBytes(content))
	if b, ok := compressedTars.Known(key); ok {
		return b
	}
	var b bytes.Buffer
	w, err := settings.NewWriter(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if b.Len() < 4<<20 {
		compressedTars.Set(key, b.Bytes())
	}
	return b.Bytes()
}

// BlobCount returns the number of blobs of a store.
func BlobCount(t testing.TB, st *store.Store) int {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(st.Dir(), "blobs", "sha256"))
	if err != nil {
		t.Fatal(err)
	}
	return len(files)
}

// Damage changes a byte in the middle of blobs, whose sizes stay.
func Damage(t *testing.T, st *store.Store, blobs ...digest.Digest) {
	t.Helper()
	for _, d := range blobs {
		path := filepath.Join(st.Dir(), "blobs", d.Algorithm().String(), d.Encoded())
		content := testenv.Must[[]byte](t)(os.ReadFile(path))
		content[len(content)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

// LayersOfAll returns the layers of images, each once.
func LayersOfAll(t *testing.T, st *store.Store, entries ...store.Entry) map[digest.Digest]bool {
	t.Helper()
	all := map[digest.Digest]bool{}
	for _, e := range entries {
		for _, d := range testenv.Must[[]digest.Digest](t)(LayerDigests(st, e)) {
			all[d] = true
		}
	}
	return all
}

// LayerDigests returns the digests of the layers of an image.
func LayerDigests(s *store.Store, e store.Entry) ([]digest.Digest, error) {
	layers, err := LayersOf(s, e)
	var out []digest.Digest
	for _, l := range layers {
		out = append(out, digest.Digest(l.Digest.String()))
	}
	return out, err
}

// NoImages checks that a store has no images.
func NoImages(t testing.TB, st *store.Store) {
	t.Helper()
	if entries, err := st.Entries(); err != nil || len(entries) > 0 {
		t.Errorf("images after an error: %v, %v", entries, err)
	}
}
