package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// writeJSON stores a document and returns its descriptor.
func writeJSON(t testing.TB, s *Store, mediaType string, doc any) ocispec.Descriptor {
	t.Helper()
	b, err := json.Marshal(doc)
	if err != nil {
		t.Fatal(err)
	}
	return writeBytes(t, s, mediaType, b)
}

func writeBytes(t testing.TB, s *Store, mediaType string, b []byte) ocispec.Descriptor {
	t.Helper()
	d, _, err := s.WriteBlob(context.Background(), bytes.NewReader(b), digest.FromBytes(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: int64(len(b))}
}

// imageOf stores an image with the given layers and its own config.
func imageOf(t testing.TB, s *Store, comment string, layers ...ocispec.Descriptor) ocispec.Descriptor {
	t.Helper()
	config := writeJSON(t, s, ocispec.MediaTypeImageConfig,
		map[string]any{"os": "linux", "architecture": "amd64", "comment": comment})
	return writeJSON(t, s, ocispec.MediaTypeImageManifest,
		ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: config, Layers: layers})
}

func putNamed(t testing.TB, s *Store, name string, d digest.Digest) {
	t.Helper()
	if err := s.Put(Entry{Name: name, Digest: d}); err != nil {
		t.Fatal(err)
	}
}

// reopen opens the store again, as another process does: no blob has been used.
func reopen(t testing.TB, s *Store) *Store {
	t.Helper()
	s.Close()
	return open(t, s.Dir())
}

