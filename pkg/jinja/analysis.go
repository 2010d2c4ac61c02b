package jinja

import (
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
)

// Analysis describes a template without rendering it, for tools that check templates.
// Lists are in the order of the source and may repeat a name.
type Analysis struct {
	// Blocks are the blocks that the template defines.
	Blocks []Ref
	// Extends, Includes and Imports are the templates that it names by a constant.
	// Dynamic reports that it also uses templates whose names are computed.
	Extends, Includes, Imports []Ref
	Dynamic                    bool
	// Sets are the variables that it sets at its top level, including in if statements,
	// except by macros and imports. They are visible to the blocks of its parent and to
	// functions.
	Sets []Ref
	// Macros are the macros that it defines at its top level.
	Macros []Ref
	// Filters and Tests are the uses of filters and tests.
	Filters, Tests []Use
	// Reads are the names that it reads and does not set itself, each once, without
	// the globals of the environment.
	Reads []Ref
}

// Ref is a name and its place. Lines and columns count from 1.
type Ref struct {
	Name         string
	Line, Column int
}

// Use is the use of a filter or test.
type Use struct {
	Ref
	// Args are the positional arguments that are constant strings, and "" for others.
	Args []string
}

// Analyze returns a new analysis of the template.
func (t *Template) Analyze() *Analysis {
	a := &Analysis{}
	z := &analyzer{t: t, a: a}
	z.all(t.tree.Body, true)
	first := z.firstReads()
	for _, name := range t.reads {
		if _, global := t.env.globals[name]; !global {
			// A name that only a branch sets is looked up, but not read.
			if pos, ok := first[name]; ok {
				a.Reads = append(a.Reads, z.ref(name, pos))
			}
		}
	}
	return a
}

type analyzer struct {
	t *Template
	a *Analysis
	// The place of the last reference: others on its line are counted from it.
	pos, line, col int
}

func (z *analyzer) ref(name string, pos int) Ref {
	src := z.t.src
	switch line := z.t.lineOf(pos); {
	case line != z.line:
		z.line, z.col = z.t.lineColumn(pos)
	case pos >= z.pos:
		z.col += utf8.RuneCountInString(src[z.pos:pos])
	default:
		z.col -= utf8.RuneCountInString(src[pos:z.pos])
	}
	z.pos = pos
	return Ref{name, z.line, z.col}
}

func (z *analyzer) all(list []syntax.Node, top bool) {
	for _, n := range list {
		z.node(n, top)
	}
}

// node analyzes a node and its descendants; top means that variables set here are
// exported.
func (z *analyzer) node(n syntax.Node, top bool) {
	analysis := z.a
	switch n := n.(type) {
	case *syntax.Block:
		analysis.Blocks = append(analysis.Blocks, z.ref(n.Name, n.Pos()))
		top = false
	case *syntax.Extends:
		z.template(n.Template, &analysis.Extends)
	case *syntax.Include:
		z.template(n.Template, &analysis.Includes)
	case *syntax.Import:
		z.template(n.Template, &analysis.Imports)
	case *syntax.FromImport:
		z.template(n.Template, &analysis.Imports)
	case *syntax.Assign:
		z.target(n.Target, top)
	case *syntax.AssignBlock:
		z.target(n.Target, top)
		top = false
	case *syntax.Macro:
		if top {
			analysis.Macros = append(analysis.Macros, z.ref(n.Name, n.Pos()))
		}
		top = false
	case *syntax.Filter:
		analysis.Filters = append(analysis.Filters, z.use(n.Name, n.Pos(), n.Positional))
	case *syntax.Test:
		analysis.Tests = append(analysis.Tests, z.use(n.Name, n.Pos(), n.Positional))
	case *syntax.For, *syntax.CallBlock, *syntax.FilterBlock, *syntax.With, *syntax.Scope:
		top = false
	}
	syntax.VisitChildren(n, func(c syntax.Node) { z.node(c, top) })
}

func (z *analyzer) target(n syntax.Node, top bool) {
	if !top {
		return
	}
	syntax.Walk(n, func(n syntax.Node) bool {
		if name, ok := n.(*syntax.Name); ok {
			z.a.Sets = append(z.a.Sets, z.ref(name.Name, name.Pos()))
		}
		return true
	})
}

// template records the templates that an expression names.
func (z *analyzer) template(n syntax.Node, refs *[]Ref) {
	switch n := n.(type) {
	case *syntax.Const:
		if s, ok := n.Value.(string); ok {
			*refs = append(*refs, z.ref(s, n.Pos()))
			return
		}
	case *syntax.List:
		for _, item := range n.Items {
			z.template(item, refs)
		}
		return
	case *syntax.Tuple:
		for _, item := range n.Items {
			z.template(item, refs)
		}
		return
	}
	z.a.Dynamic = true
}

func (z *analyzer) use(name string, pos int, args []syntax.Node) Use {
	u := Use{Ref: z.ref(name, pos)}
	for _, arg := range args {
		s := ""
		if c, ok := arg.(*syntax.Const); ok {
			s, _ = c.Value.(string)
		}
		u.Args = append(u.Args, s)
	}
	return u
}

// firstReads returns the offset at which each name is first read.
func (z *analyzer) firstReads() map[string]int {
	first := map[string]int{}
	note := func(name string, pos int) {
		if _, ok := first[name]; !ok {
			first[name] = pos
		}
	}
	syntax.Walk(z.t.tree, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Name:
			if n.Context == syntax.Load {
				note(n.Name, n.Pos())
			}
		case *syntax.NamespaceRef:
			note(n.Name, n.Pos())
		}
		return true
	})
	return first
}

// noteRead records that a scope looks a name up in the context.
func (c *compiler) noteRead(name string) {
	if !c.reads[name] {
		if c.reads == nil {
			c.reads = map[string]bool{}
		}
		c.reads[name] = true
		c.tmpl.reads = append(c.tmpl.reads, name)
	}
}
