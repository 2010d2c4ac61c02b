package pipeline

import (
	"context"
	"errors"
	"fmt"

	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// maxSetsPerDay limits the search for an unused dated tag.
const maxSetsPerDay = 99

// unusedDatedTag returns the dated tag of a nightly run's set: the day's, or with a
// number if images of the set have that: a second night on one day never overwrites the
// first one's set.
func (s *session) unusedDatedTag(ctx context.Context, rendered *imageset.Rendered) (string, error) {
	var references []string
	for _, f := range rendered.First().Files {
		if rendered.First().Selection.Status(f.Name) == graph.Matched {
			references = append(references, f.Reference)
		}
	}
	tag := s.cfg.Tag
	for n := 2; n <= maxSetsPerDay; n++ {
		used, err := s.tagUsed(ctx, references, tag)
		if err != nil || !used {
			return tag, err
		}
		tag = fmt.Sprintf("%s-%d", s.cfg.Tag, n)
	}
	return "", fmt.Errorf("nightly: all tags from %s to %s exist", s.cfg.Tag, tag)
}

// tagUsed reports whether an image has the tag where the set will be: in the registry
// or, without one, in the store.
func (s *session) tagUsed(ctx context.Context, references []string, tag string) (bool, error) {
	tagged := make([]string, len(references))
	for i, ref := range references {
		tagged[i] = publish.WithTag(ref, tag)
	}
	if !s.cfg.Push {
		for _, ref := range tagged {
			if _, ok, err := s.store.Lookup(ref); ok || err != nil {
				return ok, err
			}
		}
		return false, nil
	}
	for _, head := range s.client.Heads(ctx, tagged) {
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
