package bundle

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/memo"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// layerTars are the results of layerTar: many tests use the same ones.
var layerTars memo.Map[[3]int, []byte]

// layerTar returns the tar of a layer with files of which some differ between versions. It
// must not be modified.
func layerTar(seed uint64, files, version int) []byte {
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

func putBlob(t *testing.T, st *store.Store, b []byte, mediaType string) ocispec.Descriptor {
	t.Helper()
	d, n, err := st.WriteBlob(t.Context(), bytes.NewReader(b), digest.FromBytes(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: n}
}

// putImage stores an image of tars, which are compressed as built layers are.
func putImage(t *testing.T, st *store.Store, name string, tars ...[]byte) store.Entry {
	t.Helper()
	return putCompressed(t, st, compress.Default, name, tars...)
}

func putCompressed(t *testing.T, st *store.Store, settings compress.Settings, name string, tars ...[]byte) store.Entry {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	config := ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"}, RootFS: ocispec.RootFS{Type: "layers"}}
	for _, content := range tars {
		m.Layers = append(m.Layers, putBlob(t, st, compressOnce(t, settings, content), settings.MediaType()))
		config.RootFS.DiffIDs = append(config.RootFS.DiffIDs, digest.FromBytes(content))
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	m.Config = putBlob(t, st, raw, ocispec.MediaTypeImageConfig)
	if raw, err = json.Marshal(m); err != nil {
		t.Fatal(err)
	}
	e := store.Entry{Name: name, Digest: putBlob(t, st, raw, m.MediaType).Digest, Kind: store.KindBuilt}
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

func emptyStore(t *testing.T) *store.Store {
	t.Helper()
	st, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { st.Close() })
	return st
}

// months are two months of a set: the first bundle, and a store with the second.
type months struct {
	st       *store.Store
	first    string // the bundle of the first month
	old, now []store.Entry
}

func newMonths(t *testing.T) months {
	t.Helper()
	m := months{st: emptyStore(t), first: filepath.Join(t.TempDir(), "first.tar")}
	base, shared := layerTar(1, 150, 0), layerTar(2, 20, 0)
	for i := range 4 {
		m.old = append(m.old, putImage(t, m.st, fmt.Sprintf("kolla/image%d:t", i), shared, base, layerTar(uint64(10+i), 40, 0)))
	}
	m.old = append(m.old, putImage(t, m.st, "kolla/unchanged:t", shared, layerTar(99, 5, 0)))
	if _, err := Save(t.Context(), m.st, m.old, m.first, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	updated := layerTar(1, 150, 1)
	for i := range 4 {
		m.now = append(m.now, putImage(t, m.st, fmt.Sprintf("kolla/image%d:t", i), shared, updated, layerTar(uint64(10+i), 40, 1)))
	}
	m.now = append(m.now, m.old[4])
	return m
}

func (m months) save(t *testing.T, since *inventory.Inventory, byteDeltas bool) (string, Summary) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "delta.tar")
	sum, err := Save(t.Context(), m.st, m.now, path, SaveOptions{Since: since, Bytes: byteDeltas})
	if err != nil {
		t.Fatal(err)
	}
	return path, sum
}

func (m months) since(t *testing.T) *inventory.Inventory {
	t.Helper()
	inv, err := Inventory(t.Context(), m.first, m.st)
	if err != nil {
		t.Fatal(err)
	}
	return inv
}

func TestDelta(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	for _, byteDeltas := range []bool{false, true} {
		t.Run(fmt.Sprintf("bytes=%v", byteDeltas), func(t *testing.T) {
			path, sum := m.save(t, m.since(t), byteDeltas)
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if limit := sum.Bytes*101/100 + 32<<10; st.Size() > limit { // 32 KiB: the tar's headers
				t.Errorf("the delta has %d bytes, more than %d", st.Size(), limit)
			}
			if byteDeltas && (sum.Deltas != 5 || sum.DeltaBytes > sum.DeltaLayers/10) {
				t.Errorf("%d byte deltas with %d bytes for %d, want 5 with at most a tenth", sum.Deltas, sum.DeltaBytes, sum.DeltaLayers)
			}
			site := emptyStore(t)
			var missing *MissingError
			if _, err := Load(t.Context(), path, site, LoadOptions{}); !errors.As(err, &missing) ||
				len(missing.Images) == 0 || usererr.Hint(err) == "" {
				t.Fatalf("loaded into an empty store: %v, want a MissingError", err)
			}
			if leftover, _ := filepath.Glob(filepath.Join(site.Dir(), "blobs/sha256/*")); len(leftover) > 0 {
				t.Errorf("%d blobs were written", len(leftover))
			}
			if _, err := Load(t.Context(), m.first, site, LoadOptions{}); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(t.Context(), path, site, LoadOptions{Replace: true}); err != nil {
				t.Fatal(err)
			}
			for _, want := range m.now {
				got, ok, err := site.Lookup(want.Name)
				if err != nil || !ok || got.Digest != want.Digest {
					t.Errorf("%s is %s (%v), want %s", want.Name, got.Digest, err, want.Digest)
				}
				blobs, err := site.Blobs(t.Context(), want.Digest)
				if err != nil {
					t.Fatal(err)
				}
				for _, b := range blobs {
					r, err := site.OpenBlob(b.Digest)
					if err != nil {
						t.Fatal(err)
					}
					if _, err := io.Copy(io.Discard, r); err != nil { // verifies the digest
						t.Errorf("%s: %v", want.Name, err)
					}
					r.Close()
				}
			}
			// A delta can be the base of another one.
			if inv, err := Inventory(t.Context(), path, m.st); err != nil || len(inv.Images) != len(m.now) {
				t.Errorf("inventory of the delta: %+v (%v)", inv, err)
			}
		})
	}
}

// TestDeltaOfOneLeaf checks that a delta contains little more than its own blobs.
func TestDeltaOfOneLeaf(t *testing.T) {
	m := newMonths(t)
	m.now = append([]store.Entry{putImage(t, m.st, "kolla/image0:t", layerTar(2, 20, 0), layerTar(1, 150, 0),
		layerTar(77, 40, 0))}, m.old[1:]...)
	path, sum := m.save(t, m.since(t), false)
	st, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if sum.Blobs != 3 { // manifest, config and layer
		t.Errorf("%d blobs, want 3", sum.Blobs)
	}
	if st.Size() > sum.Bytes*101/100+16<<10 {
		t.Errorf("%d bytes for blobs of %d", st.Size(), sum.Bytes)
	}
}

// TestDamagedDelta checks that all damage is noticed, and that no name is stored then.
func TestDamagedDelta(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	path, _ := m.save(t, m.since(t), true)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, append(make([]byte, 8), deltaDir+"/sha256/"...)) + 8             // behind padding: the manifest has the name, too
	size, err := strconv.ParseInt(strings.Trim(string(good[at+124:at+135]), " \x00"), 8, 64) // of the member, in its header
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(3, 3))
	for i := range 8 {
		bad := bytes.Clone(good)
		bad[int64(at)+512+8+rng.Int64N(size-8)] ^= 1 << i // after the start of the zstd frame
		if err := os.WriteFile(path, bad, 0o644); err != nil {
			t.Fatal(err)
		}
		site := emptyStore(t)
		if _, err := Load(t.Context(), m.first, site, LoadOptions{}); err != nil {
			t.Fatal(err)
		}
		_, err := Load(t.Context(), path, site, LoadOptions{Replace: true})
		if err == nil || !strings.Contains(err.Error(), "sha256") {
			t.Fatalf("damage %d: %v, want an error that names the layer", i, err)
		}
		if e, _, _ := site.Lookup(m.old[0].Name); e.Digest != m.old[0].Digest {
			t.Errorf("damage %d: %s was changed", i, e.Name)
		}
	}
}

