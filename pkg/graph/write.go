package graph

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/kolla-build/kolla-build/internal/pyjson"
)

// The functions in this file write the same output as upstream's options of the same
// names, except for the order of images: upstream uses the order of the file system, we
// sort by template path.

// WriteList writes the matched images as --list-images does: "N : NAME" lines.
func (s *Selection) WriteList(w io.Writer) error {
	var b bytes.Buffer
	for i, im := range s.With(Matched) {
		fmt.Fprintf(&b, "%d : %s\n", i+1, im.Name)
	}
	_, err := w.Write(b.Bytes())
	return err
}

// WriteDependencies writes the matched images as --list-dependencies does: a JSON
// object with the root as key and the list of its children as value; a child with
// children is such an object, another is its name. Like upstream it writes no newline
// at the end. If a tree has several roots, upstream shows one; this shows each root
// with matched images. If nothing matched it writes "Nothing matched!".
func (s *Selection) WriteDependencies(w io.Writer) error {
	var b bytes.Buffer
	var roots []*node
	for _, n := range s.graph.nodes {
		if n.parent == nil && s.shows(n) {
			roots = append(roots, n)
		}
	}
	if len(roots) == 0 {
		_, err := io.WriteString(w, "Nothing matched!\n")
		return err
	}
	b.WriteString("{")
	for i, n := range roots {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString("\n  " + pyjson.Quote(n.Name) + ": ")
		s.writeChildren(&b, n, 2)
	}
	b.WriteString("\n}")
	_, err := w.Write(b.Bytes())
	return err
}

// shows reports whether n or a descendant is matched.
func (s *Selection) shows(n *node) bool {
	if s.status[n.index] == Matched {
		return true
	}
	for _, c := range n.children {
		if s.shows(c) {
			return true
		}
	}
	return false
}

func (s *Selection) writeChildren(b *bytes.Buffer, n *node, indent int) {
	pad := "\n" + strings.Repeat(" ", indent+2)
	written := false
	b.WriteByte('[')
	for _, c := range n.children {
		if s.status[c.index] != Matched {
			continue
		}
		if written {
			b.WriteByte(',')
		}
		written = true
		b.WriteString(pad)
		if len(c.children) == 0 {
			b.WriteString(pyjson.Quote(c.Name))
			continue
		}
		b.WriteString("{" + pad + "  " + pyjson.Quote(c.Name) + ": ")
		s.writeChildren(b, c, indent+4)
		b.WriteString(pad + "}")
	}
	if written {
		b.WriteString(pad[:len(pad)-2])
	}
	b.WriteByte(']')
}

// writeDot writes the matched images as --save-dependency does: Graphviz text in the
// form of Python's graphviz module since 0.19, which does not write a newline after
// lines that the program adds.
func (s *Selection) writeDot(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("// Container Images Dependency\ndigraph {\nrankdir=LR")
	for _, n := range s.filter(s.graph.nodes, Matched) {
		fmt.Fprintf(&b, "\t%s\n", dotID(n.Name))
		if n.parent != nil {
			fmt.Fprintf(&b, "\t%s -> %s\n", dotID(n.parent.Name), dotID(n.Name))
		}
	}
	b.WriteString("}\n")
	_, err := w.Write(b.Bytes())
	return err
}

var (
	dotPlain   = regexp.MustCompile(`^(?:[a-zA-Z_][a-zA-Z0-9_]*|-?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?))$`)
	dotKeyword = regexp.MustCompile(`(?i)^(?:node|edge|graph|digraph|subgraph|strict)$`)
)

func dotID(s string) string {
	if dotPlain.MatchString(s) && !dotKeyword.MatchString(s) {
		return s
	}
	return `"` + strings.ReplaceAll(s, `"`, `\"`) + `"`
}

// writeMermaid writes the matched images as a Mermaid flow chart.
func (s *Selection) writeMermaid(w io.Writer) error {
	var b bytes.Buffer
	b.WriteString("flowchart LR\n")
	for _, n := range s.filter(s.graph.nodes, Matched) {
		fmt.Fprintf(&b, "  i%d[\"%s\"]\n", n.index, strings.ReplaceAll(n.Name, `"`, "#quot;"))
	}
	for _, n := range s.filter(s.graph.nodes, Matched) {
		if n.parent != nil && s.status[n.parent.index] == Matched {
			fmt.Fprintf(&b, "  i%d --> i%d\n", n.parent.index, n.index)
		}
	}
	_, err := w.Write(b.Bytes())
	return err
}
