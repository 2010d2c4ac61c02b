package graph

import (
	"cmp"
	"container/heap"
	"errors"
	"slices"
	"strings"
)

// Image is one rendered image as the graph sees it.
type Image struct {
	// Name is the image's short name, such as "nova-api": its directory's name.
	Name string
	// Reference is the image's own full name: [HOST/]NAMESPACE/[PREFIX]NAME:TAG.
	Reference string
	// From is the reference in the first FROM line of the rendered Dockerfile,
	// as it is written there; "" if there is none. The image whose Reference
	// equals it is the parent, which is what upstream takes for it too.
	From string
	// Needs are the further images that the Dockerfile uses: those of later
	// FROM lines, COPY --from and RUN --mount=from. Those that are in the tree
	// count for the order of building, but none of them is the parent.
	Needs []Need
	// File is the template's path in its tree, Line the 1-based line of From in
	// the file that errors should point to, 0 if it is not known.
	File string
	Line int
}

// Need is one use of another image by a Dockerfile.
type Need struct {
	Reference string
	Line      int // 1-based, 0 if not known
}

// Graph is the images of one tree with their relations.
type Graph struct {
	nodes  []*node // sorted by Image.File, then Name
	byName map[string]*node
	order  []*node
}

type node struct {
	Image
	index    int
	parent   *node
	parents  []*node // parent first, then those of Needs; no duplicates
	children []*node // those whose parent this is, sorted as Graph.nodes
	users    []*node // those that have this in parents, sorted likewise
}

// New makes the graph of images. bases are references that lie outside of the
// tree for certain, such as the distribution's base image; a parent that looks
// like an image of this set and is neither in the tree nor in bases is missing.
//
// The error, if any, joins all that were found, sorted: *DuplicateError,
// *MissingParentError or *CycleError (errors.As finds the first of each).
func New(images []Image, bases ...string) (*Graph, error) {
	g := &Graph{byName: make(map[string]*node, len(images))}
	for _, im := range images {
		g.nodes = append(g.nodes, &node{Image: im})
	}
	slices.SortFunc(g.nodes, func(a, b *node) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Name, b.Name))
	})
	var errs []error
	byRef := make(map[string]*node, len(images))
	for i, n := range g.nodes {
		n.index = i
		if first, ok := g.byName[n.Name]; ok {
			errs = append(errs, &DuplicateError{Name: n.Name, Files: [2]string{first.File, n.File}})
			continue
		}
		g.byName[n.Name] = n
		byRef[n.Reference] = n
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	set := newSetNames(g.nodes, bases)
	for _, n := range g.nodes {
		if n.From != "" {
			if p := byRef[n.From]; p != nil {
				n.parent = p
				n.parents = append(n.parents, p)
				p.children = append(p.children, n)
				p.users = append(p.users, n)
			} else if set.owns(n.From) {
				errs = append(errs, missing(n, n.From, n.Line, set))
			}
		}
		for _, need := range n.Needs {
			p := byRef[need.Reference]
			if p == nil && set.owns(need.Reference) {
				errs = append(errs, missing(n, need.Reference, need.Line, set))
			}
			if p == nil || slices.Contains(n.parents, p) {
				continue
			}
			n.parents = append(n.parents, p)
			p.users = append(p.users, n)
		}
	}
	errs = append(errs, g.sort()...)
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return g, nil
}

// sort fills g.order: parents before children and, where there is a choice, by
// position in g.nodes. It returns one error for each cycle found.
func (g *Graph) sort() []error {
	left := make([]int, len(g.nodes))
	var ready indexHeap
	for i, n := range g.nodes {
		if left[i] = len(n.parents); left[i] == 0 {
			ready = append(ready, i)
		}
	}
	heap.Init(&ready)
	g.order = make([]*node, 0, len(g.nodes))
	for ready.Len() > 0 {
		n := g.nodes[heap.Pop(&ready).(int)]
		g.order = append(g.order, n)
		for _, u := range n.users {
			if left[u.index]--; left[u.index] == 0 {
				heap.Push(&ready, u.index)
			}
		}
	}
	if len(g.order) == len(g.nodes) {
		return nil
	}
	return g.cycles(left)
}

