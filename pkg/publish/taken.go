package publish

import (
	"context"
	"errors"
	"fmt"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
)

// CurrentTags returns the images that names refer to in a registry, without names that do not
// exist.
func CurrentTags(ctx context.Context, client *registry.Client, names []string) (map[string]digest.Digest, error) {
	current := map[string]digest.Digest{}
	for _, h := range client.Heads(ctx, names) {
		var notFound *registry.NotFoundError
		switch {
		case h.Err == nil:
			current[h.Ref] = h.Descriptor.Digest
		case !errors.As(h.Err, &notFound):
			return nil, fmt.Errorf("registry: %w", h.Err)
		}
	}
	return current, nil
}

// CheckTaken returns a *push.TagsTakenError if references of the set refer to other images in
// the registry.
func (s Set) CheckTaken(current map[string]digest.Digest) error {
	var taken []string
	for _, ref := range s.References() {
		if d := current[ref]; d != "" && d != s[ref] {
			taken = append(taken, ref)
		}
	}
	if len(taken) > 0 {
		return &push.TagsTakenError{Refs: taken}
	}
	return nil
}
