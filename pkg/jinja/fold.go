package jinja

import (
	"math"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// foldFrame returns the frame in which constants are computed, with low limits.
// Constants that fail or exceed them are computed by the render.
func (c *compiler) foldFrame() *frame {
	limits := Limits{Depth: 50, Range: 1000, Output: 1 << 16, Steps: 1 << 16, Memory: 1 << 18}
	st := newState(c.env, &limits, nil)
	ctx := &varContext{env: c.env, name: c.tmpl.name, escape: &evalContext{}}
	fr := &frame{fn: &function{tmpl: c.tmpl}, st: st, ctx: ctx, out: &buffer{st: st}}
	fr.Frame = value.Frame{Thread: &st.Thread, Code: fr}
	return fr
}

// impossible is raised where Jinja2's optimizer gives up.
var impossible = &raise.Exception{Class: "Impossible", Kind: KindRuntime, Message: "not constant"}

// asConst computes a constant expression, as Jinja2's optimizer does. After most errors
// the expression is not constant; the few that Jinja2 does not catch are errors of the
// template.
func (c *compiler) asConst(n syntax.Node) (any, bool) {
	if !c.foldable(n, 0) {
		return nil, false
	}
	v, err := c.tryConst(n)
	if err == nil {
		return v, true
	}
	if err != impossible && err.Kind != KindLimit {
		raise.At(err.Kind, err.Class, err.Message, err.Hint, c.tmpl.name, c.tmpl.src, n.Pos())
	}
	return nil, false
}

func (c *compiler) tryConst(n syntax.Node) (v any, err *raise.Exception) {
	c.fold.ctx.escape.autoescape = c.autoescape
	st := c.fold.st
	st.Reset()
	defer func() {
		if p := recover(); p != nil {
			r, isException := p.(*raise.Exception)
			if !isException {
				panic(p)
			}
			v, err = nil, r
		}
	}()
	v, ok := c.constOf(n)
	if !ok {
		return nil, impossible
	}
	return v, nil
}

// guarded runs a part of the computation. If it fails, the expression is not constant.
func (c *compiler) guarded(f func() any) (v any, ok bool) {
	if c.fold.st.Try(func() { v = f() }, "Exception") != nil {
		return nil, false
	}
	return v, true
}

// mustConst returns a constant within a guarded computation.
func mustConst(v any, ok bool) any {
	if !ok {
		panic(impossible)
	}
	return v
}

// rememberDepth is the nesting from which non-constant expressions are remembered.
// Otherwise each level of a long chain would search all lower ones again.
const rememberDepth = 8

// foldable quickly excludes expressions that are not constant.
func (c *compiler) foldable(n syntax.Node, depth int) bool {
	if c.notConstant[n] {
		return false
	}
	ok := c.foldableKind(n, depth+1)
	if !ok && depth >= rememberDepth {
		c.noteNotConstant(n)
	}
	return ok
}

func (c *compiler) noteNotConstant(n syntax.Node) {
	if c.notConstant == nil {
		c.notConstant = map[syntax.Node]bool{}
	}
	c.notConstant[n] = true
}

func (c *compiler) foldableKind(n syntax.Node, depth int) bool {
	switch n := n.(type) {
	case *syntax.Const:
		return true
	case *syntax.TemplateData:
		return !c.volatile
	case *syntax.Name, *syntax.Call, *syntax.NamespaceRef:
		return false
	case *syntax.Logical:
		return c.foldable(n.Left, depth)
	case *syntax.Conditional:
		return c.foldable(n.Test, depth)
	case *syntax.Concat:
		return c.foldable(n.Items[0], depth)
	case *syntax.Compare:
		return c.foldable(n.Expr, depth) && c.foldable(n.Ops[0].Expr, depth)
	case *syntax.Filter:
		if n.Expr == nil {
			return false
		}
		f := c.env.filters[n.Name]
		if f == nil || !f.Pure || c.volatile {
			return false
		}
	case *syntax.Test:
		if f := c.env.tests[n.Name]; f == nil || !f.Pure || c.volatile {
			return false
		}
	}
	ok := true
	syntax.VisitChildren(n, func(m syntax.Node) { ok = ok && c.foldable(m, depth) })
	return ok
}

// constOf computes an expression; ok is false if only a render can.
func (c *compiler) constOf(n syntax.Node) (v any, ok bool) {
	if c.notConstant[n] {
		return nil, false
	}
	c.depth++
	done := false
	defer func() {
		c.depth--
		if c.depth >= rememberDepth && (!done || !ok) {
			c.noteNotConstant(n)
		}
	}()
	v, ok = c.compute(n)
	done = true
	return v, ok
}

func (c *compiler) compute(n syntax.Node) (any, bool) {
	fr := c.fold
	switch n := n.(type) {
	case *syntax.Const:
		return n.Value, true
	case *syntax.TemplateData:
		if c.autoescape {
			return Markup(n.Data), true
		}
		return n.Data, true
	case *syntax.Tuple:
		items, ok := c.constAll(n.Items)
		return Tuple(items), ok
	case *syntax.List:
		items, ok := c.constAll(n.Items)
		return &List{Items: items}, ok
	case *syntax.Dict:
		d := value.NewDictSize(len(n.Items))
		for _, p := range n.Items {
			k, ok := c.constOf(p.Key)
			if !ok {
				return nil, false
			}
			v, ok := c.constOf(p.Value)
			if !ok {
				return nil, false
			}
			d.Put(&fr.Frame, k, v)
		}
		return d, true
	case *syntax.Conditional:
		test, ok := c.constOf(n.Test)
		switch {
		case !ok:
			return nil, false
		case value.Truth(test):
			return c.constOf(n.Then)
		case n.OrElse == nil:
			return nil, false
		}
		return c.constOf(n.OrElse)
	case *syntax.Logical:
		v, ok := c.constOf(n.Left)
		if !ok || value.Truth(v) == n.Or {
			return v, ok
		}
		return c.constOf(n.Right)
	case *syntax.Not:
		return c.guarded(func() any { return !value.Truth(mustConst(c.constOf(n.Expr))) })
	case *syntax.Unary:
		return c.guarded(func() any {
			if n.Negative {
				return operator.Negate(&fr.Frame, mustConst(c.constOf(n.Expr)))
			}
			return operator.Positive(&fr.Frame, mustConst(c.constOf(n.Expr)))
		})
	case *syntax.Binary:
		return c.guarded(func() any {
			left := mustConst(c.constOf(n.Left))
			return binaryOps[n.Op](&fr.Frame, left, mustConst(c.constOf(n.Right)))
		})
	case *syntax.Concat:
		// Without escaping: constants of Jinja2 differ from its renders here.
		var b strings.Builder
		for _, item := range n.Items {
			v, ok := c.constOf(item)
			if !ok {
				return nil, false
			}
			s := value.Str(&fr.Frame, v)
			fr.st.Alloc(len(s))
			b.WriteString(s)
		}
		return b.String(), true
	}
	return c.constAccess(n)
}

func (c *compiler) constAccess(n syntax.Node) (any, bool) {
	fr := c.fold
	switch n := n.(type) {
	case *syntax.Compare:
		a, ok := c.constOf(n.Expr)
		if !ok {
			return nil, false
		}
		return c.guarded(func() any {
			for _, o := range n.Ops {
				b := mustConst(c.constOf(o.Expr))
				if !compareFuncs[o.Op](&fr.Frame, a, b) {
					return false
				}
				a = b
			}
			return true
		})
	case *syntax.Getattr:
		return c.guarded(func() any { return method.Getattr(&fr.Frame, mustConst(c.constOf(n.Expr)), n.Attr) })
	case *syntax.Getitem:
		return c.guarded(func() any {
			v := mustConst(c.constOf(n.Expr))
			return method.Getitem(&fr.Frame, v, mustConst(c.constOf(n.Arg)))
		})
	case *syntax.Slice:
		var s value.Slice
		for i, p := range []syntax.Node{n.Start, n.Stop, n.Step} {
			if p == nil {
				continue
			}
			v, ok := c.constOf(p)
			if !ok {
				return nil, false
			}
			s[i] = v
		}
		return &s, true
	case *syntax.Filter:
		return c.constApply(c.env.filters[n.Name], n.Expr, &n.Arguments)
	case *syntax.Test:
		return c.constApply(c.env.tests[n.Name], n.Expr, &n.Arguments)
	}
	return nil, false
}

func (c *compiler) constApply(callable *value.Callable, subject syntax.Node, a *syntax.Arguments) (any, bool) {
	args, ok := c.constAll(append([]syntax.Node{subject}, a.Positional...))
	if !ok || callable == nil || !callable.Pure {
		return nil, false
	}
	var kw []value.Keyword
	for _, k := range a.Keywords {
		v, ok := c.constOf(k.Value)
		if !ok {
			return nil, false
		}
		kw = value.AddKeyword(&c.fold.Frame, kw, k.Name, v, true)
	}
	if a.Star != nil {
		more, ok := c.guarded(func() any { return value.Collect(&c.fold.Frame, mustConst(c.constOf(a.Star))) })
		if !ok {
			return nil, false
		}
		args = append(args, more.([]any)...)
	}
	if a.StarStar != nil {
		more, ok := c.guarded(func() any { return starKwargs(c.fold, kw, mustConst(c.constOf(a.StarStar)), true) })
		if !ok {
			return nil, false
		}
		kw = more.([]value.Keyword)
	}
	return c.guarded(func() any { return callable.Call(&c.fold.Frame, args, kw) })
}

func (c *compiler) constAll(list []syntax.Node) ([]any, bool) {
	vals := make([]any, len(list))
	for i, n := range list {
		v, ok := c.constOf(n)
		if !ok {
			return nil, false
		}
		vals[i] = v
	}
	return vals, true
}

// constOutput returns the text of a printed expression that is constant.
func (c *compiler) constOutput(n syntax.Node) (text string, ok bool) {
	if d, isData := n.(*syntax.TemplateData); isData {
		return d.Data, !c.volatile
	}
	if !c.foldable(n, 0) {
		return "", false
	}
	v, err := c.tryConst(n)
	if err != nil {
		return "", false
	}
	if c.fold.st.Try(func() {
		if c.autoescape {
			text = string(value.Escape(&c.fold.Frame, v))
		} else {
			text = value.Str(&c.fold.Frame, v)
		}
	}, "Exception", "LimitError", "RecursionError") != nil {
		return "", false
	}
	return text, len(text) < 1<<16
}

// safeRepr reports whether Jinja2 keeps a constant: Python must be able to write it as
// a literal.
func safeRepr(v any) bool {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, Markup, *value.Range:
		return true
	case Tuple:
		return allSafe(v)
	case *List:
		return allSafe(v.Items)
	case *Dict:
		for key, val := range v.All() {
			if !safeRepr(key) || !safeRepr(val) {
				return false
			}
		}
		return true
	}
	return value.TypeName(v) == "int"
}

