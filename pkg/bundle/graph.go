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

// maxVisits bounds the time that walks over images take: images can share indexes, so that
// the sum of what they refer to is far larger than the file. Tests reduce it.
var maxVisits = 50_000_000

// errShared reports that walks over all images would take too long.
var errShared = errors.New("images of the file refer to too many blobs, those that they share counted for each")

// graph holds the references of the manifests of a bundle.
type graph struct {
	documents map[digest.Digest][]reference
	digests   map[digest.Digest]digest.Digest // each text once in memory
	count     int
	visits    int // of all walks
}

// reference is a blob that a manifest refers to.
type reference struct {
	digest digest.Digest
	size   int64
	role   blobRole // without the image
}

// add records the references of a blob if it is a manifest or an index.
func (g *graph) add(d digest.Digest, b []byte) error {
	doc, err := ocijson.Parse(b)
	if err != nil || doc.Config == nil && doc.Layers == nil && doc.Manifests == nil {
		return nil // a config, or a small layer
	}
	refs := []reference{} // not nil, because it is a manifest
	if doc.Config != nil {
		refs = append(refs, reference{doc.Config.Digest, doc.Config.Size, blobRole{kind: "config"}})
	}
	for i, l := range doc.Layers {
		if len(l.URLs) == 0 || !strings.Contains(l.MediaType, "foreign") {
			refs = append(refs, reference{l.Digest, l.Size, blobRole{kind: "layer", n: i + 1, of: len(doc.Layers)}})
		}
	}
	for _, m := range doc.Manifests {
		refs = append(refs, reference{m.Digest, m.Size, blobRole{kind: "manifest"}})
	}
	if g.documents == nil {
		g.documents, g.digests = map[digest.Digest][]reference{}, map[digest.Digest]digest.Digest{}
	}
	if g.count += len(refs); g.count > maxReferences {
		return fmt.Errorf("its manifests have more than %d references", maxReferences)
	}
	for i, r := range refs {
		if r.digest.Validate() != nil {
			return nil // such as the config of a config
		}
		if known, ok := g.digests[r.digest]; ok {
			refs[i].digest = known
		} else {
			g.digests[r.digest] = r.digest
		}
	}
	g.documents[d] = refs
	return nil
}

// errNesting reports that an image cannot be stored.
var errNesting = errors.New("its indexes are nested too deeply")

// walk calls visit for each blob of an image once, its manifest first; twice for one that is
// both a manifest and a layer. It reports whether all manifests are known. The error is
// errNesting if some were not visited because they are too deep, and errShared if the walks
// over the graph took too long.
func (g *graph) walk(root reference, visit func(reference)) (complete bool, err error) {
	complete = true
	type key struct {
		digest   digest.Digest
		manifest bool
	}
	seen := map[key]bool{}
	var from func(r reference, depth int)
	from = func(r reference, depth int) {
		k := key{r.digest, r.role.kind == "manifest"}
		if seen[k] || errors.Is(err, errShared) {
			return
		}
		if g.visits++; g.visits > maxVisits {
			err = errShared
			return
		}
		seen[k] = true
		visit(r)
		if !k.manifest {
			return
		}
		refs, ok := g.documents[r.digest]
		complete = complete && ok
		for _, child := range refs {
			if child.role.kind == "manifest" && depth >= ocijson.MaxNesting {
				err = errNesting
				return
			}
			from(child, depth+1)
		}
	}
	from(root, 0)
	return complete, err
}