// corrupt flips a bit in the middle of a blob.
func corrupt(t testing.TB, s *Store, d digest.Digest) {
	t.Helper()
	path := s.blobPath(d)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	b[len(b)/2] ^= 1
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// An image that lists another image's manifest among its layers, or as its config,
// must not hide what that manifest refers to, whichever is found first.
func TestManifestListedAsLayer(t *testing.T) {
	for _, as := range []string{"layer", "config"} {
		for _, evilFirst := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, first %v", as, evilFirst), func(t *testing.T) {
				s := open(t, t.TempDir())
				layer := writeBytes(t, s, ocispec.MediaTypeImageLayer, []byte("layer"))
				victim := imageOf(t, s, "victim", layer)
				var evil ocispec.Descriptor
				if as == "layer" {
					evil = imageOf(t, s, "evil", victim)
				} else {
					evil = writeJSON(t, s, ocispec.MediaTypeImageManifest, ocispec.Manifest{Config: victim})
				}
				names := []string{"evil:t", "victim:t"}
				digests := []digest.Digest{evil.Digest, victim.Digest}
				if !evilFirst {
					digests[0], digests[1] = digests[1], digests[0]
					names[0], names[1] = names[1], names[0]
				}
				for i, n := range names {
					putNamed(t, s, n, digests[i])
				}
				s = reopen(t, s)
				if res, err := s.GC(t.Context()); err != nil || res.Blobs != 0 {
					t.Errorf("GC removed %d blobs (%v)", res.Blobs, err)
				}
				if err := s.Verify(t.Context(), victim.Digest); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// The same within one index: Check, Verify and Blobs find the blobs of both images.
func TestManifestListedAsLayerInIndex(t *testing.T) {
	s := open(t, t.TempDir())
	layer := writeBytes(t, s, ocispec.MediaTypeImageLayer, []byte("layer"))
	second := imageOf(t, s, "second", layer)
	first := imageOf(t, s, "first", second)
	index := writeJSON(t, s, ocispec.MediaTypeImageIndex,
		ocispec.Index{MediaType: ocispec.MediaTypeImageIndex, Manifests: []ocispec.Descriptor{first, second}})
	blobs, err := s.Blobs(t.Context(), index.Digest)
	if err != nil || len(blobs) != 6 {
		t.Errorf("%d blobs, want the index, 2 manifests, 2 configs and a layer (%v)", len(blobs), err)
	}
	corrupt(t, s, layer.Digest)
	var be *BlobError
	if err := s.Verify(t.Context(), index.Digest); !errors.As(err, &be) || be.Digest != layer.Digest {
		t.Errorf("verify: %v", err)
	}
	if err := os.Remove(s.blobPath(layer.Digest)); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(t.Context(), index.Digest); !errors.Is(err, ErrNotFound) {
		t.Errorf("check: %v", err)
	}
}

// GC removes nothing while an image with a name has a damaged manifest.
func TestGCWithDamagedManifest(t *testing.T) {
	s := open(t, t.TempDir())
	layer := writeBytes(t, s, ocispec.MediaTypeImageLayer, []byte("layer"))
	img := imageOf(t, s, "image", layer)
	garbage := writeBytes(t, s, "", []byte("garbage"))
	if err := s.Put(Entry{Name: "a:t", Digest: img.Digest, Key: "key"}); err != nil {
		t.Fatal(err)
	}
	corrupt(t, s, img.Digest)
	s = reopen(t, s)
	var de *DamagedError
	if _, err := s.GC(t.Context()); !errors.As(err, &de) || de.Name != "a:t" || de.Hint() == "" {
		t.Errorf("a damaged image with a name: %v", err)
	}
	if !s.HasBlob(layer.Digest, -1) || !s.HasBlob(garbage.Digest, -1) {
		t.Error("GC removed blobs")
	}
	// Another image gets the name, so the damaged one can no longer be used.
	other := imageOf(t, s, "other")
	putNamed(t, s, "a:t", other.Digest)
	s = reopen(t, s)
	res, err := s.GC(t.Context())
	if err != nil || res.Damaged != 1 || res.Blobs != 4 {
		t.Errorf("a damaged image without a name: %+v, %v", res, err)
	}
	if _, ok, _ := s.ByKey("key"); ok {
		t.Error("its key is still found")
	}
	if err := s.Verify(t.Context(), other.Digest); err != nil {
		t.Error(err)
	}
}

// Damaged manifests and configs are found by Check and repaired by writing them.
func TestDamagedSmallBlobsAreRepaired(t *testing.T) {
	for _, kind := range []string{"manifest", "config"} {
		s := open(t, t.TempDir())
		img := imageOf(t, s, "image")
		putNamed(t, s, "a:t", img.Digest)
		m, _, err := s.readDocument(img.Digest, "")
		if err != nil {
			t.Fatal(err)
		}
		d := map[string]digest.Digest{"manifest": img.Digest, "config": m.Config.Digest}[kind]
		corrupt(t, s, d)
		var be *BlobError
		if err := s.Check(t.Context(), img.Digest); !errors.As(err, &be) || be.Digest != d || be.Of != kind {
			t.Errorf("%s: Check: %v", kind, err)
		}
		imageOf(t, s, "image")
		if err := s.Verify(t.Context(), img.Digest); err != nil {
			t.Errorf("%s: after writing it again: %v", kind, err)
		}
	}
}

func TestLimitsOfImages(t *testing.T) {
	s := open(t, t.TempDir())
	layer := writeBytes(t, s, ocispec.MediaTypeImageLayer, []byte("layer"))
	layers := make([]ocispec.Descriptor, ocijson.MaxLayers+1)
	for i := range layers {
		layers[i] = layer
	}
	large := imageOf(t, s, "large", layers...)
	if err := s.Put(Entry{Name: "a:t", Digest: large.Digest}); err == nil || !strings.Contains(err.Error(), "layers") {
		t.Errorf("%d layers: %v", len(layers), err)
	}
	if _, err := s.Image(large.Digest); err == nil {
		t.Errorf("reading an image of %d layers", len(layers))
	}
	d := imageOf(t, s, "")
	for range ocijson.MaxNesting + 1 {
		d = writeJSON(t, s, ocispec.MediaTypeImageIndex, ocispec.Index{Manifests: []ocispec.Descriptor{d}})
	}
	if err := s.Put(Entry{Name: "a:t", Digest: d.Digest}); err == nil || !strings.Contains(err.Error(), "nested") {
		t.Errorf("nested indexes: %v", err)
	}
	history := writeBytes(t, s, ocispec.MediaTypeImageConfig,
		[]byte(`{"history":[`+strings.Repeat("{},", ocijson.MaxHistory)+`{}]}`))
	img, err := s.Image(writeJSON(t, s, ocispec.MediaTypeImageManifest,
		ocispec.Manifest{MediaType: ocispec.MediaTypeImageManifest, Config: history}).Digest)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := img.ConfigFile(); err == nil || !strings.Contains(err.Error(), "history") {
		t.Errorf("a config of %d history entries: %v", ocijson.MaxHistory+1, err)
	}
}

// Texts of an image in index.json are printed to terminals.
func TestTextsOfEntries(t *testing.T) {
	s := open(t, t.TempDir())
	config := writeJSON(t, s, ocispec.MediaTypeImageConfig,
		map[string]any{"os": "linux\x1b]0;x\a", "architecture": "\x1b[31mamd64"})
	img := writeJSON(t, s, ocispec.MediaTypeImageManifest,
		map[string]any{"mediaType": "application/\x1b[2J", "config": config})
	index := writeJSON(t, s, ocispec.MediaTypeImageIndex,
		map[string]any{"manifests": []any{map[string]any{"digest": img.Digest, "size": img.Size,
			"platform": map[string]string{"os": "linux\x1b[2J", "architecture": "amd64"}}}})
	for name, d := range map[string]digest.Digest{"a:t": img.Digest, "b:t": index.Digest} {
		if err := s.Put(Entry{Name: name, Digest: d, Kind: KindBase, Origin: "/tmp/\x1b[2Jfile\u202e"}); err != nil {
			t.Fatal(err)
		}
		e, _, err := s.Lookup(name)
		if err != nil {
			t.Fatal(err)
		}
		if text := fmt.Sprint(e, s.Platforms(e)); strings.ContainsAny(text, "\x1b\a\u202e") {
			t.Errorf("%q", text)
		}
	}
	for _, bad := range []string{"a\x1b[2J:t", "a b:t", "kolla/../base:t", "./base:t", "ba\u202ese:t", "a\u200b:t",
		"a\xff:t", strings.Repeat("a", maxName+1)} {
		if err := s.Put(Entry{Name: bad, Digest: img.Digest}); err == nil {
			t.Errorf("the name %q was accepted", bad)
		}
		if err := s.Tag(bad, img.Digest); err == nil {
			t.Errorf("the tag %q was accepted", bad)
		}
	}
	for _, good := range []string{"debian:trixie@linux/arm64", "localhost:4000/kolla/base:t", "a.b/c..d:t"} {
		if err := s.Tag(good, img.Digest); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestPutNew(t *testing.T) {
	s := open(t, t.TempDir())
	first, second := imageOf(t, s, "one"), imageOf(t, s, "two")
	if err := s.Put(Entry{Name: "debian:trixie", Digest: first.Digest, Kind: KindBase, Key: "key",
		Origin: "origin"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"debian:trixie", "docker.io/library/debian:trixie", "library/debian:trixie"} {
		var taken *NamesTakenError
		err := s.PutNew(Entry{Name: "free:t", Digest: second.Digest}, Entry{Name: name, Digest: second.Digest})
		if !errors.As(err, &taken) || fmt.Sprint(taken.Names) != "["+name+"]" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, ok, _ := s.Lookup("free:t"); ok {
		t.Error("an entry was added nevertheless")
	}
	// The same image under the same name keeps what is known about it.
	if err := s.PutNew(Entry{Name: "debian:trixie", Digest: first.Digest, Kind: KindLoaded},
		Entry{Name: "free:t", Digest: second.Digest}); err != nil {
		t.Fatal(err)
	}
	e, _, err := s.Lookup("debian:trixie")
	if err != nil || e.Kind != KindBase || e.Key != "key" || e.Origin != "origin" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestReadOnlyStoreIsNotChanged(t *testing.T) {
	if _, err := OpenReadOnly(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("opened a store that does not exist")
	}
	s := open(t, t.TempDir())
	img := imageOf(t, s, "image")
	putNamed(t, s, "a:t", img.Digest)
	corrupt(t, s, img.Digest)
	s.Close()
	ro, err := OpenReadOnly(s.Dir())
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	_, _, werr := ro.WriteBlob(t.Context(), strings.NewReader("x"), "", -1)
	_, derr := ro.DropBad(t.Context(), img.Digest)
	_, gerr := ro.GC(t.Context())
	_, ferr := ro.Forget(time.Now())
	_, rerr := ro.Remove("a:t")
	for name, err := range map[string]error{"WriteBlob": werr, "DropBad": derr, "GC": gerr, "Forget": ferr, "Remove": rerr,
		"RecordDurations": ro.RecordDurations(map[string]Record{"a": {}})} {
		if !errors.Is(err, errReadOnly) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// FuzzImage stores any bytes as a manifest with any config and checks that reading
// the image ends with an error or a result, and that GC keeps the other image.
func FuzzImage(f *testing.F) {
	f.Add([]byte(`{"config":{"digest":"CONFIG","size":2},"layers":[{"digest":"OTHER","size":1}]}`),
		[]byte(`{"os":"linux"}`))
	f.Add([]byte(`{"manifests":[{"digest":"OTHER","size":1},{"digest":"CONFIG"}]}`), []byte(`{}`))
	f.Add([]byte(`{"layers":null,"config":{}}`), []byte(`{"rootfs":{"diff_ids":[1]}}`))
	s, err := Open(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	defer s.Close()
	other := imageOf(f, s, "other", writeBytes(f, s, ocispec.MediaTypeImageLayer, []byte("layer")))
	putNamed(f, s, "other:t", other.Digest)
	f.Fuzz(func(t *testing.T, manifest, config []byte) {
		c := writeBytes(t, s, "", config)
		text := strings.NewReplacer("CONFIG", c.Digest.String(), "OTHER", other.Digest.String()).Replace(string(manifest))
		m := writeBytes(t, s, "", []byte(text))
		if s.Put(Entry{Name: "fuzz:t", Digest: m.Digest}) == nil {
			e, _, _ := s.Lookup("fuzz:t")
			if text := fmt.Sprint(e, s.Platforms(e)); strings.ContainsFunc(text, func(r rune) bool { return !isVisible(r) }) {
				t.Errorf("%q", text)
			}
		}
		_ = s.Check(t.Context(), m.Digest)
		_, _ = s.Blobs(t.Context(), m.Digest)
		if img, err := s.Image(m.Digest); err == nil {
			_, _ = img.ConfigFile()
			_, _ = img.Layers()
		}
		s.touched = map[digest.Digest]bool{}
		_, _ = s.GC(t.Context())
		if err := s.Verify(t.Context(), other.Digest); err != nil {
			t.Fatal(err)
		}
	})
}
