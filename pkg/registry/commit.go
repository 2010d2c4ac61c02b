package registry

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// Tag is one tag to move: Ref is REGISTRY/REPOSITORY:TAG, Digest the manifest
// (of an image or index) in that repository that it shall name.
type Tag struct {
	Ref    string
	Digest v1.Hash
}

// CommitError says which tags of a set moved and which did not. Moved is empty
// when the set was found incomplete before any tag was touched.
type CommitError struct {
	Moved  []string         // references, sorted
	Failed map[string]error // by reference; "not tried" ones are in Untried
	// Untried are tags left where they were because the run ended.
	Untried []string
}

// Error implements error.
func (e *CommitError) Error() string {
	refs := make([]string, 0, len(e.Failed))
	for ref := range e.Failed {
		refs = append(refs, ref)
	}
	sort.Strings(refs)
	var b strings.Builder
	total := len(e.Moved) + len(e.Failed) + len(e.Untried)
	if len(e.Moved) == 0 {
		fmt.Fprintf(&b, "no tag was moved (%d wanted)", total)
	} else {
		fmt.Fprintf(&b, "%d of %d tags were moved", len(e.Moved), total)
	}
	const most = 5
	for i, ref := range refs {
		if i == most {
			fmt.Fprintf(&b, "\n  and %d more", len(refs)-most)
			break
		}
		fmt.Fprintf(&b, "\n  %s: %s", ref, strings.TrimPrefix(e.Failed[ref].Error(), ref+": "))
	}
	return b.String()
}

// Unwrap gives the causes.
func (e *CommitError) Unwrap() []error {
	out := make([]error, 0, len(e.Failed))
	for _, err := range e.Failed {
		out = append(out, err)
	}
	return out
}

// Hint says what the user can do.
func (e *CommitError) Hint() string {
	if len(e.Moved) == 0 {
		return "every tag is where it was; run the command again when the cause is gone"
	}
	return "run the command again: content that is there is not sent again, and the remaining tags are moved"
}

// Commit moves tags, all at the end of a set. First it makes sure that each
// manifest is in its repository; if one is not, no tag is touched. Then the tags
// move in parallel. When some cannot be moved the others still are, and a
// *CommitError says which.
func (p *Publisher) Commit(ctx context.Context, tags []Tag) error {
	type move struct {
		Tag
		tag name.Tag
		m   *manifest
	}
	moves := make([]move, len(tags))
	seen := map[string]v1.Hash{}
	for i, t := range tags {
		r, err := p.c.parse(t.Ref)
		if err != nil {
			return err
		}
		tag, ok := r.(name.Tag)
		if !ok {
			return fmt.Errorf("moving tag %s: it names a digest, not a tag", t.Ref)
		}
		if h, ok := seen[tag.Name()]; ok && h != t.Digest {
			return fmt.Errorf("moving tag %s: it is wanted for two images, %s and %s", t.Ref, h, t.Digest)
		}
		seen[tag.Name()] = t.Digest
		moves[i] = move{Tag: t, tag: tag}
	}

	var mu sync.Mutex
	fail := &CommitError{Failed: map[string]error{}}
	each := func(f func(*move) error) {
		var g errgroup.Group
		g.SetLimit(2 * p.c.opts.Jobs)
		for i := range moves {
			m := &moves[i]
			if ctx.Err() != nil {
				mu.Lock()
				fail.Untried = append(fail.Untried, m.Ref)
				mu.Unlock()
				continue
			}
			g.Go(func() error {
				if err := f(m); err != nil {
					mu.Lock()
					fail.Failed[m.Ref] = err
					mu.Unlock()
				}
				return nil
			})
		}
		_ = g.Wait()
	}

	each(func(m *move) (err error) {
		p.mu.Lock()
		m.m = p.content[m.Digest]
		p.mu.Unlock()
		if m.m == nil {
			m.m, err = p.getManifest(ctx, m.tag.Repository, m.Digest)
			return err
		}
		there, err := p.hasManifest(ctx, m.tag.Repository, m.Digest)
		if err == nil && !there {
			err = &NotFoundError{Ref: m.tag.Repository.Name() + "@" + m.Digest.String()}
		}
		return err
	})
	if len(fail.Failed) == 0 && len(fail.Untried) == 0 {
		each(func(m *move) error {
			if err := p.putManifest(ctx, m.tag.Repository, m.tag.TagStr(), m.m, m.Digest); err != nil {
				return err
			}
			p.tags.Add(1)
			mu.Lock()
			fail.Moved = append(fail.Moved, m.Ref)
			mu.Unlock()
			return nil
		})
	}
	if len(fail.Failed) == 0 && len(fail.Untried) == 0 {
		return nil
	}
	sort.Strings(fail.Moved)
	sort.Strings(fail.Untried)
	return fail
}
