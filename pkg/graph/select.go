package graph

// Status is the outcome of a selection for an image. The texts are upstream's.
type Status string

// The outcomes of a selection.
const (
	Matched     Status = "matched"     // selected: it matches, or an image that matches needs it
	Unmatched   Status = "unmatched"   // not selected
	Skipped     Status = "skipped"     // selected, but left out by an option
	Unbuildable Status = "unbuildable" // it, or an image that it needs, cannot be built here
)

// SelectOptions specifies which images are selected. The zero value selects all.
type SelectOptions struct {
	// Match reports whether an image is requested by its name; nil requests all.
	// See CompileRegexes.
	Match func(name string) bool
	// Unbuildable maps images that cannot be built here to the reason. Images that
	// need them cannot be built either.
	Unbuildable map[string]string
	// SkipParents leaves out images that have children, selected or not.
	SkipParents bool
	// Exists, if not nil, leaves out the selected images for which it returns true.
	Exists func(*Image) bool
}

// Selection is the outcome of Select.
type Selection struct {
	graph  *Graph
	status []Status
	reason []string
}

// Select selects images as upstream's filter_images does. Unbuildable images and
// their descendants are left out first; then images that match are selected with
// all that they need; of these, some are skipped.
func (g *Graph) Select(o SelectOptions) *Selection {
	selection := &Selection{graph: g, status: make([]Status, len(g.nodes)), reason: make([]string, len(g.nodes))}
	for _, n := range g.order {
		if cause, ok := o.Unbuildable[n.Name]; ok {
			selection.set(n, Unbuildable, "cannot be built: "+cause)
			continue
		}
		for _, p := range n.parents {
			if selection.status[p.index] == Unbuildable {
				selection.set(n, Unbuildable, "needs "+p.Name+", which cannot be built")
				break
			}
		}
	}
	// In reverse build order: the images that need another come before it.
	neededBy := make([]*node, len(g.nodes))
	for i := len(g.order) - 1; i >= 0; i-- {
		n := g.order[i]
		if selection.status[n.index] == Unbuildable {
			continue
		}
		switch {
		case o.Match == nil:
			selection.set(n, Matched, "all images are selected")
		case o.Match(n.Name):
			selection.set(n, Matched, "its name matches")
		case neededBy[n.index] != nil:
			selection.set(n, Matched, "needed by "+neededBy[n.index].Name)
		default:
			selection.set(n, Unmatched, "its name does not match")
			continue
		}
		for _, p := range n.parents {
			neededBy[p.index] = n
		}
	}
	for _, n := range g.nodes {
		switch {
		case selection.status[n.index] != Matched:
		case o.Exists != nil && o.Exists(&n.Image):
			selection.set(n, Skipped, "it exists already")
		case o.SkipParents && len(n.children) > 0:
			selection.set(n, Skipped, "it is a parent of others")
		}
	}
	return selection
}

func (s *Selection) set(n *node, st Status, reason string) {
	s.status[n.index], s.reason[n.index] = st, reason
}

// Status returns the status of an image, "" if the graph has none of that name.
func (s *Selection) Status(name string) Status {
	if n := s.graph.byName[name]; n != nil {
		return s.status[n.index]
	}
	return ""
}

// Reason describes why an image has its status.
func (s *Selection) Reason(name string) string {
	if n := s.graph.byName[name]; n != nil {
		return s.reason[n.index]
	}
	return ""
}

// With returns the images with a status, by template path.
func (s *Selection) With(st Status) []*Image {
	return images(s.filter(s.graph.nodes, st))
}

// Order returns the matched images, each after those that it needs.
func (s *Selection) Order() []*Image {
	return images(s.filter(s.graph.order, Matched))
}

func (s *Selection) filter(nodes []*node, st Status) []*node {
	var out []*node
	for _, n := range nodes {
		if s.status[n.index] == st {
			out = append(out, n)
		}
	}
	return out
}
