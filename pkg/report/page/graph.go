package page

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"unicode/utf8"
)

// Measures of the graph in pixels.
const (
	boxHeight = 24
	rowGap    = 6  // between boxes of a grid
	groupPad  = 8  // around a parent with its descendants
	busWidth  = 22 // between a parent and its children
	charWidth = 7  // of the 12 pixel font, a little more than its mean
	boxExtra  = 38 // the sign before the name, and room around both
	markWidth = 14 // the mark of the critical path after the name
	aspect    = 1.7
)

// node is an image in the graph.
type node struct {
	Name, Parent, Status, Sign, Title string
	X, Y, W                           int
	Critical                          bool

	children []*node
	needs    []string // without the parent
}

// H is the height of a node's box.
func (n *node) H() int { return boxHeight }

// frame is a rectangle around a parent and its descendants.
type frame struct{ X, Y, W, H, Depth int }

// graph is the layout: parents are left of their children, and each family has a frame.
// Leaves of a parent form a grid, and families are side by side, so that a graph of
// hundreds of images has the shape of a screen instead of a column of a hundred rows.
type graph struct {
	W, H   int
	Nodes  []*node
	Frames []frame
	Edges  []string // paths from parents to their children
	Extra  []string // paths to other images that an image needs
}

// newGraph lays out nodes, which may be in any order.
func newGraph(nodes []*node) *graph {
	g := &graph{Nodes: nodes}
	byName := map[string]*node{}
	for _, n := range nodes {
		byName[n.Name] = n
		n.W = charWidth*utf8.RuneCountInString(n.Name) + boxExtra
		if n.Critical {
			n.W += markWidth
		}
	}
	var roots []*node
	for _, n := range nodes {
		if p := byName[n.Parent]; p != nil && !cyclic(n, byName) {
			p.children = append(p.children, n)
		} else {
			n.Parent = ""
			roots = append(roots, n)
		}
	}
	a := g.pack(roots, 0)
	g.move(a, groupPad, groupPad, 0)
	g.W, g.H = a.w+2*groupPad, a.h+2*groupPad
	slices.SortStableFunc(g.Frames, func(a, b frame) int { return a.Depth - b.Depth })
	for _, n := range nodes {
		for _, name := range n.needs {
			if from := byName[name]; from != nil {
				x1, y1, x2, y2 := from.X+from.W, from.Y+boxHeight/2, n.X, n.Y+boxHeight/2
				g.Extra = append(g.Extra, fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x1, y1, x1+60, y1, x2-60, y2, x2, y2))
			}
		}
	}
	return g
}

// cyclic protects the layout from cycles, which a run does not have.
func cyclic(n *node, byName map[string]*node) bool {
	seen := map[string]bool{}
	for p := n; p != nil; p = byName[p.Parent] {
		if seen[p.Name] {
			return true
		}
		seen[p.Name] = true
	}
	return false
}

// area is a packed set of siblings: columns of cells.
type area struct {
	w, h    int
	columns []column
}

type column struct {
	x     int
	cells []cell
}

// cell is a family, or a single leaf.
type cell struct {
	node *node
	y    int
	w, h int
	area area // of the children, empty for a leaf
}

// pack arranges siblings in the number of columns that gives the area the shape of
// a screen.
func (g *graph) pack(siblings []*node, depth int) area {
	var leaves, families []cell
	slices.SortStableFunc(siblings, func(a, b *node) int { return strings.Compare(a.Name, b.Name) })
	for _, n := range siblings {
		if len(n.children) == 0 {
			leaves = append(leaves, cell{node: n, w: n.W, h: boxHeight + rowGap})
			continue
		}
		a := g.pack(n.children, depth+1)
		families = append(families, cell{node: n, area: a,
			w: n.W + busWidth + a.w + 2*groupPad, h: max(a.h, boxHeight) + 2*groupPad + rowGap})
	}
	cells := append(leaves, families...)
	best := area{}
	for n := 1; n <= len(cells); n++ {
		a := columnsOf(cells, n)
		if best.columns == nil || a.shape() < best.shape() {
			best = a
		}
		if float64(a.w) > 3*aspect*float64(a.h) {
			break
		}
	}
	return best
}

// shape returns the deviation of an area from the desired shape, 0 for none.
func (a area) shape() float64 {
	return math.Abs(math.Log(float64(a.w) / float64(a.h) / aspect))
}

// columnsOf fills n columns of about the same height, in order.
func columnsOf(cells []cell, n int) area {
	total := 0
	for _, c := range cells {
		total += c.h
	}
	target := total / n
	var a area
	var col column
	x, y, width := 0, 0, 0
	flush := func() {
		if len(col.cells) > 0 {
			a.columns = append(a.columns, col)
			x += width + busWidth
			a.w, a.h = x-busWidth, max(a.h, y-rowGap)
		}
		col, y, width = column{x: x}, 0, 0
	}
	flush()
	for _, c := range cells {
		// A cell is put into the next column if more than half of it would exceed the
		// height.
		if len(col.cells) > 0 && y+c.h/2 > target && len(a.columns) < n-1 {
			flush()
		}
		c.y = y
		y += c.h
		width = max(width, c.w)
		col.cells = append(col.cells, c)
	}
	flush()
	return a
}

// move sets the positions of nodes, with the corner of the area at x and y.
func (g *graph) move(a area, x, y, depth int) {
	for _, col := range a.columns {
		for _, c := range col.cells {
			cx, cy := x+col.x, y+c.y
			if len(c.area.columns) == 0 {
				c.node.X, c.node.Y = cx, cy
				continue
			}
			g.Frames = append(g.Frames, frame{X: cx, Y: cy, W: c.w, H: c.h - rowGap, Depth: depth})
			c.node.X, c.node.Y = cx+groupPad, cy+groupPad
			ax, ay := c.node.X+c.node.W+busWidth, cy+groupPad
			g.move(c.area, ax, ay, depth+1)
			g.connect(c.node, c.area, ax, ay)
		}
	}
}

// connect draws the bus from a parent to the columns of its children: along the
// top to each column, down its left side, and a stub to each child.
func (g *graph) connect(n *node, a area, x, y int) {
	const half = busWidth / 2
	rail := y - groupPad/2 // above the children, within the frame
	var b strings.Builder
	start := n.Y + boxHeight/2
	fmt.Fprintf(&b, "M%d %dH%d", n.X+n.W, start, x-half)
	for i, col := range a.columns {
		bus := x + col.x - half
		last := col.cells[len(col.cells)-1]
		if i == 0 {
			fmt.Fprintf(&b, "M%d %dV%d", bus, start, y+last.y+entry(last))
			if len(a.columns) > 1 {
				fmt.Fprintf(&b, "M%d %dV%dH%d", bus, start, rail, x+a.columns[len(a.columns)-1].x-half)
			}
		} else {
			fmt.Fprintf(&b, "M%d %dV%d", bus, rail, y+last.y+entry(last))
		}
		for _, c := range col.cells {
			fmt.Fprintf(&b, "M%d %dH%d", bus, y+c.y+entry(c), c.node.X)
		}
	}
	g.Edges = append(g.Edges, b.String())
}

// entry returns where the line to a cell's box ends, below the top of the cell.
func entry(c cell) int {
	if len(c.area.columns) > 0 {
		return groupPad + boxHeight/2
	}
	return boxHeight / 2
}
