package setcopy

import (
	"context"
	"errors"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// walk calls visit for the blobs of an image that the destination does not have yet,
// without its artifacts.
func walk(ctx context.Context, p pair, d digest.Digest, visit func(digest.Digest, int64) error) error {
	return walkTree(ctx, p, d, 4, visit)
}

func walkTree(ctx context.Context, p pair, d digest.Digest, depth int, visit func(digest.Digest, int64) error) error {
	if depth == 0 {
		return errors.New("indexes are nested too deep")
	}
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
		if err := walkTree(ctx, p, child.Digest, depth-1, visit); err != nil {
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
