package jinja

import "strings"

// expression reads an expression; without conditionals the `if` after it is left.
func (p *parser) expression(cond bool) node {
	p.enter()
	defer p.leave()
	if !cond {
		return p.or()
	}
	return p.cond()
}

func (p *parser) cond() node {
	start := p.cur().pos
	expr := p.or()
	for p.skipName("if") {
		n := &nCond{pos: pos(start), then: expr, test: p.or()}
		if p.skipName("else") {
			p.enter()
			n.orElse = p.cond()
			p.leave()
		}
		expr = n
	}
	return expr
}

func (p *parser) or() node {
	left := p.and()
	for p.isName("or") {
		at := p.next().pos
		left = &nLogic{pos(at), true, left, p.and()}
	}
	return left
}

func (p *parser) and() node {
	left := p.not()
	for p.isName("and") {
		at := p.next().pos
		left = &nLogic{pos(at), false, left, p.not()}
	}
	return left
}

func (p *parser) not() node {
	if p.isName("not") {
		p.enter()
		defer p.leave()
		at := p.next().pos
		return &nNot{pos(at), p.not()}
	}
	return p.compare()
}

var compareOps = map[tokenType]cmpOp{
	tokEq: cmpEq, tokNe: cmpNe, tokGt: cmpGt, tokGtEq: cmpGe, tokLt: cmpLt, tokLtEq: cmpLe,
}

func (p *parser) compare() node {
	expr := p.math1()
	var ops []operand
	first := p.cur().pos
	for {
		t := p.cur()
		op, ok := cmpOp(0), false
		switch {
		case t.typ >= tokEq && t.typ <= tokNe:
			op, ok = compareOps[t.typ]
		case t.typ == tokName && t.str == "in":
			op, ok = cmpIn, true
		case t.typ == tokName && t.str == "not":
			if l := p.look(); l.typ == tokName && l.str == "in" {
				p.next()
				op, ok = cmpNotIn, true
			}
		}
		if !ok {
			break
		}
		p.next()
		ops = append(ops, operand{op, t.pos, p.math1()})
	}
	if ops == nil {
		return expr
	}
	return &nCompare{pos(first), expr, ops}
}

func (p *parser) math1() node {
	left := p.concat()
	for p.is(tokAdd) || p.is(tokSub) {
		t := p.next()
		left = &nBin{pos(t.pos), t.typ, left, p.concat()}
	}
	return left
}

func (p *parser) concat() node {
	first := p.math2()
	if !p.is(tokTilde) {
		return first
	}
	n := &nConcat{pos(p.cur().pos), []node{first}}
	for p.skip(tokTilde) {
		n.items = append(n.items, p.math2())
	}
	return n
}

func (p *parser) math2() node {
	left := p.pow()
	for {
		switch p.cur().typ {
		case tokMul, tokDiv, tokFloorDiv, tokMod:
			t := p.next()
			left = &nBin{pos(t.pos), t.typ, left, p.pow()}
			continue
		}
		return left
	}
}

func (p *parser) pow() node {
	left := p.unary(true)
	for p.is(tokPow) {
		t := p.next()
		left = &nBin{pos(t.pos), tokPow, left, p.unary(true)}
	}
	return left
}

func (p *parser) unary(withFilter bool) node {
	var n node
	switch t := p.cur(); t.typ {
	case tokSub, tokAdd:
		p.enter()
		at, neg := t.pos, t.typ == tokSub
		p.next()
		n = &nUnary{pos(at), neg, p.unary(false)}
		p.leave()
	default:
		n = p.primary()
	}
	n = p.postfix(n)
	if withFilter {
		n = p.filterExpr(n)
	}
	return n
}

func (p *parser) primary() node {
	t := *p.cur()
	at := pos(t.pos)
	switch t.typ {
	case tokName:
		p.next()
		switch t.str {
		case "true", "True":
			return &nConst{at, true}
		case "false", "False":
			return &nConst{at, false}
		case "none", "None":
			return &nConst{at, nil}
		}
		return &nName{at, t.str, ctxLoad}
	case tokString:
		s := p.next().str
		if !p.is(tokString) {
			return &nConst{at, s}
		}
		parts := []string{s}
		for p.is(tokString) {
			parts = append(parts, p.next().str)
		}
		return &nConst{at, strings.Join(parts, "")}
	case tokInteger, tokFloat:
		p.next()
		return &nConst{at, t.val}
	case tokLParen:
		p.next()
		p.enter()
		n := p.tuple(true, true)
		p.leave()
		p.expect(tokRParen)
		return n
	case tokLBracket:
		return p.list()
	case tokLBrace:
		return p.dict()
	}
	p.fail(t.pos, "unexpected "+strRepr(t.describe()))
	return nil
}

func (p *parser) tuple(cond, parens bool) node {
	return p.tupleOf(func() node { return p.expression(cond) }, parens)
}

// tupleOf reads one item, or several with commas, which make a tuple.
func (p *parser) tupleOf(item func() node, parens bool) node {
	at := p.cur().pos
	var items []node
	isTuple := false
	for {
		if len(items) > 0 {
			p.expect(tokComma)
		}
		if p.tupleEnd() {
			break
		}
		items = append(items, item())
		if !p.is(tokComma) {
			break
		}
		isTuple = true
	}
	if !isTuple {
		if len(items) > 0 {
			return items[0]
		}
		if !parens {
			p.fail(p.cur().pos, "Expected an expression, got "+strRepr(p.cur().describe()))
		}
	}
	return &nTuple{pos(at), items}
}

func (p *parser) tupleEnd() bool {
	switch p.cur().typ {
	case tokVariableEnd, tokBlockEnd, tokRParen:
		return true
	}
	return false
}

