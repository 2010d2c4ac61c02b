package store

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/units"
)

// Image returns the image with this manifest digest. Layers are verified while
// they are read.
func (s *Store) Image(d digest.Digest) (v1.Image, error) {
	return newImage(s, d, false)
}

// ForUpload returns the image or index with this digest, one of them nil, for an upload to a
// registry, which verifies what it receives: the first reader of a layer that was verified lately
// does not verify it again. Further readers do, so that damage is found when the registry does not
// accept the content.
func (s *Store) ForUpload(d digest.Digest) (v1.Image, v1.ImageIndex, error) {
	raw, m, err := s.document(d)
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("reading image: %w", err)
	case m.IsIndex():
		return nil, s.indexOf(raw, m, true), nil
	}
	img, err := imageFrom(s, d, raw, m, true)
	return img, nil, err
}

// blobReader is a place that images are read from.
type blobReader interface {
	document(d digest.Digest) ([]byte, ocijson.Document, error)
	readSmall(d digest.Digest, kind string) ([]byte, error)
	OpenBlob(d digest.Digest) (io.ReadCloser, error)
	HasBlob(d digest.Digest, size int64) bool
}

func newImage(s blobReader, d digest.Digest, upload bool) (v1.Image, error) {
	raw, m, err := s.document(d)
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	if m.IsIndex() {
		return nil, fmt.Errorf("reading image %s: it is an index of %s", d, units.Count(len(m.Manifests), "image"))
	}
	return imageFrom(s, d, raw, m, upload)
}

// imageFrom returns the image with a manifest that has been read.
func imageFrom(s blobReader, d digest.Digest, raw []byte, m ocijson.Document, upload bool) (v1.Image, error) {
	parsed, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("reading image: manifest %s: %w", d, err)
	}
	return partial.CompressedToImage(&image{
		s:         s,
		raw:       raw,
		manifest:  parsed,
		mediaType: types.MediaType(mediaTypeOf(m)),
		upload:    upload,
	})
}

// ImageIndex returns the multi-platform image with this digest.
func (s *Store) ImageIndex(d digest.Digest) (v1.ImageIndex, error) {
	return s.imageIndex(d, false)
}

func (s *Store) imageIndex(d digest.Digest, upload bool) (v1.ImageIndex, error) {
	raw, m, err := s.document(d)
	if err != nil {
		return nil, fmt.Errorf("reading image index: %w", err)
	}
	if !m.IsIndex() {
		return nil, fmt.Errorf("reading image index %s: it is a single image", d)
	}
	return s.indexOf(raw, m, upload), nil
}

// indexOf returns the index with a document that has been read.
func (s *Store) indexOf(raw []byte, m ocijson.Document, upload bool) *index {
	return &index{s: s, raw: raw, mediaType: types.MediaType(mediaTypeOf(m)), upload: upload}
}

// Platforms returns the platforms that an image is for, such as "linux/amd64".
func (s *Store) Platforms(e Entry) []string {
	if e.Platform != "" {
		return []string{e.Platform}
	}
	_, m, err := s.document(e.Digest)
	if err != nil {
		return nil
	}
	var out []string
	for _, c := range m.Manifests {
		if c.Platform != nil && c.Platform.OS != "" && c.Platform.OS != "unknown" {
			out = append(out, FormatPlatform(*c.Platform))
		}
	}
	return out
}

func (s *Store) document(d digest.Digest) ([]byte, ocijson.Document, error) {
	s.touch(d)
	b, err := s.readSmall(d, "manifest")
	if err != nil {
		return nil, ocijson.Document{}, err
	}
	m, err := ocijson.Parse(b)
	if err != nil {
		return nil, m, &BlobError{Digest: d, Of: "manifest", Path: s.blobPath(d), Detail: "not a manifest", Err: err}
	}
	return b, m, nil
}

// image implements partial.CompressedImageCore on the store.
type image struct {
	s         blobReader
	raw       []byte
	manifest  *v1.Manifest
	mediaType types.MediaType
	upload    bool // see ForUpload
}

func (i *image) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *image) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }
func (i *image) MediaType() (types.MediaType, error) { return i.mediaType, nil }

func (i *image) RawConfigFile() ([]byte, error) {
	d := digest.Digest(i.manifest.Config.Digest.String())
	b, err := i.s.readSmall(d, "config")
	if err != nil {
		return nil, err
	}
	if _, err := ocijson.ParseConfig(b); err != nil && json.Valid(b) {
		// Without this check, other parsers could allocate too much memory.
		return nil, &BlobError{Digest: d, Of: "config", Detail: "not an image config", Err: err}
	}
	return b, nil
}

func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == i.manifest.Config.Digest {
		return &layer{s: i.s, desc: i.manifest.Config}, nil
	}
	for _, d := range i.manifest.Layers {
		if d.Digest == h {
			return &layer{s: i.s, desc: d, upload: i.upload}, nil
		}
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

type layer struct {
	s      blobReader
	desc   v1.Descriptor
	upload bool        // see ForUpload
	opened atomic.Bool // of an upload
}

func (l *layer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layer) Descriptor() (*v1.Descriptor, error) { return &l.desc, nil }

// Compressed opens the layer.
func (l *layer) Compressed() (io.ReadCloser, error) {
	d := digest.Digest(l.desc.Digest.String())
	if s, ok := l.s.(*Store); ok && l.upload && !l.opened.Swap(true) {
		if f, ok := s.openVerified(d); ok {
			return f, nil
		}
	}
	return l.s.OpenBlob(d)
}

func (l *layer) Exists() (bool, error) {
	return l.s.HasBlob(digest.Digest(l.desc.Digest.String()), l.desc.Size), nil
}

// index implements v1.ImageIndex on the store.
type index struct {
	s         *Store
	raw       []byte
	mediaType types.MediaType
	upload    bool // see ForUpload
}

func (x *index) MediaType() (types.MediaType, error) { return x.mediaType, nil }
func (x *index) Digest() (v1.Hash, error)            { return partial.Digest(x) }
func (x *index) Size() (int64, error)                { return int64(len(x.raw)), nil }
func (x *index) RawManifest() ([]byte, error)        { return x.raw, nil }
func (x *index) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}
func (x *index) Image(h v1.Hash) (v1.Image, error) {
	return newImage(x.s, digest.Digest(h.String()), x.upload)
}
func (x *index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return x.s.imageIndex(digest.Digest(h.String()), x.upload)
}
