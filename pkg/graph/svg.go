package graph

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"path"
	"strings"
)

// WriteDependencyGraph writes the matched images in the format of a file name: SVG for
// .svg, Mermaid for .mmd and .mermaid, otherwise Graphviz, which upstream's
// --save-dependency writes.
func (s *Selection) WriteDependencyGraph(w io.Writer, name string) error {
	switch strings.ToLower(path.Ext(name)) {
	case ".svg":
		return s.writeSVG(w)
	case ".mmd", ".mermaid":
		return s.writeMermaid(w)
	}
	return s.writeDot(w)
}

// Sizes in pixels.
const (
	svgChar   = 7  // the widest character of the 12 pixel font
	svgRow    = 22 // distance of two lines
	svgBox    = 18
	svgGap    = 40 // between the boxes of a parent and its children
	svgMargin = 10
)

// writeSVG draws the matched images, with roots on the left and children to the right
// of their parent.
func (s *Selection) writeSVG(w io.Writer) error {
	l := svgLayout{s: s, row: make([]float64, len(s.graph.nodes)), depth: make([]int, len(s.graph.nodes))}
	for _, n := range s.graph.order {
		if s.status[n.index] != Matched {
			continue
		}
		if n.parent != nil && s.status[n.parent.index] == Matched {
			l.depth[n.index] = l.depth[n.parent.index] + 1
		} else {
			l.roots = append(l.roots, n)
		}
		for len(l.width) <= l.depth[n.index] {
			l.width = append(l.width, 0)
		}
		d := l.depth[n.index]
		l.width[d] = max(l.width[d], 2*svgMargin+svgChar*len([]rune(n.Name)))
	}
	for _, r := range l.roots {
		l.place(r)
	}
	_, err := w.Write(l.draw())
	return err
}

type svgLayout struct {
	s     *Selection
	roots []*node
	row   []float64 // by node.index
	depth []int     // by node.index
	width []int     // of the boxes, by depth
	rows  int       // number of rows
}

func (l *svgLayout) children(n *node) []*node { return l.s.filter(n.children, Matched) }

// place assigns rows to leaves from top to bottom, and to other images the middle of
// their children's rows.
func (l *svgLayout) place(n *node) {
	children := l.children(n)
	for _, c := range children {
		l.place(c)
	}
	if len(children) == 0 {
		l.row[n.index] = float64(l.rows)
		l.rows++
		return
	}
	l.row[n.index] = (l.row[children[0].index] + l.row[children[len(children)-1].index]) / 2
}

func (l *svgLayout) draw() []byte {
	columnX := []int{svgMargin}
	for _, w := range l.width {
		columnX = append(columnX, columnX[len(columnX)-1]+w+svgGap)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b,
		`<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+
			"\n<title>Images by parent</title>\n",
		max(columnX[len(columnX)-1]-svgGap+svgMargin, 2*svgMargin), 2*svgMargin+svgRow*l.rows)
	middle := func(n *node) float64 { return svgMargin + svgRow*(l.row[n.index]+0.5) }
	for _, n := range l.s.filter(l.s.graph.nodes, Matched) {
		x, w, y := columnX[l.depth[n.index]], l.width[l.depth[n.index]], middle(n)
		for _, c := range l.children(n) {
			to, half := columnX[l.depth[c.index]], svgGap/2
			fmt.Fprintf(&b, "<path d=\"M%d %g C%d %g %d %g %d %g\" fill=\"none\" stroke=\"#999\"/>\n", x+w, y, x+w+half, y,
				to-half, middle(c), to, middle(c))
		}
		fmt.Fprintf(&b,
			`<rect x="%d" y="%g" width="%d" height="%d" rx="3" fill="#f4f4f4" stroke="#999"/><text x="%d" y="%g">`,
			x, y-svgBox/2, w, svgBox, x+svgMargin, y+4)
		_ = xml.EscapeText(&b, []byte(n.Name)) // a Buffer returns no errors
		b.WriteString("</text>\n")
	}
	b.WriteString("</svg>\n")
	return b.Bytes()
}
