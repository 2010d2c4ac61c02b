package load

import (
	"archive/tar"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/bundletest"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/contents"
	"github.com/kolla-build/kolla-build/pkg/bundle/save"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// sinceFirst returns the inventory of a site that has the first month.
func sinceFirst(t *testing.T, m bundletest.Months) *inventory.Inventory {
	t.Helper()
	return testenv.Must[*inventory.Inventory](t)(contents.Inventory(t.Context(), m.First, m.St))
}

func TestDelta(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	for _, byteDeltas := range []bool{false, true} {
		t.Run(fmt.Sprintf("bytes=%v", byteDeltas), func(t *testing.T) {
			path, sum := m.Save(t, sinceFirst(t, m), byteDeltas)
			st, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			if limit := sum.Bytes*101/100 + 32<<10; st.Size() > limit { // 32 KiB: the tar's headers
				t.Errorf("the delta has %d bytes, more than %d", st.Size(), limit)
			}
			if byteDeltas && (sum.Deltas != 5 || sum.DeltaBytes > sum.DeltaLayers/10) {
				t.Errorf("%d byte deltas with %d bytes for %d, want 5 with at most a tenth", sum.Deltas, sum.DeltaBytes,
					sum.DeltaLayers)
			}
			site := storetest.Open(t)
			var missing *MissingError
			if _, err := Bundle(t.Context(), path, site, Options{}); !errors.As(err, &missing) ||
				len(missing.Images) == 0 || usererr.Hint(err) == "" {
				t.Fatalf("loaded into an empty store: %v, want a MissingError", err)
			}
			if leftover, _ := filepath.Glob(filepath.Join(site.Dir(), "blobs/sha256/*")); len(leftover) > 0 {
				t.Errorf("%d blobs were written", len(leftover))
			}
			if _, err := Bundle(t.Context(), m.First, site, Options{}); err != nil {
				t.Fatal(err)
			}
			if _, err := Bundle(t.Context(), path, site, Options{Replace: true}); err != nil {
				t.Fatal(err)
			}
			for _, want := range m.Now {
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
			if inv, err := contents.Inventory(t.Context(), path, m.St); err != nil || len(inv.Images) != len(m.Now) {
				t.Errorf("inventory of the delta: %+v (%v)", inv, err)
			}
		})
	}
}

// TestDeltaOfOneLeaf checks that a delta contains little more than its own blobs.
func TestDeltaOfOneLeaf(t *testing.T) {
	m := bundletest.NewMonths(t)
	m.Now = append([]store.Entry{storetest.PutImage(t, m.St, "kolla/image0:t", storetest.LayerTar(2, 20, 0),
		storetest.LayerTar(1, 150, 0),
		storetest.LayerTar(77, 40, 0))}, m.Old[1:]...)
	path, sum := m.Save(t, sinceFirst(t, m), false)
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
	m := bundletest.NewMonths(t)
	path, _ := m.Save(t, sinceFirst(t, m), true)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, append(make([]byte, 8), bundle.DeltaDir+"/sha256/"...)) + 8      // behind padding: the manifest has the name, too
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
		site := storetest.Open(t)
		if _, err := Bundle(t.Context(), m.First, site, Options{}); err != nil {
			t.Fatal(err)
		}
		_, err := Bundle(t.Context(), path, site, Options{Replace: true})
		if err == nil || !strings.Contains(err.Error(), "sha256") {
			t.Fatalf("damage %d: %v, want an error that names the layer", i, err)
		}
		if e, _, _ := site.Lookup(m.Old[0].Name); e.Digest != m.Old[0].Digest {
			t.Errorf("damage %d: %s was changed", i, e.Name)
		}
	}
}

