package jinja

import "unicode/utf8"

// Analysis is what can be said of a template without rendering it, for tools
// that check templates. Lists are in the order of the source and may repeat a name.
type Analysis struct {
	// Blocks are the blocks that the template defines.
	Blocks []Ref
	// Extends, Includes and Imports name the templates that it refers to by a
	// constant; Dynamic says that it refers to others, known at render time alone.
	Extends, Includes, Imports []Ref
	Dynamic                    bool
	// Sets are the variables that it sets at its top level, macros and imports
	// apart: what a parent's blocks and functions see. Those set in an if statement count.
	Sets []Ref
	// Macros are the macros that it defines at its top level.
	Macros []Ref
	// Filters and Tests are the uses of filters and tests.
	Filters, Tests []Use
	// Reads are the names that it reads and does not bind itself, each once;
	// names of the environment's globals are left out.
	Reads []Ref
}

// Ref is a name and where it stands, lines and columns from 1.
type Ref struct {
	Name         string
	Line, Column int
}

// Use is the use of a filter or test.
type Use struct {
	Ref
	// Args are the positional arguments that are constant strings; "" stands for others.
	Args []string
}

// Analyze looks at the template. The result is new at each call.
func (t *Template) Analyze() *Analysis {
	a := &Analysis{}
	z := &analyzer{t: t, a: a}
	z.all(t.tree.body, true)
	first := z.firstReads()
	for _, name := range t.reads {
		if _, global := t.env.globals[name]; !global {
			// A name that is only set in some branch is looked up too, but not read.
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
	// The place that was asked for last: others on its line are counted from it.
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

func (z *analyzer) all(list []node, top bool) {
	for _, n := range list {
		z.node(n, top)
	}
}

// node looks at a node and all below it; top says that a set here is exported.
func (z *analyzer) node(n node, top bool) {
	a := z.a
	switch n := n.(type) {
	case *nBlock:
		a.Blocks = append(a.Blocks, z.ref(n.name, n.at()))
		top = false
	case *nExtends:
		z.template(n.template, &a.Extends)
	case *nInclude:
		z.template(n.template, &a.Includes)
	case *nImport:
		z.template(n.template, &a.Imports)
	case *nFromImport:
		z.template(n.template, &a.Imports)
	case *nAssign:
		z.target(n.target, top)
	case *nAssignBlock:
		z.target(n.target, top)
		top = false
	case *nMacro:
		if top {
			a.Macros = append(a.Macros, z.ref(n.name, n.at()))
		}
		top = false
	case *nFilter:
		a.Filters = append(a.Filters, z.use(n.name, n.at(), n.args))
	case *nTest:
		a.Tests = append(a.Tests, z.use(n.name, n.at(), n.args))
	case *nFor, *nCallBlock, *nFilterBlock, *nWith, *nScope:
		top = false
	}
	visitChildren(n, func(c node) { z.node(c, top) })
}

func (z *analyzer) target(n node, top bool) {
	if !top {
		return
	}
	walk(n, func(n node) bool {
		if name, ok := n.(*nName); ok {
			z.a.Sets = append(z.a.Sets, z.ref(name.name, name.at()))
		}
		return true
	})
}

// template records the templates that an expression names.
func (z *analyzer) template(n node, refs *[]Ref) {
	switch n := n.(type) {
	case *nConst:
		if s, ok := n.val.(string); ok {
			*refs = append(*refs, z.ref(s, n.at()))
			return
		}
	case *nList:
		for _, item := range n.items {
			z.template(item, refs)
		}
		return
	case *nTuple:
		for _, item := range n.items {
			z.template(item, refs)
		}
		return
	}
	z.a.Dynamic = true
}

func (z *analyzer) use(name string, pos int, args []node) Use {
	u := Use{Ref: z.ref(name, pos)}
	for _, arg := range args {
		s := ""
		if c, ok := arg.(*nConst); ok {
			s, _ = c.val.(string)
		}
		u.Args = append(u.Args, s)
	}
	return u
}

// firstReads finds where each name is read first.
func (z *analyzer) firstReads() map[string]int {
	first := map[string]int{}
	note := func(name string, pos int) {
		if _, ok := first[name]; !ok {
			first[name] = pos
		}
	}
	walk(z.t.tree, func(n node) bool {
		switch n := n.(type) {
		case *nName:
			if n.ctx == ctxLoad {
				note(n.name, n.at())
			}
		case *nNSRef:
			note(n.name, n.at())
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