// TestDeltaOfUnreadableLayer checks that a layer that cannot be decompressed is carried
// whole, beside byte deltas of others.
func TestDeltaOfUnreadableLayer(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	content := layerTar(31, 20, 0)
	m.old = append(m.old, putImage(t, m.st, "kolla/odd:t", content))
	if _, err := Save(t.Context(), m.st, m.old, m.first, SaveOptions{}); err != nil {
		t.Fatal(err)
	}
	odd := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	odd.Layers = append(odd.Layers, putBlob(t, m.st, append([]byte("\x1f\x8b\x08"), content[:5000]...), ocispec.MediaTypeImageLayerGzip))
	raw, err := json.Marshal(ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(content)}}})
	if err != nil {
		t.Fatal(err)
	}
	odd.Config = putBlob(t, m.st, raw, ocispec.MediaTypeImageConfig)
	if raw, err = json.Marshal(odd); err != nil {
		t.Fatal(err)
	}
	e := store.Entry{Name: "kolla/odd:t", Digest: putBlob(t, m.st, raw, odd.MediaType).Digest, Kind: store.KindBuilt}
	if err := m.st.Put(e); err != nil {
		t.Fatal(err)
	}
	m.now = append(m.now, e)

	// Nothing large goes to the system's temporary directory.
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	path, sum := m.save(t, m.since(t), true)
	if sum.Deltas != 5 {
		t.Errorf("%d byte deltas, want 5", sum.Deltas)
	}
	site := emptyStore(t)
	for _, bundle := range []string{m.first, path} {
		if _, err := Load(t.Context(), bundle, site, LoadOptions{Replace: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := site.Verify(t.Context(), e.Digest); err != nil {
		t.Error(err)
	}
	for _, st := range []*store.Store{m.st, site} {
		if leftover, err := os.ReadDir(st.TempDir()); err != nil || len(leftover) > 0 {
			t.Errorf("left in %s: %v (%v)", st.TempDir(), leftover, err)
		}
	}
}

// TestDeltaOfUnlistedBase checks that a byte delta is not applied to a layer that the
// bundle does not require, such as one that it brings itself.
func TestDeltaOfUnlistedBase(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	path, _ := m.save(t, m.since(t), true)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for r := tar.NewReader(bytes.NewReader(data)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == manifestFile {
			continue // it would notice the change
		}
		if h.Name == deltaIndex {
			content = []byte(`{"version":1,"requires":[]}`)
			h.Size = int64(len(content))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	site := emptyStore(t)
	if _, err := Load(t.Context(), m.first, site, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(t.Context(), path, site, LoadOptions{Replace: true}); err == nil ||
		!strings.Contains(err.Error(), "is not in "+deltaIndex) {
		t.Errorf("%v, want an error about %s", err, deltaIndex)
	}
}

// templess is a source without a directory for temporary files, as a registry is.
type templess struct{ *store.Store }

func (templess) TempDir() string { return "" }

// Byte deltas for a directory are made beside it, also if it does not exist yet.
func TestByteDeltasToDirectory(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	since := m.since(t)
	out := filepath.Join(t.TempDir(), "media", "delta") + "/"
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	for range 2 { // into a new directory and into an existing one
		sum, err := Save(t.Context(), templess{m.st}, m.now, out, SaveOptions{Since: since, Bytes: true, ReadOnce: true})
		if err != nil || sum.Deltas != 5 || len(sum.Extra) > 0 {
			t.Errorf("%d byte deltas, want 5 (%v); left %v", sum.Deltas, err, sum.Extra)
		}
	}
}

// Without space for the temporary files of byte deltas, save and load say so. Save does not
// carry the layers whole instead, and load stores none of them.
func TestByteDeltasNeedSpace(t *testing.T) {
	testenv.Slow(t)
	m := newMonths(t)
	since := m.since(t)
	for _, size := range []string{"1m", "4m"} { // too small for what is known before, and for a base
		out := filepath.Join(testenv.Tmpfs(t, size), "delta.tar")
		_, err := Save(t.Context(), templess{m.st}, m.now, out, SaveOptions{Since: since, Bytes: true, ReadOnce: true})
		var full *store.FullError
		if !errors.As(err, &full) || full.Path != filepath.Dir(out) || !strings.Contains(usererr.Hint(err), "--delta") {
			t.Errorf("saving to %s: %v (hint %q)", size, err, usererr.Hint(err))
		}
		if leftover, err := os.ReadDir(filepath.Dir(out)); err != nil || len(leftover) > 0 {
			t.Errorf("saving to %s left %v (%v)", size, leftover, err)
		}
	}
	path, _ := m.save(t, since, true)
	site, err := store.Open(filepath.Join(testenv.Tmpfs(t, "8m"), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { site.Close() })
	if _, err := Load(t.Context(), m.first, site, LoadOptions{}); err != nil {
		t.Fatal(err)
	}
	_, err = Load(t.Context(), path, site, LoadOptions{Replace: true})
	var full *store.FullError
	if !errors.As(err, &full) || full.Err != nil || full.Need < 3<<20 {
		t.Errorf("loading: %v", err)
	}
	for _, e := range m.now[:4] {
		blobs, err := m.st.Blobs(t.Context(), e.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			if isLayer(b.MediaType) && site.HasBlob(b.Digest, b.Size) && !since.Has(b) {
				t.Errorf("layer %s of %s was stored", b.Digest, e.Name)
			}
		}
	}
}

// An image needs a blob once, also if several of its layers do.
func TestRequiredByImages(t *testing.T) {
	p := newDeltaPlan(nil)
	d := digest.FromString("base")
	for _, image := range []string{"a", "b", "a", "b", "c"} {
		p.require(image, d, 1, false)
	}
	if r := p.required[d]; r.Image != "a" || r.More != 2 {
		t.Errorf("%+v, want a and 2 others", r)
	}
}

func TestMissingErrorNamesImages(t *testing.T) {
	for _, c := range []struct {
		images  []string
		atLeast int
		want    string
	}{
		{[]string{"base"}, 1, "for base"},
		{[]string{"base"}, 42, "for base and at least 41 more"},
		{[]string{"a", "b"}, 2, "for a, b"},
		{[]string{"a", "b", "c", "d"}, 2, "for a, b, c and 1 more"},
		{[]string{"a", "b", "c", "d"}, 10, "for a, b, c and at least 7 more"},
	} {
		e := &MissingError{Missing: []string{"sha256:x"}, Images: c.images, AtLeast: c.atLeast}
		if got := e.Error(); !strings.HasSuffix(got, " sha256:x, "+c.want) {
			t.Errorf("%v of %d: %s", c.images, c.atLeast, got)
		}
	}
}
