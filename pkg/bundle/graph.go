package bundle

import (
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// maxReferences bounds the memory that a graph takes.
const maxReferences = 1_000_000

// MaxVisits bounds the time that walks over images take: images can share indexes, so that
// the sum of what they refer to is far larger than the file. Tests reduce it.
var MaxVisits = 50_000_000

// ErrShared reports that walks over all images would take too long.
var ErrShared = errors.New("images of the file refer to too many blobs, those that they share counted for each")

// Graph holds the references of the manifests of a bundle.
type Graph struct {
	Documents map[digest.Digest][]Reference
	digests   map[digest.Digest]digest.Digest // each text once in memory
	count     int
	visits    int // of all walks
}

// Reference is a blob that a manifest refers to.
type Reference struct {
	Digest digest.Digest
	Size   int64
	Role   Role // without the image
}

// Add records the references of a blob if it is a manifest or an index.
func (g *Graph) Add(d digest.Digest, b []byte) error {
	doc, err := ocijson.Parse(b)
	if err != nil || doc.Config == nil && doc.Layers == nil && doc.Manifests == nil {
		return nil // a config, or a small layer
	}
	refs := []Reference{} // not nil, because it is a manifest
	if doc.Config != nil {
		refs = append(refs, Reference{doc.Config.Digest, doc.Config.Size, Role{Kind: "config"}})
	}
	for i, l := range doc.Layers {
		if len(l.URLs) == 0 || !strings.Contains(l.MediaType, "foreign") {
			refs = append(refs, Reference{l.Digest, l.Size, Role{Kind: "layer", N: i + 1, Of: len(doc.Layers)}})
		}
	}
	for _, m := range doc.Manifests {
		refs = append(refs, Reference{m.Digest, m.Size, Role{Kind: "manifest"}})
	}
	if g.Documents == nil {
		g.Documents, g.digests = map[digest.Digest][]Reference{}, map[digest.Digest]digest.Digest{}
	}
	if g.count += len(refs); g.count > maxReferences {
		return fmt.Errorf("its manifests have more than %d references", maxReferences)
	}
	for i, r := range refs {
		if r.Digest.Validate() != nil {
			return nil // such as the config of a config
		}
		if known, ok := g.digests[r.Digest]; ok {
			refs[i].Digest = known
		} else {
			g.digests[r.Digest] = r.Digest
		}
	}
	g.Documents[d] = refs
	return nil
}

// Visits returns how many blobs all walks visited.
func (g *Graph) Visits() int { return g.visits }

// errNesting reports that an image cannot be stored.
var errNesting = errors.New("its indexes are nested too deeply")

// Walk calls visit for each blob of an image once, its manifest first; twice for one that is
// both a manifest and a layer. It reports whether all manifests are known. The error is
// ErrShared if the walks over the graph took too long; another one reports that some blobs were
// not visited because they are too deep.
func (g *Graph) Walk(root Reference, visit func(Reference)) (complete bool, err error) {
	complete = true
	type key struct {
		digest   digest.Digest
		manifest bool
	}
	seen := map[key]bool{}
	var from func(r Reference, depth int)
	from = func(r Reference, depth int) {
		k := key{r.Digest, r.Role.Kind == "manifest"}
		if seen[k] || errors.Is(err, ErrShared) {
			return
		}
		if g.visits++; g.visits > MaxVisits {
			err = ErrShared
			return
		}
		seen[k] = true
		visit(r)
		if !k.manifest {
			return
		}
		refs, ok := g.Documents[r.Digest]
		complete = complete && ok
		for _, child := range refs {
			if child.Role.Kind == "manifest" && depth >= ocijson.MaxNesting {
				err = errNesting
				return
			}
			from(child, depth+1)
		}
	}
	from(root, 0)
	return complete, err
}
