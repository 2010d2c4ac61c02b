package compress

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/stargz-snapshotter/estargz"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/memo"
)

// Source provides the manifests, configs and layers of exported images.
type Source interface {
	// OpenBlob opens a blob. The read that reaches the end returns an error instead of
	// io.EOF if the content does not have the digest.
	OpenBlob(d digest.Digest) (io.ReadCloser, error)
}

// Store stores compressed images. It remembers the compressed blob of each layer, so
// that a layer is compressed only once on a machine.
type Store interface {
	// WriteBlob stores the content of r. If a digest is given, the content must have
	// it, and r is not read if the store has the blob. "" and -1 mean unknown.
	WriteBlob(ctx context.Context, r io.Reader, want digest.Digest, size int64) (digest.Digest, int64, error)

	// Compressed returns the compressed form of the layer with this diff ID, if the
	// store has it. version is Settings.Version.
	Compressed(diffID digest.Digest, version string) (Layer, bool)

	// RecordCompressed remembers a compressed form.
	RecordCompressed(diffID digest.Digest, version string, l Layer) error
}

// Layer is the compressed form of a layer.
type Layer struct {
	Descriptor ocispec.Descriptor
	DiffID     digest.Digest // of the tar in it, which differs from the plain one's if the algorithm changes the tar
}

// Compressor compresses the layers of images. It may be used by several
// goroutines; each layer is compressed once.
type Compressor struct {
	settings Settings
	source   Source
	store    Store
	slots    chan struct{}
	temp     string
	layers   memo.Map[digest.Digest, Layer] // in their published form, by diff ID

	mu     sync.Mutex
	limits map[digest.Digest]time.Time // of the times in layers, by diff ID
	keep   map[digest.Digest]bool      // compressed layers that stay as they are
}

// Options are the settings of a Compressor.
type Options struct {
	Settings Settings
	Source   Source
	Store    Store
	Workers  int    // layers that are compressed at once, at least 1
	TempDir  string // for algorithms that read a layer twice; "" is the system's
}

// New returns a compressor.
func New(opts Options) *Compressor {
	return &Compressor{
		settings: opts.Settings,
		source:   opts.Source,
		store:    opts.Store,
		temp:     opts.TempDir,
		slots:    make(chan struct{}, max(1, opts.Workers)),
		limits:   map[digest.Digest]time.Time{},
		keep:     map[digest.Digest]bool{},
	}
}

// Keep marks compressed layers that must not change: those of images in their final
// form. A builder may export other layers compressed, if its cache has them so; these
// are compressed again, so that the result does not depend on a cache.
func (c *Compressor) Keep(layers ...digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range layers {
		c.keep[d] = true
	}
}

// ClampTimes limits the times in the published form of layers to limit. For each layer,
// given by its diff ID, the first call counts, which is for the image that added the
// layer. Layers that are kept do not change.
func (c *Compressor) ClampTimes(limit time.Time, diffIDs ...digest.Digest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, d := range diffIDs {
		if _, ok := c.limits[d]; !ok {
			c.limits[d] = limit
		}
	}
}

// Known sets the published form of a layer, which then need not be in the source.
func (c *Compressor) Known(diffID digest.Digest, l Layer) {
	c.layers.Set(diffID, l)
}

// maxDocument is the largest size of a manifest or config in bytes.
const maxDocument = 16 << 20

// Image writes the compressed form of the image with the given manifest to the
// store, and returns the descriptor of its manifest.
func (c *Compressor) Image(ctx context.Context, manifest digest.Digest) (ocispec.Descriptor, error) {
	desc, err := c.image(ctx, manifest)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("compressing image %s: %w", manifest, err)
	}
	return desc, nil
}

