package jinja

import (
	"strings"
)

func (p *parser) forStatement() node {
	n := &nFor{pos: pos(p.next().pos)}
	n.target = p.assignTarget(false)
	p.expectName("in")
	n.iter = p.tuple(false, false)
	if p.skipName("if") {
		n.test = p.expression(true)
	}
	n.recursive = p.skipName("recursive")
	n.body = p.statements(false, "endfor", "else")
	if p.next().str != "endfor" {
		n.orElse = p.statements(true, "endfor")
	}
	return n
}

func (p *parser) ifStatement() node {
	first := &nIf{pos: pos(p.next().pos)}
	n := first
	for {
		n.test = p.tuple(false, false)
		n.body = p.statements(false, "elif", "else", "endif")
		switch p.next().str {
		case "elif":
			n = &nIf{pos: pos(p.cur().pos)}
			first.elifs = append(first.elifs, n)
			continue
		case "else":
			first.orElse = p.statements(true, "endif")
		}
		return first
	}
}

func (p *parser) withStatement() node {
	n := &nWith{pos: pos(p.next().pos)}
	for !p.is(tokBlockEnd) {
		if len(n.targets) > 0 {
			p.expect(tokComma)
		}
		target := p.assignTarget(false)
		setCtx(target, ctxParam)
		n.targets = append(n.targets, target)
		p.expect(tokAssign)
		n.values = append(n.values, p.expression(true))
	}
	n.body = p.statements(true, "endwith")
	return n
}

func (p *parser) blockStatement() node {
	n := &nBlock{pos: pos(p.next().pos)}
	n.name = p.expect(tokName).str
	n.scoped = p.skipName("scoped")
	n.required = p.skipName("required")
	if p.is(tokSub) {
		p.fail(p.cur().pos, "Block names in Jinja have to be valid Python identifiers and may not contain hyphens, use an underscore instead.")
	}
	n.body = p.statements(true, "endblock")
	if n.required {
		for _, child := range n.body {
			if !onlySpace(child) {
				p.fail(p.cur().pos, "Required blocks can only contain comments or whitespace")
			}
		}
	}
	p.skipName(n.name)
	return n
}

// onlySpace reports whether a statement prints nothing but white space.
func onlySpace(n node) bool {
	out, ok := n.(*nOutput)
	if !ok {
		return false
	}
	for _, item := range out.items {
		d, ok := item.(*nTemplateData)
		if !ok || strings.TrimFunc(d.data, isSpace) != "" {
			return false
		}
	}
	return true
}

// importContext reads "with context" or "without context".
func (p *parser) importContext(with *bool) bool {
	t := p.cur()
	if t.typ != tokName || t.str != "with" && t.str != "without" {
		return false
	}
	if l := p.look(); l.typ != tokName || l.str != "context" {
		return false
	}
	*with = p.next().str == "with"
	p.next()
	return true
}

func (p *parser) fromStatement() node {
	n := &nFromImport{pos: pos(p.next().pos)}
	n.template = p.expression(true)
	p.expectName("import")
	for {
		if len(n.names) > 0 {
			p.expect(tokComma)
		}
		if !p.is(tokName) {
			p.expect(tokName)
		}
		if p.importContext(&n.withContext) {
			break
		}
		target := p.assignName()
		if strings.HasPrefix(target.name, "_") {
			p.fail(target.at(), "names starting with an underline can not be imported")
		}
		name := importName{target.name, target.name}
		if p.skipName("as") {
			name.alias = p.assignName().name
		}
		n.names = append(n.names, name)
		if p.importContext(&n.withContext) || !p.is(tokComma) {
			break
		}
	}
	return n
}

func (p *parser) signature() (args []*nName, defaults []node) {
	p.expect(tokLParen)
	for !p.is(tokRParen) {
		if len(args) > 0 {
			p.expect(tokComma)
		}
		arg := p.assignName()
		arg.ctx = ctxParam
		if p.skip(tokAssign) {
			defaults = append(defaults, p.expression(true))
		} else if len(defaults) > 0 {
			p.fail(p.cur().pos, "non-default argument follows default argument")
		}
		args = append(args, arg)
	}
	p.expect(tokRParen)
	return args, defaults
}

// assignName reads a plain name to assign to.
func (p *parser) assignName() *nName {
	t := p.expect(tokName)
	n := &nName{pos(t.pos), t.str, ctxStore}
	if !canAssign(n) {
		p.fail(t.pos, "can't assign to 'name'")
	}
	return n
}

func (p *parser) assignTarget(withNamespace bool) node {
	if withNamespace && p.look().typ == tokDot {
		t := p.expect(tokName)
		p.next()
		return &nNSRef{pos(t.pos), t.str, p.expect(tokName).str}
	}
	target := p.tupleOf(p.primary, false)
	setCtx(target, ctxStore)
	if !canAssign(target) {
		p.fail(target.at(), "can't assign to "+strRepr(nodeName(target)))
	}
	return target
}

func setCtx(n node, ctx nameCtx) {
	walk(n, func(n node) bool {
		if n, ok := n.(*nName); ok {
			n.ctx = ctx
		}
		return true
	})
}

func canAssign(n node) bool {
	switch n := n.(type) {
	case *nName:
		switch n.name {
		case "true", "false", "none", "True", "False", "None":
			return false
		}
		return true
	case *nTuple:
		for _, item := range n.items {
			if !canAssign(item) {
				return false
			}
		}
		return true
	}
	return false
}

// nodeName is what Jinja2 calls a node that cannot be assigned to.
func nodeName(n node) string {
	switch n := n.(type) {
	case *nName:
		return "name"
	case *nConst:
		return "const"
	case *nTuple:
		return "tuple"
	case *nList:
		return "list"
	case *nDict:
		return "dict"
	case *nCall:
		return "call"
	case *nGetattr:
		return "getattr"
	case *nGetitem:
		return "getitem"
	case *nFilter:
		return "filter"
	case *nTest:
		return "test"
	case *nBin:
		return map[tokenType]string{tokAdd: "add", tokSub: "sub", tokMul: "mul", tokDiv: "div", tokFloorDiv: "floordiv", tokMod: "mod", tokPow: "pow"}[n.op]
	}
	return "expression"
}