func allSafe(list []any) bool {
	for _, v := range list {
		if !safeRepr(v) {
			return false
		}
	}
	return true
}

// isMutable reports whether each use of a constant needs its own copy.
func isMutable(v any) bool {
	switch v := v.(type) {
	case *List, *Dict:
		return true
	case Tuple:
		for _, item := range v {
			if isMutable(item) {
				return true
			}
		}
	}
	return false
}

func cloneConst(fr *frame, v any) any {
	switch v := v.(type) {
	case *List:
		fr.st.Alloc(40 + 16*len(v.Items))
		l := &List{Items: make([]any, len(v.Items))}
		for i, item := range v.Items {
			l.Items[i] = cloneConst(fr, item)
		}
		return l
	case Tuple:
		t := make(Tuple, len(v))
		for i, item := range v {
			t[i] = cloneConst(fr, item)
		}
		return t
	case *Dict:
		fr.st.Alloc(64 + 64*v.Len())
		return v.MapValues(func(val any) any { return cloneConst(fr, val) })
	}
	return v
}

// nonFinite reports whether a constant contains an infinity or a NaN, which are not
// literals in Python.
func nonFinite(v any) bool { return firstNonFinite(v) != 0 }

func firstNonFinite(v any) float64 {
	first := func(list []any) float64 {
		for _, item := range list {
			if f := firstNonFinite(item); f != 0 {
				return f
			}
		}
		return 0
	}
	switch v := v.(type) {
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return v
		}
	case *List:
		return first(v.Items)
	case Tuple:
		return first(v)
	case *Dict:
		for key, val := range v.All() {
			if f := first([]any{key, val}); f != 0 {
				return f
			}
		}
	}
	return 0
}
