package setcopy

import (
	"context"
	"errors"
	"fmt"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// walk calls visit for the blobs of an image that the destination does not have yet,
// without its artifacts.
func walk(ctx context.Context, p pair, d digest.Digest, visit func(digest.Digest, int64) error) error {
	return walkTree(ctx, p, d, 4, map[digest.Digest]bool{}, visit)
}

// maxManifests bounds the manifests of one image, those of indexes in its index included.
const maxManifests = ocijson.MaxManifests

func walkTree(ctx context.Context, p pair, d digest.Digest, depth int, seen map[digest.Digest]bool, visit func(digest.Digest, int64) error) error {
	switch {
	case seen[d]:
		return nil
	case depth == 0:
		return errors.New("indexes are nested too deep")
	case len(seen) > maxManifests:
		return fmt.Errorf("it has more than %d manifests", maxManifests)
	}
	seen[d] = true
	if there, err := p.to.Has(ctx, d); err != nil || there {
		return err
	}
	m, err := p.from.Manifest(ctx, d.String())
	if err != nil {
		return err
	}
	parsed, err := ocijson.Parse(m.Raw)
	if err != nil {
		return err
	}
	for _, child := range parsed.Manifests {
		if err := walkTree(ctx, p, child.Digest, depth-1, seen, visit); err != nil {
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
		if err := visit(blob.Digest, blob.Size); err != nil {
			return err
		}
	}
	return nil
}
