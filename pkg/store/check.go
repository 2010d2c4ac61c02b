package store

import (
	"context"
	"fmt"
	"os"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ctxio"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// visitStat checks that a blob exists and has the right size.
func visitStat(_ context.Context, s *Store, d ocispec.Descriptor, kind string) error {
	path := s.blobPath(d.Digest)
	st, err := os.Stat(path)
	if err != nil {
		return blobError(d.Digest, kind, path, err)
	}
	if d.Size >= 0 && st.Size() != d.Size {
		return &BlobError{
			Digest: d.Digest,
			Of:     kind,
			Path:   path,
			Detail: fmt.Sprintf("its size is %d, not %d", st.Size(), d.Size),
		}
	}
	return nil
}

// visitSmall is visitStat that reads configs too; walk itself reads manifests.
func visitSmall(ctx context.Context, s *Store, d ocispec.Descriptor, kind string) error {
	if kind == "config" {
		if _, err := s.readSmall(d.Digest, kind); err != nil {
			return err
		}
	}
	return visitStat(ctx, s, d, kind)
}

// visitHash checks that a blob's content matches its digest.
func visitHash(ctx context.Context, s *Store, d ocispec.Descriptor, kind string) error {
	if err := visitStat(ctx, s, d, kind); err != nil {
		return err
	}
	path := s.blobPath(d.Digest)
	f, err := inputfile.OpenRegular(path)
	if err != nil {
		return blobError(d.Digest, kind, path, err)
	}
	defer f.Close()
	h := d.Digest.Algorithm().Digester()
	if _, err := ctxio.Copy(ctx, h.Hash(), f); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return blobError(d.Digest, kind, path, err)
	}
	if got := h.Digest(); got != d.Digest {
		return &BlobError{Digest: d.Digest, Of: kind, Path: path, Detail: "its content has digest " + got.String()}
	}
	return nil
}

// Check checks that the image with this digest is complete: manifests and configs
// are verified, of layers only presence and size. The error is a *BlobError for
// the first blob that is missing or damaged.
func (s *Store) Check(ctx context.Context, d digest.Digest) error {
	if _, err := s.walk(ctx, d, visitSmall); err != nil {
		return fmt.Errorf("checking image %s: %w", d, err)
	}
	return nil
}

// CheckBlobs is Check that also verifies layers, except those that CheckBlob need not
// read. Damaged ones are removed, as by DropBad.
func (s *Store) CheckBlobs(ctx context.Context, d digest.Digest) error {
	if err := s.Check(ctx, d); err != nil {
		return err
	}
	blobs, err := s.Blobs(ctx, d)
	if err != nil {
		return err
	}
	for _, b := range blobs {
		switch damaged, err := s.CheckBlob(ctx, b.Digest); {
		case err != nil:
			return fmt.Errorf("checking image %s: %w", d, err)
		case damaged:
			return fmt.Errorf("checking image %s: %w", d,
				&BlobError{Digest: b.Digest, Detail: "its content was damaged, and was removed"})
		}
	}
	return nil
}

// Verify is Check that reads every blob and verifies its digest.
func (s *Store) Verify(ctx context.Context, d digest.Digest) error {
	if _, err := s.walk(ctx, d, visitHash); err != nil {
		return fmt.Errorf("verifying image %s: %w", d, err)
	}
	return nil
}

// Blobs returns the descriptors of all blobs of an image, each once, the image's
// own manifest first and other manifests before what they refer to, unless a
// manifest is a layer at the same time. Presence and sizes are checked.
func (s *Store) Blobs(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	var out []ocispec.Descriptor
	sum, err := s.walk(ctx, d, func(ctx context.Context, s *Store, d ocispec.Descriptor, kind string) error {
		out = append(out, d)
		return visitStat(ctx, s, d, kind)
	})
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", d, err)
	}
	out[0].MediaType = sum.mediaType
	return out, nil
}
