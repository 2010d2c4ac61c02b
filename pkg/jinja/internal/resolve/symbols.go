package resolve

import (
	"maps"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
)

// maxNameWork bounds the work of resolving the names of one template, which grows with
// the product of its names and its if statements.
const maxNameWork = 1 << 28

// Names are resolved when a template is compiled, by the rules of Jinja2's identifier
// tracking: each scope has a level, each name of a scope is an identifier of that
// level, and a load instruction gives the origin of its first value.

// LoadKind is the origin of a variable's first value when its scope is entered.
type LoadKind uint8

const (
	LoadParam   LoadKind = iota // the scope's own code sets it
	LoadResolve                 // looked up in the context
	LoadAlias                   // copied from an outer scope's identifier
	loadUndef                   // starts out missing
)

// Ident is a variable: a name at a level of scopes.
type Ident struct {
	Level int
	Name  string
}

// symbol is a scope's information about a name.
type symbol struct {
	Name   string
	Load   LoadKind
	Alias  Ident // for LoadAlias
	Stored bool
}

// Symbols are the names of one scope. Each scope has a level and, unless it is the
// outermost one, a parent.
type Symbols struct {
	Level   int
	parent  *Symbols
	Entries []symbol
	Work    *int // of the template, up to maxNameWork
}

// New returns the symbols of a scope. work counts the work of a whole template.
func New(parent *Symbols, level int, work *int) *Symbols {
	return &Symbols{Level: level, parent: parent, Work: work}
}

// spend counts n units of work and raises an error of KindLimit beyond the limit.
func (s *Symbols) spend(n int) {
	if *s.Work += n; *s.Work > maxNameWork {
		raise.Limit("the template has too many names and branches to compile")
	}
}

// Own returns the scope's own information about a name, or nil.
func (s *Symbols) Own(name string) *symbol {
	s.spend(len(s.Entries))
	for i := range s.Entries {
		if s.Entries[i].Name == name {
			return &s.Entries[i]
		}
	}
	return nil
}

// FindRef returns the variable that a name means in this scope.
func (s *Symbols) FindRef(name string) (Ident, bool) {
	for ; s != nil; s = s.parent {
		if s.Own(name) != nil {
			return Ident{s.Level, name}, true
		}
	}
	return Ident{}, false
}

// FindLoad returns the origin of a variable's first value.
func (s *Symbols) FindLoad(id Ident) (LoadKind, bool) {
	for ; s != nil; s = s.parent {
		if s.Level == id.Level {
			if e := s.Own(id.Name); e != nil {
				return e.Load, true
			}
		}
	}
	return 0, false
}

func (s *Symbols) define(name string, load LoadKind, alias Ident) *symbol {
	if e := s.Own(name); e != nil {
		e.Load, e.Alias = load, alias
		return e
	}
	s.Entries = append(s.Entries, symbol{Name: name, Load: load, Alias: alias})
	return &s.Entries[len(s.Entries)-1]
}

func (s *Symbols) load(name string) {
	if _, ok := s.FindRef(name); !ok {
		s.define(name, LoadResolve, Ident{})
	}
}

func (s *Symbols) store(name string) {
	if e := s.Own(name); e != nil {
		e.Stored = true
		return
	}
	if outer, ok := s.parent.FindRef(name); ok {
		s.define(name, LoadAlias, outer).Stored = true
		return
	}
	s.define(name, loadUndef, Ident{}).Stored = true
}

// Param declares a name that the code of the scope sets.
func (s *Symbols) Param(name string) Ident {
	s.define(name, LoadParam, Ident{}).Stored = true
	return Ident{s.Level, name}
}

func (s *Symbols) clone() *Symbols {
	s.spend(4 * len(s.Entries))
	c := *s
	c.Entries = append(make([]symbol, 0, len(s.Entries)+4), s.Entries...)
	return &c
}

// merge adds the names of the three branches of an if statement. A name that only some
// of them store starts with its outer value.
func (s *Symbols) merge(branches [3]*Symbols) {
	type count struct {
		name string
		n    int
	}
	var counts []count
	for _, b := range branches {
	next:
		for i := range b.Entries {
			if e := &b.Entries[i]; e.Stored {
				if own := s.Own(e.Name); own != nil && own.Stored {
					continue
				}
				s.spend(len(counts))
				for j := range counts {
					if counts[j].name == e.Name {
						counts[j].n++
						continue next
					}
				}
				counts = append(counts, count{e.Name, 1})
			}
		}
	}
	for _, b := range branches {
		for _, e := range b.Entries {
			stored := e.Stored
			if own := s.Own(e.Name); own != nil {
				stored = stored || own.Stored
			}
			s.define(e.Name, e.Load, e.Alias).Stored = stored
		}
	}
	for _, c := range counts {
		if c.n == len(branches) {
			continue
		}
		e := s.Own(c.name)
		if outer, ok := s.parent.FindRef(c.name); ok {
			e.Load, e.Alias = LoadAlias, outer
		} else {
			e.Load, e.Alias = LoadResolve, Ident{}
		}
	}
}

