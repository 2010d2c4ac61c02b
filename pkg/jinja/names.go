package jinja

import "github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"

// Names are the names in a template, without regard to scopes and branches, for tools that
// look for misspelled ones.
type Names struct {
	// Uses are the reads of names, without those that test whether a value exists or is
	// true, in the order of the source.
	Uses []NameUse
	// Tested are names whose existence or truth the template tests, and Bound those that it
	// sets, imports, defines or has as parameters, anywhere.
	Tested, Bound map[string]bool
}

// NameUse is a read of a name. If it is the subject of a filter, Filter is the filter's use.
type NameUse struct {
	Ref
	Filter Use
}

// Names returns the names in the template.
func (t *Template) Names() *Names {
	z := &nameFinder{
		analyzer: analyzer{t: t},
		names:    &Names{Tested: map[string]bool{}, Bound: map[string]bool{}},
		filters:  map[*syntax.Name]Use{},
	}
	z.visit(t.tree)
	return z.names
}

type nameFinder struct {
	analyzer
	names   *Names
	filters map[*syntax.Name]Use // of the names that are subjects of filters
}

// specialNames have values without being set.
var specialNames = map[string]bool{"caller": true, "kwargs": true, "loop": true, "self": true, "super": true, "varargs": true}

func (z *nameFinder) visit(n syntax.Node) {
	bound, tested := z.names.Bound, map[syntax.Node]bool{}
	switch n := n.(type) {
	case *syntax.Name:
		_, global := z.t.env.globals[n.Name]
		switch {
		case n.Context != syntax.Load:
			bound[n.Name] = true
		case !global && !specialNames[n.Name]:
			z.names.Uses = append(z.names.Uses, NameUse{z.ref(n.Name, n.Pos()), z.filters[n]})
		}
	case *syntax.NamespaceRef:
		bound[n.Name] = true
	case *syntax.Macro:
		bound[n.Name] = true
		for _, arg := range n.Args {
			bound[arg.Name] = true
		}
	case *syntax.CallBlock:
		for _, arg := range n.Args {
			bound[arg.Name] = true
		}
	case *syntax.Import:
		bound[n.Target] = true
	case *syntax.FromImport:
		for _, name := range n.Names {
			bound[name.Name], bound[name.Alias] = true, true
		}
	case *syntax.If:
		z.test(n.Test, tested)
	case *syntax.Conditional:
		z.test(n.Test, tested)
	case *syntax.For:
		if n.Test != nil {
			z.test(n.Test, tested)
		}
	case *syntax.Logical:
		z.test(n.Left, tested)
	case *syntax.Not:
		z.test(n.Expr, tested)
	case *syntax.Test:
		z.test(n.Expr, tested)
	case *syntax.Filter:
		if n.Name == "default" || n.Name == "d" || n.Name == "length" || n.Name == "count" {
			z.test(n.Expr, tested)
		}
		if name, ok := n.Expr.(*syntax.Name); ok {
			z.filters[name] = z.use(n.Name, n.Pos(), n.Positional)
		}
	}
	syntax.VisitChildren(n, func(c syntax.Node) {
		if !tested[c] {
			z.visit(c)
		}
	})
}

// test records that the truth or existence of a name is tested. Operands of "and", "or" and
// "not" are left to visit.
func (z *nameFinder) test(n syntax.Node, tested map[syntax.Node]bool) {
	if name, ok := n.(*syntax.Name); ok {
		z.names.Tested[name.Name] = true
		tested[n] = true
	}
	if l, ok := n.(*syntax.Logical); ok {
		if name, ok := l.Right.(*syntax.Name); ok {
			z.names.Tested[name.Name] = true
		}
	}
}
