package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Image returns the image with this manifest digest. Layers are read when they
// are asked for, and checked against their digests while they are read.
func (s *Store) Image(d digest.Digest) (v1.Image, error) {
	b, m, err := s.readDocument(d)
	if err != nil {
		return nil, fmt.Errorf("reading image: %w", err)
	}
	if m.Manifests != nil {
		return nil, fmt.Errorf("reading image %s: it is an index of %d images", d, len(m.Manifests))
	}
	man, err := v1.ParseManifest(bytes.NewReader(b))
	if err != nil {
		return nil, fmt.Errorf("reading image: manifest %s: %w", d, err)
	}
	return partial.CompressedToImage(&image{s: s, raw: b, manifest: man, mediaType: types.MediaType(m.mediaType())})
}

// ImageIndex returns the multi-platform image with this digest.
func (s *Store) ImageIndex(d digest.Digest) (v1.ImageIndex, error) {
	b, m, err := s.readDocument(d)
	if err != nil {
		return nil, fmt.Errorf("reading image index: %w", err)
	}
	if m.Manifests == nil {
		return nil, fmt.Errorf("reading image index %s: it is a single image", d)
	}
	return &index{s: s, raw: b, mediaType: types.MediaType(m.mediaType())}, nil
}

func (s *Store) readDocument(d digest.Digest) ([]byte, document, error) {
	var m document
	if err := d.Validate(); err != nil {
		return nil, m, fmt.Errorf("digest %q: %w", d, err)
	}
	s.touch(d)
	b, err := s.readSmall(ocispec.Descriptor{Digest: d}, "manifest")
	if err != nil {
		return nil, m, err
	}
	if err := json.Unmarshal(b, &m); err != nil {
		return nil, m, &BlobError{Digest: d, Of: "manifest", Path: s.blobPath(d), Detail: "not a manifest", Err: err}
	}
	return b, m, nil
}

// image is what partial needs to make a v1.Image of.
type image struct {
	s         *Store
	raw       []byte
	manifest  *v1.Manifest
	mediaType types.MediaType
}

func (i *image) RawManifest() ([]byte, error)        { return i.raw, nil }
func (i *image) Manifest() (*v1.Manifest, error)     { return i.manifest.DeepCopy(), nil }
func (i *image) MediaType() (types.MediaType, error) { return i.mediaType, nil }

func (i *image) RawConfigFile() ([]byte, error) {
	return i.s.readSmall(ocispec.Descriptor{Digest: digest.Digest(i.manifest.Config.Digest.String())}, "config")
}

func (i *image) LayerByDigest(h v1.Hash) (partial.CompressedLayer, error) {
	if h == i.manifest.Config.Digest {
		return &layer{s: i.s, desc: i.manifest.Config}, nil
	}
	for _, d := range i.manifest.Layers {
		if d.Digest == h {
			return &layer{s: i.s, desc: d}, nil
		}
	}
	return nil, fmt.Errorf("image has no layer %s", h)
}

type layer struct {
	s    *Store
	desc v1.Descriptor
}

func (l *layer) Digest() (v1.Hash, error)            { return l.desc.Digest, nil }
func (l *layer) Size() (int64, error)                { return l.desc.Size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return l.desc.MediaType, nil }
func (l *layer) Descriptor() (*v1.Descriptor, error) { return &l.desc, nil }
func (l *layer) Compressed() (io.ReadCloser, error) {
	return l.s.OpenBlob(digest.Digest(l.desc.Digest.String()))
}
func (l *layer) Exists() (bool, error) {
	return l.s.HasBlob(digest.Digest(l.desc.Digest.String()), l.desc.Size), nil
}

// index implements v1.ImageIndex on the store.
type index struct {
	s         *Store
	raw       []byte
	mediaType types.MediaType
}

