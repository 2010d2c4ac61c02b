package compress_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"gzip": "gzip:6", "gzip:1": "gzip:1", "gzip:9": "gzip:9", "zstd": "zstd:3",
		"zstd:22": "zstd:22", "estargz": "estargz:6",
		"gzip:0": "", "gzip:10": "", "zstd:23": "", "gzip:": "", "gzip:x": "", "lz4": "", "": "", "GZIP": "",
	} {
		s, err := compress.Parse(text)
		if want == "" {
			if err == nil {
				t.Errorf("Parse(%q) = %v, want an error", text, s)
			}
		} else if err != nil || s.String() != want {
			t.Errorf("Parse(%q) = %v, %v, want %s", text, s, err, want)
		}
	}
}

// blobs is a source and a store in memory.
type blobs struct {
	mu     sync.Mutex
	m      map[digest.Digest][]byte
	known  map[string]compress.Layer
	opened map[digest.Digest]int
	writes atomic.Int64
	fail   error
}

func newBlobs() *blobs {
	return &blobs{m: map[digest.Digest][]byte{}, known: map[string]compress.Layer{}, opened: map[digest.Digest]int{}}
}

func (b *blobs) put(content []byte) digest.Digest {
	d := digest.FromBytes(content)
	b.m[d] = content
	return d
}

func (b *blobs) putJSON(t *testing.T, v any) (digest.Digest, int64) {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b.put(raw), int64(len(raw))
}

func (b *blobs) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	content, ok := b.m[d]
	if !ok {
		return nil, errors.New("no blob " + d.String())
	}
	b.opened[d]++
	return io.NopCloser(bytes.NewReader(content)), nil
}

func (b *blobs) WriteBlob(_ context.Context, r io.Reader, want digest.Digest, _ int64) (digest.Digest, int64, error) {
	b.writes.Add(1)
	if b.fail != nil {
		return "", 0, b.fail
	}
	content, err := io.ReadAll(r)
	if err != nil {
		return "", 0, err
	}
	d := digest.FromBytes(content)
	if want != "" && d != want {
		return "", 0, errors.New("wrong digest")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.m[d] = content
	return d, int64(len(content)), nil
}

func (b *blobs) Compressed(diffID digest.Digest, version string) (compress.Layer, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	l, ok := b.known[version+diffID.String()]
	return l, ok
}

func (b *blobs) RecordCompressed(diffID digest.Digest, version string, l compress.Layer) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.known[version+diffID.String()] = l
	return nil
}

// tarOf returns a tar with one file of a size.
func tarOf(t *testing.T, name string, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := w.WriteHeader(&tar.Header{Name: name, Size: int64(size), Mode: 0o644, Typeflag: tar.TypeReg}); err != nil {
		t.Fatal(err)
	}
	content := make([]byte, size)
	rng := rand.New(rand.NewPCG(1, uint64(len(name))))
	for i := range content {
		content[i] = byte('a' + rng.IntN(8))
	}
	_, _ = w.Write(content)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// image puts an image of plain layers and returns its manifest's digest.
func (b *blobs) image(t *testing.T, layers ...[]byte) digest.Digest {
	t.Helper()
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest}
	var diffIDs []digest.Digest
	for _, l := range layers {
		d := b.put(l)
		diffIDs = append(diffIDs, d)
		m.Layers = append(m.Layers, ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayer,
			Digest: d, Size: int64(len(l))})
	}
	config := map[string]any{"architecture": "amd64", "os": "linux", "x-unknown": "stays",
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs}}
	m.Config.MediaType = ocispec.MediaTypeImageConfig
	m.Config.Digest, m.Config.Size = b.putJSON(t, config)
	d, _ := b.putJSON(t, m)
	return d
}