// cycles finds the cycles among the nodes that sort could not place. Every such
// node has an unplaced parent, so following those must come back somewhere.
func (g *Graph) cycles(left []int) []error {
	var errs []error
	walk := make([]int, len(g.nodes)) // the walk that saw a node first; 0: none
	for i, n := range g.nodes {
		if left[i] == 0 || walk[i] != 0 {
			continue
		}
		var path []*node
		for walk[n.index] == 0 {
			walk[n.index] = i + 1
			path = append(path, n)
			j := slices.IndexFunc(n.parents, func(p *node) bool { return left[p.index] > 0 })
			n = n.parents[j]
		}
		if walk[n.index] != i+1 {
			continue // ran into a cycle that was told already
		}
		e := &CycleError{}
		for _, m := range path[slices.Index(path, n):] {
			e.Images = append(e.Images, m.Image)
		}
		errs = append(errs, e)
	}
	return errs
}

// indexHeap is a heap of positions in Graph.nodes, smallest first.
type indexHeap []int

func (h indexHeap) Len() int           { return len(h) }
func (h indexHeap) Less(i, j int) bool { return h[i] < h[j] }
func (h indexHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *indexHeap) Push(x any)        { *h = append(*h, x.(int)) }
func (h *indexHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// Len returns the number of images.
func (g *Graph) Len() int { return len(g.nodes) }

// Images returns all images, sorted by their template's path. Upstream lists
// them in the order in which the file system returns them, which is any.
func (g *Graph) Images() []*Image { return images(g.nodes) }

// Order returns all images so that each comes after all that it needs; where
// that leaves a choice, by template path.
func (g *Graph) Order() []*Image { return images(g.order) }

// Roots returns the images that have no parent in the tree, by template path.
func (g *Graph) Roots() []*Image {
	var roots []*node
	for _, n := range g.nodes {
		if n.parent == nil {
			roots = append(roots, n)
		}
	}
	return images(roots)
}

// Image returns the image of that name, nil if there is none.
func (g *Graph) Image(name string) *Image {
	if n := g.byName[name]; n != nil {
		return &n.Image
	}
	return nil
}

// Parent returns the image that name's FROM names, nil for a root or an unknown
// name.
func (g *Graph) Parent(name string) *Image {
	if n := g.byName[name]; n != nil && n.parent != nil {
		return &n.parent.Image
	}
	return nil
}

// Parents returns all images of the tree that must be built before name: its
// parent first, then those of its further FROM lines and the like.
func (g *Graph) Parents(name string) []*Image {
	if n := g.byName[name]; n != nil {
		return images(n.parents)
	}
	return nil
}

// Children returns the images whose parent name is, by template path.
func (g *Graph) Children(name string) []*Image {
	if n := g.byName[name]; n != nil {
		return images(n.children)
	}
	return nil
}

// Ancestors returns all images that name needs, directly or not, in the order
// in which they are built.
func (g *Graph) Ancestors(name string) []*Image {
	return g.reach(name, func(n *node) []*node { return n.parents })
}

// Descendants returns all images that need name, directly or not, in the order
// in which they are built.
func (g *Graph) Descendants(name string) []*Image {
	return g.reach(name, func(n *node) []*node { return n.users })
}

func (g *Graph) reach(name string, next func(*node) []*node) []*Image {
	start := g.byName[name]
	if start == nil {
		return nil
	}
	seen := map[*node]bool{}
	todo := []*node{start}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, m := range next(n) {
			if !seen[m] {
				seen[m] = true
				todo = append(todo, m)
			}
		}
	}
	var out []*Image
	for _, n := range g.order {
		if seen[n] {
			out = append(out, &n.Image)
		}
	}
	return out
}

func images(nodes []*node) []*Image {
	if len(nodes) == 0 {
		return nil
	}
	out := make([]*Image, len(nodes))
	for i, n := range nodes {
		out[i] = &n.Image
	}
	return out
}

// splitReference cuts a reference into what precedes the repository's last
// element (with the slash), that element, and its tag ("" if none, and if there
// is a digest).
func splitReference(ref string) (dir, name, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, '/'); i >= 0 {
		dir, ref = ref[:i+1], ref[i+1:]
	}
	name, tag, _ = strings.Cut(ref, ":")
	return dir, name, tag
}