func (c *Compressor) image(ctx context.Context, manifest digest.Digest) (ocispec.Descriptor, error) {
	var m ocispec.Manifest
	if _, err := c.document(manifest, &m); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("manifest: %w", err)
	}
	var config struct {
		RootFS struct {
			DiffIDs []digest.Digest `json:"diff_ids"`
		} `json:"rootfs"`
	}
	raw, err := c.document(m.Config.Digest, &config)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("config: %w", err)
	}
	diffIDs := config.RootFS.DiffIDs
	if len(diffIDs) != len(m.Layers) {
		return ocispec.Descriptor{}, fmt.Errorf("%d layers, but %d diff IDs", len(m.Layers), len(diffIDs))
	}
	layers := make([]Layer, len(m.Layers))
	g, gctx := errgroup.WithContext(ctx)
	for i, l := range m.Layers {
		g.Go(func() error {
			var err error
			if layers[i], err = c.layer(gctx, l, diffIDs[i]); err != nil {
				return fmt.Errorf("layer %d of %d: %w", i+1, len(m.Layers), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return ocispec.Descriptor{}, err
	}
	before, changed := slices.Clone(diffIDs), false
	for i, l := range layers {
		m.Layers[i] = l.Descriptor
		changed = changed || l.DiffID != diffIDs[i]
		diffIDs[i] = l.DiffID
	}
	if changed {
		if raw, err = replaceDiffIDs(raw, before, diffIDs); err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("config: %w", err)
		}
		m.Config.Digest, m.Config.Size = digest.FromBytes(raw), int64(len(raw))
	}
	if _, _, err := c.store.WriteBlob(ctx, bytes.NewReader(raw), m.Config.Digest, m.Config.Size); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("config: %w", err)
	}
	out, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	desc := ocispec.Descriptor{MediaType: m.MediaType, Digest: digest.FromBytes(out), Size: int64(len(out))}
	_, _, err = c.store.WriteBlob(ctx, bytes.NewReader(out), desc.Digest, desc.Size)
	return desc, err
}

// document reads a small JSON blob, which must have its digest.
func (c *Compressor) document(d digest.Digest, into any) ([]byte, error) {
	r, err := c.source.OpenBlob(d)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	raw, err := inputfile.ReadAll(r, d.String(), maxDocument)
	if err != nil {
		return nil, err
	}
	return raw, json.Unmarshal(raw, into)
}

// layer returns the compressed form of a layer, and creates it if necessary.
func (c *Compressor) layer(ctx context.Context, l ocispec.Descriptor, diffID digest.Digest) (Layer, error) {
	c.mu.Lock()
	unchanged := c.keep[l.Digest]
	c.mu.Unlock()
	if unchanged {
		return c.copied(ctx, l, diffID)
	}
	return c.layers.Get(ctx, diffID, func() (Layer, error) { return c.compressed(ctx, l, diffID) })
}

// copied copies a layer without changing it.
func (c *Compressor) copied(ctx context.Context, l ocispec.Descriptor, diffID digest.Digest) (Layer, error) {
	r, err := c.source.OpenBlob(l.Digest)
	if err != nil {
		return Layer{}, err
	}
	defer r.Close()
	_, _, err = c.store.WriteBlob(ctx, r, l.Digest, l.Size)
	return Layer{Descriptor: l, DiffID: diffID}, err
}

func (c *Compressor) compressed(ctx context.Context, l ocispec.Descriptor, diffID digest.Digest) (Layer, error) {
	c.mu.Lock()
	limit, clamp := c.limits[diffID]
	c.mu.Unlock()
	version := c.settings.Version()
	if clamp {
		version += fmt.Sprintf(" times up to %d", limit.Unix())
	}
	if out, ok := c.store.Compressed(diffID, version); ok {
		return out, nil
	}
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return Layer{}, context.Cause(ctx)
	}
	copyTar := func(w io.Writer, r io.Reader) error {
		_, err := io.Copy(w, r)
		return err
	}
	if clamp {
		copyTar = func(w io.Writer, r io.Reader) error { return clampTimes(w, r, limit) }
	}
	out, err := c.compress(ctx, l, diffID, copyTar)
	if err != nil {
		return Layer{}, err
	}
	return out, c.store.RecordCompressed(diffID, version, out)
}

