package jinja

import "maps"

// Names are resolved when a template is compiled, by the rules of Jinja2's
// identifier tracking: each scope has a level, each name that a scope knows is
// an identifier of that level, and a load instruction says where its first
// value comes from.

type loadKind uint8

const (
	loadParam   loadKind = iota // the scope's own code sets it
	loadResolve                 // looked up in the context
	loadAlias                   // copied from an outer scope's identifier
	loadUndef                   // starts out missing
)

// ident is an identifier: a name as one level of scopes knows it.
type ident struct {
	level int
	name  string
}

type symbol struct {
	name   string
	load   loadKind
	alias  ident // for loadAlias
	stored bool
}

type symbols struct {
	level  int
	parent *symbols
	ents   []symbol
	work   *int // of the template, up to maxNameWork
}

func newSymbols(parent *symbols, level int, work *int) *symbols {
	return &symbols{level: level, parent: parent, work: work}
}

// spend counts n units of work.
func (s *symbols) spend(n int) {
	if *s.work += n; *s.work > maxNameWork {
		raiseLimit("the template has too many names and branches to compile")
	}
}

func (s *symbols) own(name string) *symbol {
	s.spend(len(s.ents))
	for i := range s.ents {
		if s.ents[i].name == name {
			return &s.ents[i]
		}
	}
	return nil
}

// findRef finds the identifier that a name means in this scope.
func (s *symbols) findRef(name string) (ident, bool) {
	for ; s != nil; s = s.parent {
		if s.own(name) != nil {
			return ident{s.level, name}, true
		}
	}
	return ident{}, false
}

// findLoad finds the load instruction of an identifier.
func (s *symbols) findLoad(id ident) (loadKind, bool) {
	for ; s != nil; s = s.parent {
		if s.level == id.level {
			if e := s.own(id.name); e != nil {
				return e.load, true
			}
		}
	}
	return 0, false
}

func (s *symbols) define(name string, load loadKind, alias ident) *symbol {
	if e := s.own(name); e != nil {
		e.load, e.alias = load, alias
		return e
	}
	s.ents = append(s.ents, symbol{name: name, load: load, alias: alias})
	return &s.ents[len(s.ents)-1]
}

func (s *symbols) load(name string) {
	if _, ok := s.findRef(name); !ok {
		s.define(name, loadResolve, ident{})
	}
}

func (s *symbols) store(name string) {
	if e := s.own(name); e != nil {
		e.stored = true
		return
	}
	if outer, ok := s.parent.findRef(name); ok {
		s.define(name, loadAlias, outer).stored = true
		return
	}
	s.define(name, loadUndef, ident{}).stored = true
}

func (s *symbols) param(name string) ident {
	s.define(name, loadParam, ident{}).stored = true
	return ident{s.level, name}
}

func (s *symbols) clone() *symbols {
	s.spend(4 * len(s.ents))
	c := *s
	c.ents = append(make([]symbol, 0, len(s.ents)+4), s.ents...)
	return &c
}

// merge takes over what the three branches of an if statement did: a name that
// not all of them store falls back to its outer value.
func (s *symbols) merge(branches [3]*symbols) {
	type count struct {
		name string
		n    int
	}
	var counts []count
	for _, b := range branches {
	next:
		for i := range b.ents {
			if e := &b.ents[i]; e.stored {
				if own := s.own(e.name); own != nil && own.stored {
					continue
				}
				s.spend(len(counts))
				for j := range counts {
					if counts[j].name == e.name {
						counts[j].n++
						continue next
					}
				}
				counts = append(counts, count{e.name, 1})
			}
		}
	}
	for _, b := range branches {
		for _, e := range b.ents {
			stored := e.stored
			if own := s.own(e.name); own != nil {
				stored = stored || own.stored
			}
			s.define(e.name, e.load, e.alias).stored = stored
		}
	}
	for _, c := range counts {
		if c.n == len(branches) {
			continue
		}
		e := s.own(c.name)
		if outer, ok := s.parent.findRef(c.name); ok {
			e.load, e.alias = loadAlias, outer
		} else {
			e.load, e.alias = loadResolve, ident{}
		}
	}
}