func (x *index) MediaType() (types.MediaType, error) { return x.mediaType, nil }
func (x *index) Digest() (v1.Hash, error)            { return partial.Digest(x) }
func (x *index) Size() (int64, error)                { return int64(len(x.raw)), nil }
func (x *index) RawManifest() ([]byte, error)        { return x.raw, nil }
func (x *index) IndexManifest() (*v1.IndexManifest, error) {
	return v1.ParseIndexManifest(bytes.NewReader(x.raw))
}
func (x *index) Image(h v1.Hash) (v1.Image, error) { return x.s.Image(digest.Digest(h.String())) }
func (x *index) ImageIndex(h v1.Hash) (v1.ImageIndex, error) {
	return x.s.ImageIndex(digest.Digest(h.String()))
}

// WriteImage copies an image's layers, config and manifest into the store and
// returns the manifest's digest. Blobs that are here are not read again. The
// image has no name yet: Put gives it one; until then only GC by another
// process removes it.
func (s *Store) WriteImage(ctx context.Context, img v1.Image) (digest.Digest, error) {
	d, err := s.writeImage(ctx, img)
	if err != nil {
		return "", fmt.Errorf("writing image to store: %w", err)
	}
	return d, nil
}

func (s *Store) writeImage(ctx context.Context, img v1.Image) (digest.Digest, error) {
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	for i, l := range layers {
		if err := s.writeLayer(ctx, l); err != nil {
			return "", fmt.Errorf("layer %d of %d: %w", i+1, len(layers), err)
		}
	}
	config, err := img.RawConfigFile()
	if err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	name, err := img.ConfigName()
	if err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	if _, _, err := s.WriteBlob(ctx, bytes.NewReader(config), digest.Digest(name.String()), int64(len(config))); err != nil {
		return "", fmt.Errorf("config: %w", err)
	}
	raw, err := img.RawManifest()
	if err != nil {
		return "", fmt.Errorf("manifest: %w", err)
	}
	d, _, err := s.WriteBlob(ctx, bytes.NewReader(raw), digest.FromBytes(raw), int64(len(raw)))
	return d, err
}

func (s *Store) writeLayer(ctx context.Context, l v1.Layer) error {
	want, size := digest.Digest(""), int64(-1)
	switch h, err := l.Digest(); {
	case errors.Is(err, stream.ErrNotComputed):
		// A streamed layer has no digest before it is read.
	case err != nil:
		return err
	default:
		want = digest.Digest(h.String())
		if size, err = l.Size(); err != nil {
			return err
		}
		if s.HasBlob(want, size) {
			return nil
		}
	}
	if mt, err := l.MediaType(); err == nil && !mt.IsDistributable() && want != "" {
		return nil
	}
	rc, err := l.Compressed()
	if err != nil {
		return err
	}
	_, _, err = s.WriteBlob(ctx, rc, want, size)
	if cerr := rc.Close(); err == nil {
		err = cerr
	}
	return err
}

// WriteIndex copies a multi-platform image with all its images into the store
// and returns the index's digest.
func (s *Store) WriteIndex(ctx context.Context, idx v1.ImageIndex) (digest.Digest, error) {
	return s.writeIndex(ctx, idx, 0)
}

func (s *Store) writeIndex(ctx context.Context, idx v1.ImageIndex, depth int) (digest.Digest, error) {
	m, err := idx.IndexManifest()
	if err != nil {
		return "", fmt.Errorf("writing image index to store: %w", err)
	}
	if depth > 3 {
		return "", errors.New("writing image index to store: indexes nested too deeply")
	}
	for _, d := range m.Manifests {
		switch {
		case d.MediaType.IsIndex():
			sub, err := idx.ImageIndex(d.Digest)
			if err != nil {
				return "", fmt.Errorf("writing image index to store: %w", err)
			}
			if _, err := s.writeIndex(ctx, sub, depth+1); err != nil {
				return "", err
			}
		default:
			img, err := idx.Image(d.Digest)
			if err != nil {
				return "", fmt.Errorf("writing image index to store: %w", err)
			}
			if _, err := s.WriteImage(ctx, img); err != nil {
				return "", err
			}
		}
	}
	raw, err := idx.RawManifest()
	if err != nil {
		return "", fmt.Errorf("writing image index to store: %w", err)
	}
	d, _, err := s.WriteBlob(ctx, bytes.NewReader(raw), digest.FromBytes(raw), int64(len(raw)))
	return d, err
}
