package nightly

import (
	"context"
	"errors"
	"fmt"

	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// maxSetsPerDay limits the search for an unused dated tag.
const maxSetsPerDay = 99

// Destination is the destination of a run's set.
type Destination struct {
	Client *registry.Client // of the registry; nil for sets that stay in the store
	Store  *store.Store
}

// UnusedTag returns the tag of a nightly run's set: the given one, or if an image already has
// it, the first unused one with a number. So a second nightly run on a day does not overwrite
// the first one's set.
func UnusedTag(ctx context.Context, dated string, references []string, destination Destination) (string, error) {
	tag := dated
	for n := 1; n <= maxSetsPerDay; n++ {
		if n > 1 {
			tag = fmt.Sprintf("%s-%d", dated, n)
		}
		if used, err := destination.hasTag(ctx, references, tag); err != nil || !used {
			return tag, err
		}
	}
	return "", fmt.Errorf("nightly: all tags from %s to %s exist", dated, tag)
}

// hasTag reports whether one of the images has the tag.
func (p Destination) hasTag(ctx context.Context, references []string, tag string) (bool, error) {
	tagged := make([]string, len(references))
	for i, ref := range references {
		tagged[i] = publish.WithTag(ref, tag)
	}
	if p.Client == nil {
		for _, ref := range tagged {
			if _, ok, err := p.Store.Lookup(ref); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	for _, head := range p.Client.Heads(ctx, tagged) {
		var missing *registry.NotFoundError
		if head.Err == nil {
			return true, nil
		}
		if !errors.As(head.Err, &missing) {
			return false, head.Err
		}
	}
	return false, nil
}
