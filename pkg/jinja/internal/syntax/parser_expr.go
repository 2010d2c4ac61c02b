package syntax

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
)

// expression parses an expression. Without cond, a following `if` is not part of it.
func (p *parser) expression(cond bool) Node {
	p.enter()
	defer p.leave()
	if !cond {
		return p.or()
	}
	return p.cond()
}

func (p *parser) cond() Node {
	start := p.cur().pos
	expr := p.or()
	for p.skipName("if") {
		n := &Conditional{pos: pos(start), Then: expr, Test: p.or()}
		if p.skipName("else") {
			p.enter()
			n.OrElse = p.cond()
			p.leave()
		}
		expr = n
	}
	return expr
}

func (p *parser) or() Node {
	left := p.and()
	for p.isName("or") {
		at := p.next().pos
		left = &Logical{pos(at), true, left, p.and()}
	}
	return left
}

func (p *parser) and() Node {
	left := p.not()
	for p.isName("and") {
		at := p.next().pos
		left = &Logical{pos(at), false, left, p.not()}
	}
	return left
}

func (p *parser) not() Node {
	if p.isName("not") {
		p.enter()
		defer p.leave()
		at := p.next().pos
		return &Not{pos(at), p.not()}
	}
	return p.compare()
}

var compareOps = map[TokenType]CompareOp{
	tokEq: Equal, tokNe: NotEqual, tokGt: Greater, tokGtEq: GreaterEqual, tokLt: Less, tokLtEq: LessEqual,
}

func (p *parser) compare() Node {
	expr := p.additive()
	var ops []Operand
	first := p.cur().pos
	for {
		t := p.cur()
		op, ok := CompareOp(0), false
		switch {
		case t.typ >= tokEq && t.typ <= tokNe:
			op, ok = compareOps[t.typ]
		case t.typ == tokName && t.str == "in":
			op, ok = In, true
		case t.typ == tokName && t.str == "not":
			if l := p.peek(); l.typ == tokName && l.str == "in" {
				p.next()
				op, ok = NotIn, true
			}
		}
		if !ok {
			break
		}
		p.next()
		ops = append(ops, Operand{op, t.pos, p.additive()})
	}
	if ops == nil {
		return expr
	}
	return &Compare{pos(first), expr, ops}
}

func (p *parser) additive() Node {
	left := p.concat()
	for p.is(Add) || p.is(Sub) {
		t := p.next()
		left = &Binary{pos(t.pos), t.typ, left, p.concat()}
	}
	return left
}

func (p *parser) concat() Node {
	first := p.multiplicative()
	if !p.is(tokTilde) {
		return first
	}
	n := &Concat{pos(p.cur().pos), []Node{first}}
	for p.skip(tokTilde) {
		n.Items = append(n.Items, p.multiplicative())
	}
	return n
}

func (p *parser) multiplicative() Node {
	left := p.power()
	for {
		switch p.cur().typ {
		case Mul, Div, FloorDiv, Mod:
			t := p.next()
			left = &Binary{pos(t.pos), t.typ, left, p.power()}
			continue
		}
		return left
	}
}

func (p *parser) power() Node {
	left := p.unary(true)
	for p.is(Pow) {
		t := p.next()
		left = &Binary{pos(t.pos), Pow, left, p.unary(true)}
	}
	return left
}