// StoredName is a name and the variable that it means.
type StoredName struct {
	Name string
	Id   Ident
}

// Stores returns the names that this scope and the outer ones store.
func (s *Symbols) Stores() []StoredName {
	var out []StoredName
	for n := s; n != nil; n = n.parent {
	next:
		for i := range n.Entries {
			if !n.Entries[i].Stored {
				continue
			}
			name := n.Entries[i].Name
			s.spend(len(out))
			for _, o := range out {
				if o.Name == name {
					continue next
				}
			}
			id, _ := s.FindRef(name)
			out = append(out, StoredName{name, id})
		}
	}
	return out
}

// ForPart is a part of a for statement with its own scope.
type ForPart uint8

const (
	// The parts of a for statement.
	ForBody ForPart = iota
	ForElse
	ForTest
)

// Analyze records the names of the scope that a node opens.
func (s *Symbols) Analyze(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.AssignBlock:
		s.visitAll(n.Body)
	case *syntax.CallBlock:
		for _, a := range n.Args {
			s.visit(a)
		}
		s.visitAll(n.Defaults)
		s.visitAll(n.Body)
	case *syntax.With:
		s.visitAll(n.Targets)
		s.visitAll(n.Body)
	default:
		syntax.VisitChildren(n, s.visit)
	}
}

// AnalyzeFor records the names of one part of a for statement.
func (s *Symbols) AnalyzeFor(n *syntax.For, branch ForPart) {
	switch branch {
	case ForBody:
		s.visitParam(n.Target)
		s.visitAll(n.Body)
	case ForElse:
		s.visitAll(n.OrElse)
	case ForTest:
		s.visitParam(n.Target)
		if n.Test != nil {
			s.visit(n.Test)
		}
	}
}

// visitParam declares the names of a loop's target.
func (s *Symbols) visitParam(target syntax.Node) {
	syntax.Walk(target, func(n syntax.Node) bool {
		if n, ok := n.(*syntax.Name); ok {
			s.Param(n.Name)
		}
		return true
	})
}

func (s *Symbols) visitAll(list []syntax.Node) {
	for _, n := range list {
		s.visit(n)
	}
}

// visit records the names of a node in this scope, and does not enter the scopes in
// it.
func (s *Symbols) visit(n syntax.Node) {
	switch n := n.(type) {
	case *syntax.Const, *syntax.TemplateData:
	case *syntax.Name:
		switch n.Context {
		case syntax.Param:
			s.Param(n.Name)
		case syntax.Store:
			s.store(n.Name)
		default:
			s.load(n.Name)
		}
	case *syntax.NamespaceRef:
		s.load(n.Name)
	case *syntax.If:
		s.visit(n.Test)
		body, elifs, orElse := s.clone(), s.clone(), s.clone()
		body.visitAll(n.Body)
		elifs.visitAll(n.Elifs)
		orElse.visitAll(n.OrElse)
		s.merge([3]*Symbols{body, elifs, orElse})
	case *syntax.Macro:
		s.store(n.Name)
	case *syntax.Import:
		s.visit(n.Template)
		s.store(n.Target)
	case *syntax.FromImport:
		s.visit(n.Template)
		for _, name := range n.Names {
			s.store(name.Alias)
		}
	case *syntax.Assign:
		s.visit(n.Expr)
		s.visit(n.Target)
	case *syntax.For:
		s.visit(n.Iter)
	case *syntax.CallBlock:
		s.visit(n.Call)
	case *syntax.FilterBlock:
		s.visit(n.Filter)
	case *syntax.With:
		s.visitAll(n.Values)
	case *syntax.AssignBlock:
		s.visit(n.Target)
	case *syntax.Scope, *syntax.Block:
	default:
		syntax.VisitChildren(n, s.visit)
	}
}

// Undeclared returns those of the names that the nodes read before they assign them. The
// nodes are visited in Jinja2's order, without the content of blocks.
func Undeclared(list []syntax.Node, names ...string) map[string]bool {
	found := map[string]bool{}
	watch := map[string]bool{}
	for _, n := range names {
		watch[n] = true
	}
	done := false
	visit := func(n syntax.Node) bool {
		if done {
			return false
		}
		switch n := n.(type) {
		case *syntax.Block:
			return false
		case *syntax.Name:
			if n.Context == syntax.Load && watch[n.Name] {
				found[n.Name] = true
				done = maps.Equal(found, watch)
			} else {
				delete(watch, n.Name)
			}
		}
		return true
	}
	for _, n := range list {
		syntax.Walk(n, visit)
	}
	return found
}
