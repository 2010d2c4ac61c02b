package push

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

const (
	// maxProbes bounds the look-ups of a blob in other repositories.
	maxProbes = 4
	// maxMisses is how many blobs a repository may lack, if it has had none, before no more
	// are looked up in it.
	maxMisses = 8
	// smallSize is the size in bytes below which there is only one, since sending the blob
	// takes no longer than that.
	smallSize = 1 << 20
	// catalogTime limits the listing of repositories, which only saves work.
	catalogTime = 15 * time.Second
)

// catalog is the list of a registry's repositories, in some of which the blobs of a set may
// be already: under another namespace, or as layers of other images.
type catalog struct {
	names []string // paths; none if the registry does not list them

	mu      sync.Mutex
	likely  map[string][]string // by path: repositories that may have the same blobs
	lookups map[string]*lookups // by path
	last    string              // where a blob was found last
}

// lookups are the results of looking up blobs in a repository.
type lookups struct {
	found   bool // at least one
	misses  int
	refused bool // the repository cannot be read
}

func (l *lookups) useless() bool { return l.refused || !l.found && l.misses >= maxMisses }

// catalogOf returns the catalog of a registry.
func (p *Publisher) catalogOf(ctx context.Context, host string) (*catalog, error) {
	return p.catalogs.Get(ctx, host, func() (*catalog, error) {
		limited, cancel := context.WithTimeout(ctx, catalogTime)
		defer cancel()
		names, err := p.client.Repositories(limited, host, "")
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil { // many registries refuse this
			names = nil
		}
		return &catalog{names: names, likely: map[string][]string{}, lookups: map[string]*lookups{}}, nil
	})
}

// elsewhere returns a repository from which a blob that another lacks can be mounted, nil if
// none is known. manyRepositories reports that there are others, so that the registry may know one.
func (p *Publisher) elsewhere(
	ctx context.Context, repo *registry.Repository, blob registry.Blob,
) (from *registry.Repository, manyRepositories bool, err error) {
	c, err := p.catalogOf(ctx, repo.Registry())
	if err != nil {
		return nil, false, err
	}
	candidates, manyRepositories := c.candidates(repo)
	if blob.Size < smallSize {
		candidates = candidates[:min(1, len(candidates))]
	}
	for _, ref := range candidates {
		other := p.client.Repository(ref)
		found, err := other.OffersBlob(ctx, blob.Digest)
		if ctx.Err() != nil {
			return nil, manyRepositories, context.Cause(ctx)
		}
		c.note(ref.Path(), found, err)
		if found {
			return other, manyRepositories, nil
		}
	}
	return nil, manyRepositories, nil
}

// note records what came of looking up a blob in a repository.
func (c *catalog) note(name string, found bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l := c.lookups[name]
	if l == nil {
		l = &lookups{}
		c.lookups[name] = l
	}
	var refused *registry.UnauthorizedError
	switch {
	case errors.As(err, &refused):
		l.refused = true
	case found:
		l.found, c.last = true, name
	default:
		l.misses++
	}
}

// candidates returns at most maxProbes repositories that may have blobs of another: those of
// its name in other namespaces, the one where a blob was found last, and those of its namespace
// with a similar name. others reports whether the registry has other repositories at all.
func (c *catalog) candidates(repo *registry.Repository) (out []imageref.Ref, others bool) {
	_, repository, _ := strings.Cut(repo.Name(), "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	names, ok := c.likely[repository]
	if !ok {
		names = likely(c.names, repository)
		c.likely[repository] = names
	}
	if c.last != "" && c.last != repository && slices.Index(names, c.last) != 0 {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == c.last })
		names = slices.Insert(names, min(1, len(names)), c.last)
	}
	for _, name := range names {
		ref, err := imageref.Parse(repo.Registry() + "/" + name)
		if l := c.lookups[name]; err == nil && (l == nil || !l.useless()) && len(out) < maxProbes {
			out = append(out, ref)
		}
	}
	return out, len(names) > 0
}

// likely sorts repositories by how likely they have blobs of the given one, the most likely
// first.
func likely(names []string, repository string) []string {
	space, base := path.Split(repository)
	score := func(name string) int {
		if name == repository {
			return -1
		}
		otherSpace, other := path.Split(name)
		n := 0
		for n < min(len(base), len(other)) && base[n] == other[n] {
			n++
		}
		switch {
		case other == base:
			return 1 << 20
		case otherSpace == space:
			return 1<<10 + n
		}
		return n
	}
	type ranked struct {
		name  string
		score int
	}
	var best []ranked
	for _, name := range names {
		s := score(name)
		if s < 0 {
			continue
		}
		at := len(best)
		for at > 0 && best[at-1].score < s {
			at--
		}
		if at < maxProbes {
			best = slices.Insert(best, at, ranked{name, s})
			best = best[:min(len(best), maxProbes)]
		}
	}
	var out []string
	for _, r := range best {
		out = append(out, r.name)
	}
	return out
}