func (b *blobs) manifest(t *testing.T, d digest.Digest) (m ocispec.Manifest) {
	t.Helper()
	if err := json.Unmarshal(b.m[d], &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func settings(t *testing.T, text string) compress.Settings {
	t.Helper()
	s, err := compress.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func decompress(t *testing.T, mediaType string, content []byte) []byte {
	t.Helper()
	var r io.Reader
	var err error
	if mediaType == ocispec.MediaTypeImageLayerZstd {
		var d *zstd.Decoder
		d, err = zstd.NewReader(bytes.NewReader(content))
		r = d
	} else {
		r, err = gzip.NewReader(bytes.NewReader(content))
	}
	if err != nil {
		t.Fatal(err)
	}
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestImage(t *testing.T) {
	for _, name := range []string{"gzip", "gzip:1", "zstd", "zstd:19", "estargz"} {
		t.Run(name, func(t *testing.T) {
			source, store := newBlobs(), newBlobs()
			first, second := tarOf(t, "first", 300_000), tarOf(t, "second", 10)
			in := source.image(t, first, second)
			c := compress.New(compress.Options{Settings: settings(t, name), Source: source, Store: store,
				Workers: 2, TempDir: t.TempDir()})
			desc, err := c.Image(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			m := store.manifest(t, desc.Digest)
			var config struct {
				Unknown string `json:"x-unknown"`
				RootFS  struct {
					DiffIDs []digest.Digest `json:"diff_ids"`
				} `json:"rootfs"`
			}
			if err := json.Unmarshal(store.m[m.Config.Digest], &config); err != nil || config.Unknown != "stays" {
				t.Errorf("config: %v, %+v", err, config)
			}
			for i, l := range m.Layers {
				if l.MediaType != settings(t, name).MediaType() || l.Size != int64(len(store.m[l.Digest])) {
					t.Errorf("layer %d: %+v", i, l)
				}
				if got := digest.FromBytes(decompress(t, l.MediaType, store.m[l.Digest])); got != config.RootFS.DiffIDs[i] {
					t.Errorf("layer %d has diff ID %s, the config says %s", i, got, config.RootFS.DiffIDs[i])
				}
			}
			if name != "estargz" && m.Config.Digest != source.manifest(t, in).Config.Digest {
				t.Error("the config changed")
			}

			// A second conversion of the source gives the same bytes.
			again := newBlobs()
			other, err := compress.New(compress.Options{Settings: settings(t, name), Source: source, Store: again,
				TempDir: t.TempDir()}).Image(t.Context(), in)
			if err != nil || other.Digest != desc.Digest {
				t.Errorf("another compressor: %s, %v, want %s", other.Digest, err, desc.Digest)
			}
		})
	}
}

// TestOnce checks that a shared layer is compressed once, for concurrent images, later
// ones and other processes.
func TestOnce(t *testing.T) {
	source, store := newBlobs(), newBlobs()
	shared := tarOf(t, "shared", 2_000_000)
	var images []digest.Digest
	for i := range 8 {
		images = append(images, source.image(t, shared, tarOf(t, "own"+string(rune('a'+i)), 100+i)))
	}
	c := compress.New(compress.Options{Settings: compress.Default, Source: source, Store: store, Workers: 4})
	var wg sync.WaitGroup
	for _, d := range images {
		wg.Go(func() {
			if _, err := c.Image(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	next := compress.New(compress.Options{Settings: compress.Default, Source: source, Store: store, Workers: 4})
	if _, err := next.Image(t.Context(), images[0]); err != nil {
		t.Fatal(err)
	}
	if n := source.opened[digest.FromBytes(shared)]; n != 1 {
		t.Errorf("the shared layer was read %d times", n)
	}
}

// TestCompressedLayers checks that compressed layers of final images stay as they are,
// and that others are compressed again: the bytes must not depend on a builder's cache.
func TestCompressedLayers(t *testing.T) {
	source, store := newBlobs(), newBlobs()
	in := source.image(t, tarOf(t, "base", 1000))
	want, err := compress.New(compress.Options{Settings: settings(t, "zstd"), Source: source,
		Store: newBlobs()}).Image(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	m := source.manifest(t, in)
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(source.m[m.Layers[0].Digest])
	_ = w.Close()
	m.Layers[0] = ocispec.Descriptor{MediaType: ocispec.MediaTypeImageLayerGzip,
		Digest: source.put(b.Bytes()), Size: int64(b.Len())}
	in, _ = source.putJSON(t, m)
	c := compress.New(compress.Options{Settings: settings(t, "zstd"), Source: source, Store: store})
	if desc, err := c.Image(t.Context(), in); err != nil || desc.Digest != want.Digest {
		t.Errorf("a layer as a cache has it: %s, %v, want %s", desc.Digest, err, want.Digest)
	}
	c.Keep(m.Layers[0].Digest)
	desc, err := c.Image(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	if got := store.manifest(t, desc.Digest).Layers[0]; got.Digest != m.Layers[0].Digest ||
		got.MediaType != ocispec.MediaTypeImageLayerGzip {
		t.Errorf("layer %+v, want %+v", got, m.Layers[0])
	}
}

func TestErrors(t *testing.T) {
	source, store := newBlobs(), newBlobs()
	good := source.image(t, tarOf(t, "x", 100_000))
	m := source.manifest(t, good)
	noLayer := m
	noLayer.Layers = []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayer,
		Digest: digest.FromString("none"), Size: 4}}
	// A frame that demands a window of 512 MiB.
	bomb := m
	bomb.Layers = []ocispec.Descriptor{{MediaType: ocispec.MediaTypeImageLayerZstd,
		Digest: source.put([]byte("\x28\xb5\x2f\xfd\x00\x98\x01\x00\x00")), Size: 9}}
	demanding, _ := source.putJSON(t, bomb)
	tooMany := m
	tooMany.Layers = append(append([]ocispec.Descriptor{}, m.Layers...), m.Layers...)
	var cases []digest.Digest
	for _, v := range []any{noLayer, tooMany, "not a manifest"} {
		d, _ := source.putJSON(t, v)
		cases = append(cases, d)
	}
	cases = append(cases, digest.FromString("no manifest"))
	c := compress.New(compress.Options{Settings: compress.Default, Source: source, Store: store})
	for _, d := range cases {
		if _, err := c.Image(t.Context(), d); err == nil {
			t.Errorf("image %s: no error", source.m[d])
		}
	}
	if _, err := c.Image(t.Context(), demanding); !errors.Is(err, zstd.ErrWindowSizeExceeded) {
		t.Errorf("a layer that demands memory: %v", err)
	}
	full := newBlobs()
	full.fail = errors.New("no space left")
	if _, err := compress.New(compress.Options{Settings: compress.Default, Source: source, Store: full}).Image(t.Context(),
		good); !errors.Is(err, full.fail) {
		t.Errorf("a full store: %v", err)
	}
}