// compress makes the compressed form of a layer. copyTar copies its tar and may
// change it.
func (c *Compressor) compress(ctx context.Context, l ocispec.Descriptor, diffID digest.Digest,
	copyTar func(io.Writer, io.Reader) error) (Layer, error) {
	blob, err := c.source.OpenBlob(l.Digest)
	if err != nil {
		return Layer{}, err
	}
	defer blob.Close()
	content, err := plain(blob, l.MediaType)
	if err != nil {
		return Layer{}, err
	}
	defer content.Close()
	var r io.Reader = content
	// The source checks the digest of a plain layer while it is read.
	verified := l.Digest == diffID && !isCompressed(l.MediaType)
	sum := digest.Canonical.Digester()
	if !verified {
		r = io.TeeReader(r, sum.Hash())
	}
	var out Layer
	if c.settings.Algorithm == EStargz {
		out, err = c.eStargz(ctx, r, copyTar)
	} else {
		out, err = c.settings.stream(ctx, c.store, r, copyTar)
	}
	if err != nil {
		return Layer{}, err
	}
	if got := sum.Digest(); !verified && got != diffID {
		return Layer{}, fmt.Errorf("its tar has digest %s, the config says %s", got, diffID)
	}
	return out, nil
}

func isCompressed(mediaType string) bool {
	return strings.HasSuffix(mediaType, "gzip") || strings.HasSuffix(mediaType, "zstd")
}

// maxWindow is the memory that decompressing zstd may take, in bytes: zstd --ultra -22
// demands 128 MiB.
const maxWindow = 128 << 20

// plain returns the tar of a layer. Closing it does not close r.
func plain(r io.Reader, mediaType string) (io.ReadCloser, error) {
	switch {
	case strings.HasSuffix(mediaType, "gzip"):
		return gzip.NewReader(r)
	case strings.HasSuffix(mediaType, "zstd"):
		d, err := zstd.NewReader(r, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(1),
			zstd.WithDecoderLowmem(true))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(r), nil
}

// eStargz compresses a layer into the eStargz form, which reorders the tar.
func (c *Compressor) eStargz(ctx context.Context, r io.Reader, copyTar func(io.Writer, io.Reader) error) (
	Layer, error) {
	f, err := os.CreateTemp(c.temp, "layer-*")
	if err != nil {
		return Layer{}, err
	}
	defer f.Close()
	defer os.Remove(f.Name())
	if err := copyTar(f, r); err != nil {
		return Layer{}, err
	}
	length, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return Layer{}, err
	}
	blob, err := estargz.Build(io.NewSectionReader(f, 0, length), estargz.WithCompressionLevel(c.settings.Level),
		estargz.WithContext(ctx))
	if err != nil {
		return Layer{}, err
	}
	defer blob.Close()
	d, size, err := c.store.WriteBlob(ctx, blob, "", -1)
	if err != nil {
		return Layer{}, err
	}
	return Layer{
		DiffID: blob.DiffID(),
		Descriptor: ocispec.Descriptor{
			MediaType: c.settings.MediaType(),
			Digest:    d,
			Size:      size,
			Annotations: map[string]string{estargz.TOCJSONDigestAnnotation: blob.TOCDigest().String(),
				estargz.StoreUncompressedSizeAnnotation: fmt.Sprint(length)},
		},
	}, nil
}

// replaceDiffIDs returns a config with other diff IDs. The rest does not change, byte
// for byte if the config has the format of encoding/json.
func replaceDiffIDs(config []byte, before, after []digest.Digest) ([]byte, error) {
	oldIDs, err := json.Marshal(before)
	if err != nil {
		return nil, err
	}
	newIDs, err := json.Marshal(after)
	if err != nil {
		return nil, err
	}
	if bytes.Count(config, oldIDs) == 1 {
		return bytes.Replace(config, oldIDs, newIDs, 1), nil
	}
	var fields, rootfs map[string]json.RawMessage
	if err := json.Unmarshal(config, &fields); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(fields["rootfs"], &rootfs); err != nil {
		return nil, err
	}
	rootfs["diff_ids"] = newIDs
	if fields["rootfs"], err = json.Marshal(rootfs); err != nil {
		return nil, err
	}
	return json.Marshal(fields)
}