func (p *parser) list() node {
	n := &nList{pos: pos(p.expect(tokLBracket).pos)}
	for !p.is(tokRBracket) {
		if len(n.items) > 0 {
			p.expect(tokComma)
		}
		if p.is(tokRBracket) {
			break
		}
		n.items = append(n.items, p.expression(true))
	}
	p.expect(tokRBracket)
	return n
}

func (p *parser) dict() node {
	n := &nDict{pos: pos(p.expect(tokLBrace).pos)}
	for !p.is(tokRBrace) {
		if len(n.items) > 0 {
			p.expect(tokComma)
		}
		if p.is(tokRBrace) {
			break
		}
		key := p.expression(true)
		p.expect(tokColon)
		n.items = append(n.items, nPair{key, p.expression(true)})
	}
	p.expect(tokRBrace)
	return n
}

func (p *parser) postfix(n node) node {
	for {
		switch p.cur().typ {
		case tokDot, tokLBracket:
			n = p.subscript(n)
		case tokLParen:
			n = p.call(n)
		default:
			return n
		}
	}
}

func (p *parser) filterExpr(n node) node {
	for {
		t := p.cur()
		switch {
		case t.typ == tokPipe:
			n = p.filters(n, false)
		case t.typ == tokName && t.str == "is":
			n = p.test(n)
		case t.typ == tokLParen:
			n = p.call(n)
		default:
			return n
		}
	}
}

func (p *parser) subscript(n node) node {
	t := p.next()
	if t.typ == tokDot {
		attr := p.next()
		switch attr.typ {
		case tokName:
			return &nGetattr{pos(attr.pos), n, attr.str}
		case tokInteger:
			return &nGetitem{pos(attr.pos), n, &nConst{pos(attr.pos), attr.val}}
		}
		p.fail(attr.pos, "expected name or number")
	}
	var args []node
	for !p.is(tokRBracket) {
		if len(args) > 0 {
			p.expect(tokComma)
		}
		args = append(args, p.subscribed())
	}
	p.expect(tokRBracket)
	if len(args) == 1 {
		return &nGetitem{pos(t.pos), n, args[0]}
	}
	return &nGetitem{pos(t.pos), n, &nTuple{pos(t.pos), args}}
}

func (p *parser) subscribed() node {
	n := &nSlice{pos: pos(p.cur().pos)}
	if p.is(tokColon) {
		p.next()
	} else {
		expr := p.expression(true)
		if !p.is(tokColon) {
			return expr
		}
		p.next()
		n.start = expr
	}
	end := func() bool { return p.is(tokRBracket) || p.is(tokComma) }
	if !p.is(tokColon) && !end() {
		n.stop = p.expression(true)
	}
	if p.skip(tokColon) && !end() {
		n.step = p.expression(true)
	}
	return n
}

func (p *parser) callArgs() nArgs {
	open := p.expect(tokLParen)
	var a nArgs
	ensure := func(ok bool) {
		if !ok {
			p.fail(open.pos, "invalid syntax for function call expression")
		}
	}
	for comma := false; !p.is(tokRParen); comma = true {
		if comma {
			p.expect(tokComma)
			if p.is(tokRParen) {
				break
			}
		}
		switch {
		case p.is(tokMul):
			ensure(a.dynArgs == nil && a.dynKwargs == nil)
			p.next()
			a.dynArgs = p.expression(true)
		case p.is(tokPow):
			ensure(a.dynKwargs == nil)
			p.next()
			a.dynKwargs = p.expression(true)
		case p.is(tokName) && p.look().typ == tokAssign:
			ensure(a.dynKwargs == nil)
			name := p.next().str
			p.next()
			a.kwargs = append(a.kwargs, keyword{name, p.expression(true)})
		default:
			ensure(a.dynArgs == nil && a.dynKwargs == nil && a.kwargs == nil)
			a.args = append(a.args, p.expression(true))
		}
	}
	p.expect(tokRParen)
	return a
}

func (p *parser) call(n node) node {
	at := p.cur().pos
	if g, ok := n.(*nGetattr); ok {
		at = g.at()
	} else if name, ok := n.(*nName); ok {
		at = name.at()
	}
	return &nCall{pos(at), n, p.callArgs()}
}

// filters reads `|name(args)|…`; inline, the first bar is not there.
func (p *parser) filters(n node, inline bool) node {
	for p.is(tokPipe) || inline {
		if !inline {
			p.next()
		}
		inline = false
		t := p.expect(tokName)
		f := &nFilter{pos: pos(t.pos), expr: n, name: p.dotted(t.str)}
		if p.is(tokLParen) {
			f.nArgs = p.callArgs()
		}
		n = f
	}
	return n
}

func (p *parser) dotted(name string) string {
	for p.skip(tokDot) {
		name += "." + p.expect(tokName).str
	}
	return name
}

func (p *parser) test(n node) node {
	p.next()
	not := pos(p.cur().pos)
	negated := p.skipName("not")
	name := p.expect(tokName)
	t := &nTest{pos: pos(name.pos), expr: n, name: p.dotted(name.str)}
	switch cur := p.cur(); cur.typ {
	case tokLParen:
		t.nArgs = p.callArgs()
	case tokName, tokString, tokInteger, tokFloat, tokLBracket, tokLBrace:
		if cur.typ == tokName && (cur.str == "else" || cur.str == "or" || cur.str == "and") {
			break
		}
		if cur.typ == tokName && cur.str == "is" {
			p.fail(cur.pos, "You cannot chain multiple tests with is")
		}
		t.args = []node{p.postfix(p.primary())}
	}
	if negated {
		return &nNot{not, t}
	}
	return t
}