func (p *parser) unary(withFilter bool) Node {
	var n Node
	switch t := p.cur(); t.typ {
	case Sub, Add:
		p.enter()
		at, neg := t.pos, t.typ == Sub
		p.next()
		n = &Unary{pos(at), neg, p.unary(false)}
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

func (p *parser) primary() Node {
	t := *p.cur()
	at := pos(t.pos)
	switch t.typ {
	case tokName:
		p.next()
		switch t.str {
		case "true", "True":
			return &Const{at, true}
		case "false", "False":
			return &Const{at, false}
		case "none", "None":
			return &Const{at, nil}
		}
		return &Name{at, t.str, Load}
	case tokString:
		s := p.next().str
		if !p.is(tokString) {
			return &Const{at, s}
		}
		parts := []string{s}
		for p.is(tokString) {
			parts = append(parts, p.next().str)
		}
		return &Const{at, strings.Join(parts, "")}
	case tokInteger, tokFloat:
		p.next()
		return &Const{at, t.val}
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
	p.fail(t.pos, "unexpected "+pystr.Repr(t.describe()))
	return nil
}

func (p *parser) tuple(cond, parens bool) Node {
	return p.tupleOf(func() Node { return p.expression(cond) }, parens)
}

// tupleOf parses one item, or a tuple of items separated by commas.
func (p *parser) tupleOf(item func() Node, parens bool) Node {
	at := p.cur().pos
	var items []Node
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
			p.fail(p.cur().pos, "Expected an expression, got "+pystr.Repr(p.cur().describe()))
		}
	}
	return &Tuple{pos(at), items}
}

func (p *parser) tupleEnd() bool {
	switch p.cur().typ {
	case tokVariableEnd, tokBlockEnd, tokRParen:
		return true
	}
	return false
}

func (p *parser) list() Node {
	n := &List{pos: pos(p.expect(tokLBracket).pos)}
	for !p.is(tokRBracket) {
		if len(n.Items) > 0 {
			p.expect(tokComma)
		}
		if p.is(tokRBracket) {
			break
		}
		n.Items = append(n.Items, p.expression(true))
	}
	p.expect(tokRBracket)
	return n
}

func (p *parser) dict() Node {
	n := &Dict{pos: pos(p.expect(tokLBrace).pos)}
	for !p.is(tokRBrace) {
		if len(n.Items) > 0 {
			p.expect(tokComma)
		}
		if p.is(tokRBrace) {
			break
		}
		key := p.expression(true)
		p.expect(tokColon)
		n.Items = append(n.Items, Pair{key, p.expression(true)})
	}
	p.expect(tokRBrace)
	return n
}

func (p *parser) postfix(n Node) Node {
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

func (p *parser) filterExpr(n Node) Node {
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

func (p *parser) subscript(n Node) Node {
	t := p.next()
	if t.typ == tokDot {
		attr := p.next()
		switch attr.typ {
		case tokName:
			return &Getattr{pos(attr.pos), n, attr.str}
		case tokInteger:
			return &Getitem{pos(attr.pos), n, &Const{pos(attr.pos), attr.val}}
		}
		p.fail(attr.pos, "expected name or number")
	}
	var args []Node
	for !p.is(tokRBracket) {
		if len(args) > 0 {
			p.expect(tokComma)
		}
		args = append(args, p.subscriptArgument())
	}
	p.expect(tokRBracket)
	if len(args) == 1 {
		return &Getitem{pos(t.pos), n, args[0]}
	}
	return &Getitem{pos(t.pos), n, &Tuple{pos(t.pos), args}}
}

func (p *parser) subscriptArgument() Node {
	n := &Slice{pos: pos(p.cur().pos)}
	if p.is(tokColon) {
		p.next()
	} else {
		expr := p.expression(true)
		if !p.is(tokColon) {
			return expr
		}
		p.next()
		n.Start = expr
	}
	end := func() bool { return p.is(tokRBracket) || p.is(tokComma) }
	if !p.is(tokColon) && !end() {
		n.Stop = p.expression(true)
	}
	if p.skip(tokColon) && !end() {
		n.Step = p.expression(true)
	}
	return n
}

func (p *parser) callArgs() Arguments {
	open := p.expect(tokLParen)
	var a Arguments
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
		case p.is(Mul):
			ensure(a.Star == nil && a.StarStar == nil)
			p.next()
			a.Star = p.expression(true)
		case p.is(Pow):
			ensure(a.StarStar == nil)
			p.next()
			a.StarStar = p.expression(true)
		case p.is(tokName) && p.peek().typ == tokAssign:
			ensure(a.StarStar == nil)
			name := p.next().str
			p.next()
			a.Keywords = append(a.Keywords, Keyword{name, p.expression(true)})
		default:
			ensure(a.Star == nil && a.StarStar == nil && a.Keywords == nil)
			a.Positional = append(a.Positional, p.expression(true))
		}
	}
	p.expect(tokRParen)
	return a
}

func (p *parser) call(n Node) Node {
	at := p.cur().pos
	if g, ok := n.(*Getattr); ok {
		at = g.Pos()
	} else if name, ok := n.(*Name); ok {
		at = name.Pos()
	}
	return &Call{pos(at), n, p.callArgs()}
}

// filters parses `|name(args)|…`; inline omits the first bar.
func (p *parser) filters(n Node, inline bool) Node {
	for p.is(tokPipe) || inline {
		if !inline {
			p.next()
		}
		inline = false
		t := p.expect(tokName)
		f := &Filter{pos: pos(t.pos), Expr: n, Name: p.dotted(t.str)}
		if p.is(tokLParen) {
			f.Arguments = p.callArgs()
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

func (p *parser) test(n Node) Node {
	p.next()
	not := pos(p.cur().pos)
	negated := p.skipName("not")
	name := p.expect(tokName)
	t := &Test{pos: pos(name.pos), Expr: n, Name: p.dotted(name.str)}
	switch cur := p.cur(); cur.typ {
	case tokLParen:
		t.Arguments = p.callArgs()
	case tokName, tokString, tokInteger, tokFloat, tokLBracket, tokLBrace:
		if cur.typ == tokName && (cur.str == "else" || cur.str == "or" || cur.str == "and") {
			break
		}
		if cur.typ == tokName && cur.str == "is" {
			p.fail(cur.pos, "You cannot chain multiple tests with is")
		}
		t.Positional = []Node{p.postfix(p.primary())}
	}
	if negated {
		return &Not{not, t}
	}
	return t
}