type storedName struct {
	name string
	id   ident
}

// stores lists the names that this scope and the outer ones store, each with the
// identifier it has here.
func (s *symbols) stores() []storedName {
	var out []storedName
	for n := s; n != nil; n = n.parent {
	next:
		for i := range n.ents {
			if !n.ents[i].stored {
				continue
			}
			name := n.ents[i].name
			s.spend(len(out))
			for _, o := range out {
				if o.name == name {
					continue next
				}
			}
			id, _ := s.findRef(name)
			out = append(out, storedName{name, id})
		}
	}
	return out
}

// forBranch says which part of a for statement a scope covers.
type forBranch uint8

const (
	forBody forBranch = iota
	forElse
	forTest
)

// analyze records the names of the scope that a node opens.
func (s *symbols) analyze(n node) {
	switch n := n.(type) {
	case *nAssignBlock:
		s.visitAll(n.body)
	case *nCallBlock:
		for _, a := range n.args {
			s.visit(a)
		}
		s.visitAll(n.defaults)
		s.visitAll(n.body)
	case *nWith:
		s.visitAll(n.targets)
		s.visitAll(n.body)
	default:
		visitChildren(n, s.visit)
	}
}

// analyzeFor records the names of one part of a for statement.
func (s *symbols) analyzeFor(n *nFor, branch forBranch) {
	switch branch {
	case forBody:
		s.visitParam(n.target)
		s.visitAll(n.body)
	case forElse:
		s.visitAll(n.orElse)
	case forTest:
		s.visitParam(n.target)
		if n.test != nil {
			s.visit(n.test)
		}
	}
}

// visitParam declares the names of a loop's target.
func (s *symbols) visitParam(target node) {
	walk(target, func(n node) bool {
		if n, ok := n.(*nName); ok {
			s.param(n.name)
		}
		return true
	})
}

func (s *symbols) visitAll(list []node) {
	for _, n := range list {
		s.visit(n)
	}
}

// visit records the names of a node that opens no scope; it stops at those that do.
func (s *symbols) visit(n node) {
	switch n := n.(type) {
	case *nConst, *nTemplateData:
	case *nName:
		switch n.ctx {
		case ctxParam:
			s.param(n.name)
		case ctxStore:
			s.store(n.name)
		default:
			s.load(n.name)
		}
	case *nNSRef:
		s.load(n.name)
	case *nIf:
		s.visit(n.test)
		body, elifs, orElse := s.clone(), s.clone(), s.clone()
		body.visitAll(n.body)
		elifs.visitAll(n.elifs)
		orElse.visitAll(n.orElse)
		s.merge([3]*symbols{body, elifs, orElse})
	case *nMacro:
		s.store(n.name)
	case *nImport:
		s.visit(n.template)
		s.store(n.target)
	case *nFromImport:
		s.visit(n.template)
		for _, name := range n.names {
			s.store(name.alias)
		}
	case *nAssign:
		s.visit(n.expr)
		s.visit(n.target)
	case *nFor:
		s.visit(n.iter)
	case *nCallBlock:
		s.visit(n.call)
	case *nFilterBlock:
		s.visit(n.filter)
	case *nWith:
		s.visitAll(n.values)
	case *nAssignBlock:
		s.visit(n.target)
	case *nScope, *nBlock:
	default:
		visitChildren(n, s.visit)
	}
}

// undeclared returns which of the names a list of nodes reads without having
// stored them before, in Jinja2's order of search. Blocks are not entered.
func undeclared(list []node, names ...string) map[string]bool {
	found := map[string]bool{}
	watch := map[string]bool{}
	for _, n := range names {
		watch[n] = true
	}
	done := false
	visit := func(n node) bool {
		if done {
			return false
		}
		switch n := n.(type) {
		case *nBlock:
			return false
		case *nName:
			if n.ctx == ctxLoad && watch[n.name] {
				found[n.name] = true
				done = maps.Equal(found, watch)
			} else {
				delete(watch, n.name)
			}
		}
		return true
	}
	for _, n := range list {
		walk(n, visit)
	}
	return found
}
