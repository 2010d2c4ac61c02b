package jinja

import (
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/resolve"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// expr compiles an expression. Constant parts are computed where Jinja2 computes them,
// as the results can differ in templates that escape output.
func (c *compiler) expr(n syntax.Node, sc *scope) expr {
	switch n := n.(type) {
	case *syntax.Name:
		return c.nameExpr(n, sc)
	case *syntax.Const:
		return c.constExpr(n.Value)
	case *syntax.TemplateData:
		return c.constExpr(n.Data)
	case *syntax.Tuple:
		items := c.exprs(n.Items, sc)
		return func(fr *frame) any {
			t := make(Tuple, len(items))
			for i, item := range items {
				t[i] = item(fr)
			}
			return t
		}
	case *syntax.List:
		items := c.exprs(n.Items, sc)
		return func(fr *frame) any {
			fr.st.Alloc(40 + 16*len(items))
			l := &List{Items: make([]any, len(items))}
			for i, item := range items {
				l.Items[i] = item(fr)
			}
			return l
		}
	case *syntax.Dict:
		if c.optimizerDepth > 0 && !c.volatile {
			c.asConst(n) // for its errors
		}
		return c.dictExpr(n, sc)
	case *syntax.Slice:
		c.fail(n.Pos(), "invalid syntax: a slice in a tuple", "")
	case *syntax.NamespaceRef:
		c.fail(n.Pos(), "invalid syntax", "")
	}
	if !c.volatile {
		if v, ok := c.asConst(n); ok && safeRepr(v) {
			return c.constExpr(v)
		}
	}
	c.optimizerDepth++
	e := c.operation(n, sc)
	c.optimizerDepth--
	return e
}

func (c *compiler) exprs(list []syntax.Node, sc *scope) []expr {
	out := make([]expr, len(list))
	for i, n := range list {
		out[i] = c.expr(n, sc)
	}
	return out
}

// operation compiles an expression that Jinja2 could compute, but that is not
// constant.
func (c *compiler) operation(n syntax.Node, sc *scope) expr {
	switch n := n.(type) {
	case *syntax.Conditional:
		return c.condExpr(n, sc)
	case *syntax.Logical:
		left, right := c.expr(n.Left, sc), c.expr(n.Right, sc)
		or := n.Or
		return func(fr *frame) any {
			v := left(fr)
			if value.Truth(v) == or {
				return value.WithoutOrigin(v) // its truth is tested here
			}
			return right(fr)
		}
	case *syntax.Not:
		e := c.expr(n.Expr, sc)
		return func(fr *frame) any { return !value.Truth(e(fr)) }
	case *syntax.Unary:
		e, at, op := c.expr(n.Expr, sc), n.Pos(), operator.Positive
		if n.Negative {
			op = operator.Negate
		}
		return func(fr *frame) any {
			v := e(fr)
			fr.pos = at
			return op(&fr.Frame, v)
		}
	case *syntax.Binary:
		left, right := c.expr(n.Left, sc), c.expr(n.Right, sc)
		op, at := binaryOps[n.Op], n.Pos()
		if n.Op == syntax.Pow && !c.volatile {
			if v, ok := c.asConst(n.Left); ok && value.IsNumber(v) && strings.HasPrefix(value.Repr(v), "-") {
				// Jinja2 compiles this to -2 ** x, which Python reads as -(2 ** x).
				base := operator.Negate(&c.fold.Frame, v)
				return func(fr *frame) any {
					b := right(fr)
					fr.pos = at
					return operator.Negate(&fr.Frame, op(&fr.Frame, base, b))
				}
			}
		}
		return func(fr *frame) any {
			a := left(fr)
			b := right(fr)
			fr.pos = at
			return op(&fr.Frame, a, b)
		}
	case *syntax.Concat:
		return c.concatExpr(n, sc)
	case *syntax.Compare:
		return c.compareExpr(n, sc)
	case *syntax.Getattr:
		e, at, attr, origin := c.expr(n.Expr, sc), n.Pos(), n.Attr, c.origin(n)
		return func(fr *frame) any {
			v := e(fr)
			fr.pos = at
			return value.WithOrigin(method.Getattr(&fr.Frame, v, attr), origin)
		}
	case *syntax.Getitem:
		return c.getitemExpr(n, sc)
	case *syntax.Call:
		call := c.call(n, sc, false)
		return func(fr *frame) any { return call(fr, nil) }
	case *syntax.Filter:
		if n.Expr == nil {
			c.fail(n.Pos(), "filter without a value", "")
		}
		e := c.expr(n.Expr, sc)
		f := c.filterCall(n, sc)
		return func(fr *frame) any { return f(fr, e(fr)) }
	case *syntax.Test:
		return c.testExpr(n, sc)
	}
	c.fail(n.Pos(), "expression is not supported", "")
	return nil
}

func (c *compiler) nameExpr(n *syntax.Name, sc *scope) expr {
	id := c.refName(sc, n.Name, n.Pos())
	depth, slot := c.ref(id)
	kind, ok := sc.symbols.FindLoad(id)
	mode, name, origin := c.env.cfg.Undefined, n.Name, c.origin(n)
	if ok && kind == resolve.LoadParam {
		if depth == 0 {
			return func(fr *frame) any { return fr.slotValue(slot) }
		}
		return func(fr *frame) any { return fr.outer(depth).slotValue(slot) }
	}
	check := func(v any) any {
		if v == value.Missing {
			return value.UndefinedName(mode, name, origin)
		}
		return v
	}
	if depth == 0 {
		return func(fr *frame) any {
			v := fr.slots[slot]
			if _, ok := v.(*value.Marker); ok {
				return check(fr.slotValue(slot))
			}
			return v
		}
	}
	return func(fr *frame) any { return check(fr.outer(depth).slotValue(slot)) }
}

// origin returns the origin of an undefined value of an expression.
func (c *compiler) origin(n syntax.Node) *value.Origin {
	o := &value.Origin{Template: c.tmpl, Pos: n.Pos()}
	var object syntax.Node
	switch n := n.(type) {
	case *syntax.Getattr:
		object = n.Expr
	case *syntax.Getitem:
		object = n.Expr
	}
	if name, ok := object.(*syntax.Name); ok {
		o.Object = name.Name
	}
	return o
}

func (c *compiler) constExpr(v any) expr {
	if nonFinite(v) {
		return func(*frame) any {
			// Jinja2 compiles such a constant to a name that Python does not know.
			raise.Named("NameError", "name '%s' is not defined", pystr.FloatRepr(firstNonFinite(v)))
			return nil
		}
	}
	if isMutable(v) {
		return func(fr *frame) any { return cloneConst(fr, v) }
	}
	return func(*frame) any { return v }
}

func (c *compiler) dictExpr(n *syntax.Dict, sc *scope) expr {
	type pair struct{ key, val expr }
	pairs := make([]pair, len(n.Items))
	for i, p := range n.Items {
		pairs[i] = pair{c.expr(p.Key, sc), c.expr(p.Value, sc)}
	}
	at := n.Pos()
	return func(fr *frame) any {
		fr.st.Alloc(64 + 64*len(pairs))
		// All keys and values are evaluated before the first key is hashed.
		vals := make([]any, 0, 2*len(pairs))
		for i := range pairs {
			vals = append(vals, pairs[i].key(fr), pairs[i].val(fr))
		}
		fr.pos = at
		d := value.NewDictSize(len(pairs))
		for i := 0; i < len(vals); i += 2 {
			d.Put(&fr.Frame, vals[i], vals[i+1])
		}
		return d
	}
}

func (c *compiler) condExpr(n *syntax.Conditional, sc *scope) expr {
	soft := sc.branch()
	then, test := c.expr(n.Then, soft), c.expr(n.Test, soft)
	if n.OrElse != nil {
		orElse := c.expr(n.OrElse, soft)
		return func(fr *frame) any {
			if value.Truth(test(fr)) {
				return then(fr)
			}
			return orElse(fr)
		}
	}
	line := c.tmpl.lineOf(n.Pos())
	hint := "the inline if-expression on line " + strconv.Itoa(line) + " in " + value.Repr(c.tmpl.name) +
		" evaluated to false and no else section was defined."
	return func(fr *frame) any {
		if value.Truth(test(fr)) {
			return then(fr)
		}
		return value.NewUndefined(Default, hint)
	}
}

func (c *compiler) concatExpr(n *syntax.Concat, sc *scope) expr {
	items := c.exprs(n.Items, sc)
	auto, volatile := c.autoescape, c.volatile
	at := n.Pos()
	return func(fr *frame) any {
		vals := make([]any, len(items))
		for i, item := range items {
			vals[i] = item(fr)
		}
		fr.pos = at
		// Jinja2 reads a volatile mode from a place where it is never set.
		if auto && !volatile {
			return value.MarkupJoin(&fr.Frame, vals)
		}
		parts := make([]string, len(vals))
		for i, v := range vals {
			parts[i] = value.Str(&fr.Frame, v)
		}
		return value.JoinStrings(&fr.Frame, parts, "")
	}
}

func (c *compiler) compareExpr(n *syntax.Compare, sc *scope) expr {
	first := c.expr(n.Expr, sc)
	type op struct {
		cmp  func(fr *value.Frame, a, b any) bool
		expr expr
		at   int
	}
	ops := make([]op, len(n.Ops))
	for i, o := range n.Ops {
		ops[i] = op{compareFuncs[o.Op], c.expr(o.Expr, sc), o.Pos}
	}
	if len(ops) == 1 {
		cmp, right, at := ops[0].cmp, ops[0].expr, ops[0].at
		return func(fr *frame) any {
			a := first(fr)
			b := right(fr)
			fr.pos = at
			return cmp(&fr.Frame, a, b)
		}
	}
	return func(fr *frame) any {
		a := first(fr)
		for i := range ops {
			b := ops[i].expr(fr)
			fr.pos = ops[i].at
			if !ops[i].cmp(&fr.Frame, a, b) {
				return false
			}
			a = b
		}
		return true
	}
}

func (c *compiler) getitemExpr(n *syntax.Getitem, sc *scope) expr {
	e, at := c.expr(n.Expr, sc), n.Pos()
	if s, ok := n.Arg.(*syntax.Slice); ok {
		var parts [3]expr
		for i, p := range []syntax.Node{s.Start, s.Stop, s.Step} {
			if p != nil {
				parts[i] = c.expr(p, sc)
			}
		}
		return func(fr *frame) any {
			v := e(fr)
			var bounds value.Slice
			for i, p := range parts {
				if p != nil {
					bounds[i] = p(fr)
				}
			}
			fr.pos = at
			return value.Subscript(&fr.Frame, v, &bounds)
		}
	}
	arg, origin := c.expr(n.Arg, sc), c.origin(n)
	return func(fr *frame) any {
		v := e(fr)
		a := arg(fr)
		fr.pos = at
		return value.WithOrigin(method.Getitem(&fr.Frame, v, a), origin)
	}
}
