package setcopy

import (
	"context"
	"errors"
	"fmt"

	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// walk calls visit for the blobs of an image, without its artifacts and without blobs of
// images that to already has. to may be nil.
func walk(ctx context.Context, from, to *registry.Repository, d digest.Digest,
	visit func(ocispec.Descriptor) error) error {
	return walkTree(ctx, from, to, d, ocijson.MaxNesting, map[digest.Digest]bool{}, visit)
}

// maxManifests bounds the manifests of one image, those of indexes in its index included.
const maxManifests = ocijson.MaxManifests

func walkTree(
	ctx context.Context, from, to *registry.Repository, d digest.Digest,
	depth int, seen map[digest.Digest]bool, visit func(ocispec.Descriptor) error,
) error {
	switch {
	case seen[d]:
		return nil
	case depth < 0:
		return errors.New("indexes are nested too deeply")
	case len(seen) > maxManifests:
		return fmt.Errorf("it has more than %d manifests", maxManifests)
	}
	seen[d] = true
	if to != nil {
		if present, err := to.Has(ctx, d); err != nil || present {
			return err
		}
	}
	m, err := from.Child(ctx, d)
	if err != nil {
		return err
	}
	parsed, err := ocijson.Parse(m.Raw)
	if err == nil && !parsed.IsArtifact() {
		err = parsed.CheckImage()
	}
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	for _, child := range parsed.Manifests {
		if err := walkTree(ctx, from, to, child.Digest, depth-1, seen, visit); err != nil {
			return err
		}
	}
	if parsed.Config != nil {
		parsed.Layers = append(parsed.Layers, *parsed.Config)
	}
	for _, blob := range parsed.Layers {
		if len(blob.URLs) > 0 {
			continue
		}
		if err := visit(blob); err != nil {
			return err
		}
	}
	return nil
}