// TestDeltaOfUnreadableLayer checks that a layer that cannot be decompressed is carried
// whole, beside byte deltas of others.
func TestDeltaOfUnreadableLayer(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	content := storetest.LayerTar(31, 20, 0)
	m.Old = append(m.Old, storetest.PutImage(t, m.St, "kolla/odd:t", content))
	if _, err := save.Bundle(t.Context(), m.St, m.Old, m.First, save.Options{}); err != nil {
		t.Fatal(err)
	}
	odd := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	odd.Layers = append(odd.Layers, storetest.PutBlob(t, m.St, append([]byte("\x1f\x8b\x08"), content[:5000]...),
		ocispec.MediaTypeImageLayerGzip))
	raw, err := json.Marshal(ocispec.Image{Platform: ocispec.Platform{OS: "linux", Architecture: "amd64"},
		RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(content)}}})
	if err != nil {
		t.Fatal(err)
	}
	odd.Config = storetest.PutBlob(t, m.St, raw, ocispec.MediaTypeImageConfig)
	if raw, err = json.Marshal(odd); err != nil {
		t.Fatal(err)
	}
	e := store.Entry{Name: "kolla/odd:t", Digest: storetest.PutBlob(t, m.St, raw, odd.MediaType).Digest,
		Kind: store.KindBuilt}
	if err := m.St.Put(e); err != nil {
		t.Fatal(err)
	}
	m.Now = append(m.Now, e)

	// Nothing large goes to the system's temporary directory.
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	path, sum := m.Save(t, sinceFirst(t, m), true)
	if sum.Deltas != 5 {
		t.Errorf("%d byte deltas, want 5", sum.Deltas)
	}
	site := storetest.Open(t)
	for _, bundle := range []string{m.First, path} {
		if _, err := Bundle(t.Context(), bundle, site, Options{Replace: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := site.Verify(t.Context(), e.Digest); err != nil {
		t.Error(err)
	}
	for _, st := range []*store.Store{m.St, site} {
		if leftover, err := os.ReadDir(st.TempDir()); err != nil || len(leftover) > 0 {
			t.Errorf("left in %s: %v (%v)", st.TempDir(), leftover, err)
		}
	}
}

// TestDeltaOfUnlistedBase checks that a byte delta is not applied to a layer that the
// bundle does not require, such as one that it brings itself.
func TestDeltaOfUnlistedBase(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	path, _ := m.Save(t, sinceFirst(t, m), true)
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
		if h.Name == bundle.ManifestName {
			continue // it would notice the change
		}
		if h.Name == bundle.DeltaListName {
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
	site := storetest.Open(t)
	if _, err := Bundle(t.Context(), m.First, site, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Bundle(t.Context(), path, site, Options{Replace: true}); err == nil ||
		!strings.Contains(err.Error(), "is not in "+bundle.DeltaListName) {
		t.Errorf("%v, want an error about %s", err, bundle.DeltaListName)
	}
}

// TestSumOfWorkIsBounded checks that a byte delta is not applied if the deltas of the bundle make too much.
func TestSumOfWorkIsBounded(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	path, _ := m.Save(t, sinceFirst(t, m), true)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	tarSize := regexp.MustCompile(`("base":\{.*"size":)\d+(.*"tar_size":)\d+`)
	var items []bundletest.Item
	for _, i := range bundletest.Unpack(t, data) {
		if i.H.Name == bundle.ManifestName {
			continue // it would notice the change
		}
		if strings.HasPrefix(i.H.Name, bundle.DeltaDir) {
			z := testenv.Must[*zstd.Decoder](t)(zstd.NewReader(nil))
			plain := testenv.Must[[]byte](t)(z.DecodeAll([]byte(i.C), nil))
			start := bytes.IndexByte(plain, '\n') + 1
			length, n := binary.Uvarint(plain[start:])
			header := plain[start+n : start+n+int(length)]
			forged := tarSize.ReplaceAll(header, []byte("${1}1000000000000${2}200000000000"))
			if bytes.Equal(forged, header) {
				t.Fatalf("%s has no size of the base's tar", header)
			}
			changed := binary.AppendUvarint(bytes.Clone(plain[:start]), uint64(len(forged)))
			changed = append(append(changed, forged...), plain[start+n+int(length):]...)
			e := testenv.Must[*zstd.Encoder](t)(zstd.NewWriter(nil))
			i = bundletest.File(i.H.Name, string(e.EncodeAll(changed, nil)))
		}
		items = append(items, i)
	}
	if err := os.WriteFile(path, bundletest.Tar(t, items...), 0o644); err != nil {
		t.Fatal(err)
	}
	site := storetest.Open(t)
	if _, err := Bundle(t.Context(), m.First, site, Options{}); err != nil {
		t.Fatal(err)
	}
	if _, err := Bundle(t.Context(), path, site, Options{Replace: true}); err == nil ||
		!strings.Contains(err.Error(), "the byte deltas of the bundle so far make more than") {
		t.Errorf("got %v", err)
	}
}

// templess is a source without a directory for temporary files, as a registry is.
type templess struct{ *store.Store }

func (templess) TempDir() string { return "" }

// Byte deltas for a directory are made beside it, also if it does not exist yet.
func TestByteDeltasToDirectory(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	since := sinceFirst(t, m)
	out := filepath.Join(t.TempDir(), "media", "delta") + "/"
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "missing"))
	for range 2 { // into a new directory and into an existing one
		sum, err := save.Bundle(t.Context(), templess{m.St}, m.Now, out,
			save.Options{Since: since, ByteDeltas: true, ReadOnce: true})
		if err != nil || sum.Deltas != 5 || len(sum.Extra) > 0 {
			t.Errorf("%d byte deltas, want 5 (%v); left %v", sum.Deltas, err, sum.Extra)
		}
	}
}

// Without space for the temporary files of byte deltas, save and load say so. Save does not
// carry the layers whole instead, and load stores none of them.
func TestByteDeltasNeedSpace(t *testing.T) {
	testenv.Slow(t)
	m := bundletest.NewMonths(t)
	since := sinceFirst(t, m)
	for _, size := range []string{"1m", "4m"} { // too small for what is known before, and for a base
		out := filepath.Join(testenv.Tmpfs(t, size), "delta.tar")
		_, err := save.Bundle(t.Context(), templess{m.St}, m.Now, out,
			save.Options{Since: since, ByteDeltas: true, ReadOnce: true})
		var full *store.FullError
		if !errors.As(err, &full) || full.Path != filepath.Dir(out) || !strings.Contains(usererr.Hint(err), "--delta") {
			t.Errorf("saving to %s: %v (hint %q)", size, err, usererr.Hint(err))
		}
		if leftover, err := os.ReadDir(filepath.Dir(out)); err != nil || len(leftover) > 0 {
			t.Errorf("saving to %s left %v (%v)", size, leftover, err)
		}
	}
	path, _ := m.Save(t, since, true)
	site, err := store.Open(filepath.Join(testenv.Tmpfs(t, "8m"), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { site.Close() })
	if _, err := Bundle(t.Context(), m.First, site, Options{}); err != nil {
		t.Fatal(err)
	}
	_, err = Bundle(t.Context(), path, site, Options{Replace: true})
	var full *store.FullError
	if !errors.As(err, &full) || full.Err != nil || full.Need < 3<<20 {
		t.Errorf("loading: %v", err)
	}
	for _, e := range m.Now[:4] {
		blobs, err := m.St.Blobs(t.Context(), e.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range blobs {
			if strings.Contains(b.MediaType, "layer") && site.HasBlob(b.Digest, b.Size) && !since.Has(b) {
				t.Errorf("layer %s of %s was stored", b.Digest, e.Name)
			}
		}
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
