package jinja

import (
	"strconv"
	"strings"
)

// expr compiles an expression. Constant parts are computed now, where Jinja2
// does so too: it can tell in autoescaped templates.
func (c *compiler) expr(n node, sc *scope) expr {
	switch n := n.(type) {
	case *nName:
		return c.nameExpr(n, sc)
	case *nConst:
		return c.constExpr(n.val)
	case *nTemplateData:
		return c.constExpr(n.data)
	case *nTuple:
		items := c.exprs(n.items, sc)
		return func(fr *frame) any {
			t := make(Tuple, len(items))
			for i, item := range items {
				t[i] = item(fr)
			}
			return t
		}
	case *nList:
		items := c.exprs(n.items, sc)
		return func(fr *frame) any {
			fr.st.alloc(40 + 16*len(items))
			l := &List{Items: make([]any, len(items))}
			for i, item := range items {
				l.Items[i] = item(fr)
			}
			return l
		}
	case *nDict:
		if c.optimized > 0 && !c.volatile {
			c.asConst(n) // for its errors
		}
		return c.dictExpr(n, sc)
	case *nSlice:
		c.fail(n.at(), "invalid syntax: a slice in a tuple", "")
	case *nNSRef:
		c.fail(n.at(), "invalid syntax", "")
	}
	if !c.volatile {
		if v, ok := c.asConst(n); ok && safeRepr(v) {
			return c.constExpr(v)
		}
	}
	c.optimized++
	e := c.operation(n, sc)
	c.optimized--
	return e
}

func (c *compiler) exprs(list []node, sc *scope) []expr {
	out := make([]expr, len(list))
	for i, n := range list {
		out[i] = c.expr(n, sc)
	}
	return out
}

// operation compiles the expressions that may fold to constants, and did not.
func (c *compiler) operation(n node, sc *scope) expr {
	switch n := n.(type) {
	case *nCond:
		return c.condExpr(n, sc)
	case *nLogic:
		left, right := c.expr(n.left, sc), c.expr(n.right, sc)
		or := n.or
		return func(fr *frame) any {
			v := left(fr)
			if truth(v) == or {
				return v
			}
			return right(fr)
		}
	case *nNot:
		e := c.expr(n.expr, sc)
		return func(fr *frame) any { return !truth(e(fr)) }
	case *nUnary:
		e, at, op := c.expr(n.expr, sc), n.at(), positive
		if n.neg {
			op = negate
		}
		return func(fr *frame) any {
			v := e(fr)
			fr.pos = at
			return op(&fr.vframe, v)
		}
	case *nBin:
		left, right := c.expr(n.left, sc), c.expr(n.right, sc)
		op, at := binaryOps[n.op], n.at()
		if n.op == tokPow && !c.volatile {
			if v, ok := c.asConst(n.left); ok && isNumber(v) && strings.HasPrefix(repr(v), "-") {
				// Jinja2 writes -2 ** x for Python, to which that is -(2 ** x).
				base := negate(&c.fold.vframe, v)
				return func(fr *frame) any {
					b := right(fr)
					fr.pos = at
					return negate(&fr.vframe, op(&fr.vframe, base, b))
				}
			}
		}
		return func(fr *frame) any {
			a := left(fr)
			b := right(fr)
			fr.pos = at
			return op(&fr.vframe, a, b)
		}
	case *nConcat:
		return c.concatExpr(n, sc)
	case *nCompare:
		return c.compareExpr(n, sc)
	case *nGetattr:
		e, at, attr := c.expr(n.expr, sc), n.at(), n.attr
		return func(fr *frame) any {
			v := e(fr)
			fr.pos = at
			return getattr(&fr.vframe, v, attr)
		}
	case *nGetitem:
		return c.getitemExpr(n, sc)
	case *nCall:
		call := c.call(n, sc, false)
		return func(fr *frame) any { return call(fr, nil) }
	case *nFilter:
		if n.expr == nil {
			c.fail(n.at(), "filter without a value", "")
		}
		e := c.expr(n.expr, sc)
		f := c.filterCall(n, sc)
		return func(fr *frame) any { return f(fr, e(fr)) }
	case *nTest:
		return c.testExpr(n, sc)
	}
	c.fail(n.at(), "expression is not supported", "")
	return nil
}

func (c *compiler) nameExpr(n *nName, sc *scope) expr {
	id := c.refName(sc, n.name, n.at())
	depth, slot := c.ref(id)
	kind, ok := sc.symbols.findLoad(id)
	mode, name := c.env.cfg.Undefined, n.name
	if ok && kind == loadParam {
		if depth == 0 {
			return func(fr *frame) any { return fr.bound(slot) }
		}
		return func(fr *frame) any { return fr.up(depth).bound(slot) }
	}
	check := func(v any) any {
		if v == missing {
			return undefinedName(mode, name)
		}
		return v
	}
	if depth == 0 {
		return func(fr *frame) any {
			v := fr.slots[slot]
			if _, ok := v.(*missingType); ok {
				return check(fr.bound(slot))
			}
			return v
		}
	}
	return func(fr *frame) any { return check(fr.up(depth).bound(slot)) }
}

