package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/stream"
	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// WriteImage copies an image's layers, config and manifest into the store and
// returns the manifest's digest. Blobs that the store has are not read from img.
// Until Put gives the image a name, GC by another process can remove it.
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
	if len(layers) > ocijson.MaxLayers {
		return "", fmt.Errorf("it has %d layers, more than %d", len(layers), ocijson.MaxLayers)
	}
	for i, l := range layers {
		if err := ctx.Err(); err != nil {
			return "", err
		}
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
	_, _, err = s.WriteBlob(ctx, bytes.NewReader(config), digest.Digest(name.String()), int64(len(config)))
	if err != nil {
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
		// The digest of a streamed layer is known when it has been read.
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
	return s.writeIndex(ctx, idx, 0, map[digest.Digest]bool{})
}

func (s *Store) writeIndex(ctx context.Context, idx v1.ImageIndex, depth int,
	seen map[digest.Digest]bool) (digest.Digest, error) {
	m, err := idx.IndexManifest()
	if err != nil {
		return "", fmt.Errorf("writing image index to store: %w", err)
	}
	if depth >= ocijson.MaxNesting && len(m.Manifests) > 0 {
		return "", errors.New("writing image index to store: indexes nested too deeply")
	}
	if len(m.Manifests) > ocijson.MaxManifests {
		return "", fmt.Errorf("writing image index to store: it has %d manifests, more than %d", len(m.Manifests),
			ocijson.MaxManifests)
	}
	for _, d := range m.Manifests {
		child := digest.Digest(d.Digest.String())
		if seen[child] {
			continue
		}
		seen[child] = true
		switch {
		case d.MediaType.IsIndex():
			sub, err := idx.ImageIndex(d.Digest)
			if err != nil {
				return "", fmt.Errorf("writing image index to store: %w", err)
			}
			if _, err := s.writeIndex(ctx, sub, depth+1, seen); err != nil {
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
