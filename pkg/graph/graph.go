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
	// Name is the name of the image's directory, such as "nova-api".
	Name string
	// Reference is the image's own full name: [HOST/]NAMESPACE/[PREFIX]NAME:TAG.
	Reference string
	// From is the reference in the first FROM line of the rendered Dockerfile, ""
	// if there is none. The image whose Reference equals it is the parent, as in
	// upstream.
	From string
	// Needs are the other images that the Dockerfile uses, in later FROM lines, COPY
	// --from and RUN --mount=from. Those of the tree are built first, but are not
	// parents.
	Needs []Need
	// File is the template's path, by which images are sorted.
	File string
	// FromPlace is where From is written, for errors. Without a file, it is in File.
	FromPlace Place
}

// Place is a line of a template or override.
type Place struct {
	File string
	Line int // 1-based, 0 if not known
}

// Need is one use of another image by a Dockerfile.
type Need struct {
	Reference string
	Place     Place // for errors; without a file, it is in Image.File
}

// Graph is the images of a tree with their relations.
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
	missing  error   // of Graph.Missing
}

// New returns the graph of images. bases are references outside the tree, such as the
// distribution's base image. A parent whose name is like those of this set is missing
// if it is neither in the tree nor in bases, see Missing.
//
// The error joins all *DuplicateError and *CycleError that were found, sorted.
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
				n.missing = missing(n, n.From, n.FromPlace, set)
			}
		}
		for _, need := range n.Needs {
			p := byRef[need.Reference]
			if p == nil && n.missing == nil && set.owns(need.Reference) {
				n.missing = missing(n, need.Reference, need.Place, set)
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

// sort fills in g.order: parents before children, otherwise in the order of
// g.nodes. It returns an error for each cycle.
func (g *Graph) sort() []error {
	pending := make([]int, len(g.nodes))
	var ready indexHeap
	for i, n := range g.nodes {
		if pending[i] = len(n.parents); pending[i] == 0 {
			ready = append(ready, i)
		}
	}
	heap.Init(&ready)
	g.order = make([]*node, 0, len(g.nodes))
	for ready.Len() > 0 {
		n := g.nodes[heap.Pop(&ready).(int)]
		g.order = append(g.order, n)
		for _, u := range n.users {
			if pending[u.index]--; pending[u.index] == 0 {
				heap.Push(&ready, u.index)
			}
		}
	}
	if len(g.order) == len(g.nodes) {
		return nil
	}
	return g.cycles(pending)
}

// cycles finds the cycles among the nodes that sort could not place. Each of them has a
// parent that could not be placed either, so following these parents finds a cycle.
func (g *Graph) cycles(pending []int) []error {
	var errs []error
	walk := make([]int, len(g.nodes)) // number of the walk that reached a node first, 0 for none
	for i, n := range g.nodes {
		if pending[i] == 0 || walk[i] != 0 {
			continue
		}
		var path []*node
		for walk[n.index] == 0 {
			walk[n.index] = i + 1
			path = append(path, n)
			j := slices.IndexFunc(n.parents, func(p *node) bool { return pending[p.index] > 0 })
			n = n.parents[j]
		}
		if walk[n.index] != i+1 {
			continue // this cycle was already found
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

// Images returns all images, sorted by the path of the template. Upstream has them
// in the order of the file system, which is arbitrary.
func (g *Graph) Images() []*Image { return images(g.nodes) }

// Order returns all images, each after those that it needs, otherwise by template
// path.
func (g *Graph) Order() []*Image { return images(g.order) }

// Image returns the image with a name, or nil.
func (g *Graph) Image(name string) *Image {
	if n := g.byName[name]; n != nil {
		return &n.Image
	}
	return nil
}

// Missing returns a *MissingParentError if an image depends on one that the tree does
// not have, else nil. Such an image cannot be built.
func (g *Graph) Missing(name string) error {
	if n := g.byName[name]; n != nil {
		return n.missing
	}
	return nil
}

// Parent returns the parent of an image, nil for a root or an unknown name.
func (g *Graph) Parent(name string) *Image {
	if n := g.byName[name]; n != nil && n.parent != nil {
		return &n.parent.Image
	}
	return nil
}

// Parents returns all images of the tree that an image uses directly: its parent
// first, then those of Image.Needs.
func (g *Graph) Parents(name string) []*Image {
	if n := g.byName[name]; n != nil {
		return images(n.parents)
	}
	return nil
}

// Children returns the images with this parent, by template path.
func (g *Graph) Children(name string) []*Image {
	if n := g.byName[name]; n != nil {
		return images(n.children)
	}
	return nil
}

// Ancestors returns all images that name needs, directly or not, in the order
// in which they are built.
func (g *Graph) Ancestors(name string) []*Image {
	start := g.byName[name]
	if start == nil {
		return nil
	}
	seen := map[*node]bool{}
	todo := []*node{start}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, m := range n.parents {
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

// splitReference splits a reference into the part before the last element of its
// repository (with the slash), that element, and the tag ("" if there is none or a
// digest).
func splitReference(ref string) (dir, name, tag string) {
	ref, _, _ = strings.Cut(ref, "@")
	if i := strings.LastIndexByte(ref, '/'); i >= 0 {
		dir, ref = ref[:i+1], ref[i+1:]
	}
	name, tag, _ = strings.Cut(ref, ":")
	return dir, name, tag
}
