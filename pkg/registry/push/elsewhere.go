package push

import (
	"context"
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
	// smallSize is the size in bytes below which there is only one, since sending the blob
	// takes no longer than that.
	smallSize = 1 << 20
	// catalogTime limits the listing of repositories, which only saves work.
	catalogTime = 15 * time.Second
)

// catalog is the list of a registry's repositories, in some of which the blobs of a set may
// be already: under another namespace, or as layers of other images.
type catalog struct {
	listed sync.Once
	names  []string // paths; none if the registry does not list them

	mu      sync.Mutex
	likely  map[string][]string // by path: repositories that may have the same blobs
	refused map[string]bool     // repositories that could not be read
	last    string              // where a blob was found last
}

// catalogOf returns the catalog of a registry.
func (p *Publisher) catalogOf(ctx context.Context, host string) *catalog {
	p.mu.Lock()
	c := p.catalogs[host]
	if c == nil {
		c = &catalog{likely: map[string][]string{}, refused: map[string]bool{}}
		p.catalogs[host] = c
	}
	p.mu.Unlock()
	c.listed.Do(func() {
		ctx, cancel := context.WithTimeout(ctx, catalogTime)
		defer cancel()
		c.names, _ = p.client.Repositories(ctx, host, "") // many registries refuse this
	})
	return c
}

// elsewhere returns a repository from which a blob that another lacks can be mounted, nil if
// none is known. others reports that there are others, so that the registry may know one.
func (p *Publisher) elsewhere(ctx context.Context, repo *registry.Repository, blob registry.Blob) (from *registry.Repository, others bool, err error) {
	c := p.catalogOf(ctx, repo.Registry())
	candidates := c.candidates(repo)
	if len(candidates) == 0 {
		return nil, false, nil
	}
	if blob.Size < smallSize {
		candidates = candidates[:1]
	}
	for _, ref := range candidates {
		other := p.client.Repository(ref)
		found, err := other.OffersBlob(ctx, blob.Digest)
		if ctx.Err() != nil {
			return nil, true, context.Cause(ctx)
		}
		c.note(ref.Path(), found, err)
		if found {
			return other, true, nil
		}
	}
	return nil, true, nil
}

// note records what came of looking up a blob in a repository.
func (c *catalog) note(name string, found bool, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil:
		c.refused[name] = true
	case found:
		c.last = name
	}
}

// candidates returns the repositories that are likeliest to have blobs of one, at most
// maxProbes: those of its name in other namespaces, the one where a blob was found last, and
// those of its namespace with a similar name.
func (c *catalog) candidates(repo *registry.Repository) []imageref.Ref {
	_, repository, _ := strings.Cut(repo.Name(), "/")
	c.mu.Lock()
	defer c.mu.Unlock()
	names, ok := c.likely[repository]
	if !ok {
		names = likely(c.names, repository)
		c.likely[repository] = names
	}
	if c.last != "" && c.last != repository {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return name == c.last })
		names = slices.Insert(names, min(1, len(names)), c.last)
	}
	var out []imageref.Ref
	for _, name := range names {
		ref, err := imageref.Parse(repo.Registry() + "/" + name)
		if err == nil && !c.refused[name] && len(out) < maxProbes {
			out = append(out, ref)
		}
	}
	return out
}

// likely ranks the repositories that may have the same blobs as one.
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