func (c *compiler) constExpr(v any) expr {
	if nonFinite(v) {
		return func(*frame) any {
			// Jinja2 writes such a constant as a name that Python does not have.
			raiseKind(KindRuntime, "NameError", "name '%s' is not defined", floatRepr(firstNonFinite(v)))
			return nil
		}
	}
	if mutable(v) {
		return func(fr *frame) any { return cloneConst(fr, v) }
	}
	return func(*frame) any { return v }
}

func (c *compiler) dictExpr(n *nDict, sc *scope) expr {
	type pair struct{ key, val expr }
	pairs := make([]pair, len(n.items))
	for i, p := range n.items {
		pairs[i] = pair{c.expr(p.key, sc), c.expr(p.val, sc)}
	}
	at := n.at()
	return func(fr *frame) any {
		fr.st.alloc(64 + 64*len(pairs))
		// All is evaluated before the first key is hashed.
		vals := make([]any, 0, 2*len(pairs))
		for i := range pairs {
			vals = append(vals, pairs[i].key(fr), pairs[i].val(fr))
		}
		fr.pos = at
		d := newDict(len(pairs))
		for i := 0; i < len(vals); i += 2 {
			d.set(&fr.vframe, vals[i], vals[i+1])
		}
		return d
	}
}

func (c *compiler) condExpr(n *nCond, sc *scope) expr {
	soft := sc.softer()
	then, test := c.expr(n.then, soft), c.expr(n.test, soft)
	if n.orElse != nil {
		orElse := c.expr(n.orElse, soft)
		return func(fr *frame) any {
			if truth(test(fr)) {
				return then(fr)
			}
			return orElse(fr)
		}
	}
	line := c.tmpl.lineOf(n.at())
	hint := "the inline if-expression on line " + strconv.Itoa(line) + " in " + repr(c.tmpl.name) + " evaluated to false and no else section was defined."
	return func(fr *frame) any {
		if truth(test(fr)) {
			return then(fr)
		}
		return newUndefined(Default, hint)
	}
}

func (c *compiler) concatExpr(n *nConcat, sc *scope) expr {
	items := c.exprs(n.items, sc)
	auto, volatile := c.autoescape, c.volatile
	at := n.at()
	return func(fr *frame) any {
		vals := make([]any, len(items))
		for i, item := range items {
			vals[i] = item(fr)
		}
		fr.pos = at
		// In volatile mode Jinja2 asks for the mode in a place where it is never set.
		if auto && !volatile {
			return markupJoin(&fr.vframe, vals)
		}
		parts := make([]string, len(vals))
		for i, v := range vals {
			parts[i] = str(&fr.vframe, v)
		}
		return joinStrings(&fr.vframe, parts, "")
	}
}

func (c *compiler) compareExpr(n *nCompare, sc *scope) expr {
	first := c.expr(n.expr, sc)
	type op struct {
		cmp  func(fr *vframe, a, b any) bool
		expr expr
		at   int
	}
	ops := make([]op, len(n.ops))
	for i, o := range n.ops {
		ops[i] = op{compareFuncs[o.op], c.expr(o.expr, sc), o.pos}
	}
	if len(ops) == 1 {
		cmp, right, at := ops[0].cmp, ops[0].expr, ops[0].at
		return func(fr *frame) any {
			a := first(fr)
			b := right(fr)
			fr.pos = at
			return cmp(&fr.vframe, a, b)
		}
	}
	return func(fr *frame) any {
		a := first(fr)
		for i := range ops {
			b := ops[i].expr(fr)
			fr.pos = ops[i].at
			if !ops[i].cmp(&fr.vframe, a, b) {
				return false
			}
			a = b
		}
		return true
	}
}

func (c *compiler) getitemExpr(n *nGetitem, sc *scope) expr {
	e, at := c.expr(n.expr, sc), n.at()
	if s, ok := n.arg.(*nSlice); ok {
		var parts [3]expr
		for i, p := range []node{s.start, s.stop, s.step} {
			if p != nil {
				parts[i] = c.expr(p, sc)
			}
		}
		return func(fr *frame) any {
			v := e(fr)
			var bounds sliceValue
			for i, p := range parts {
				if p != nil {
					bounds[i] = p(fr)
				}
			}
			fr.pos = at
			return subscript(&fr.vframe, v, &bounds)
		}
	}
	arg := c.expr(n.arg, sc)
	return func(fr *frame) any {
		v := e(fr)
		a := arg(fr)
		fr.pos = at
		return getitem(&fr.vframe, v, a)
	}
}
