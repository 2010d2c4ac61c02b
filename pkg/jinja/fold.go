package jinja

import (
	"math"
	"strings"
)

// foldFrame is where constants are computed: a render with tight limits. What
// fails there, or is too big, is left to the render.
func (c *compiler) foldFrame() *frame {
	limits := Limits{Depth: 50, Range: 1000, Output: 1 << 16, Steps: 1 << 16, Memory: 1 << 18}
	st := newState(c.env, &limits, nil)
	ctx := &varContext{env: c.env, name: c.tmpl.name, escape: &evalContext{}}
	fr := &frame{fn: &function{tmpl: c.tmpl}, st: st, ctx: ctx, out: &buffer{st: st}}
	fr.vframe = vframe{&st.thread, fr}
	return fr
}

// impossible is panicked with where Jinja2's optimizer gives up.
var impossible = &raised{class: "Impossible", kind: KindRuntime, msg: "not constant"}

// asConst computes an expression that depends on nothing, as Jinja2's optimizer
// does. Most errors mean that it is not constant; the few that escape Jinja2's
// own handling are errors of the template.
func (c *compiler) asConst(n node) (any, bool) {
	if !c.foldable(n, 0) {
		return nil, false
	}
	v, err := c.tryConst(n)
	if err == nil {
		return v, true
	}
	if err != impossible && err.kind != KindLimit {
		raiseAt(err.kind, err.class, err.msg, err.hint, c.tmpl.name, c.tmpl.src, n.at())
	}
	return nil, false
}

func (c *compiler) tryConst(n node) (v any, err *raised) {
	c.fold.ctx.escape.autoescape = c.autoescape
	st := c.fold.st
	st.steps, st.nextLook, st.memory, st.depth, st.stack = 0, st.limits.Steps, 0, 0, nil
	defer func() {
		if p := recover(); p != nil {
			r, is := p.(*raised)
			if !is {
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

// guarded runs a part of the computation whose every error means "not constant".
func (c *compiler) guarded(f func() any) (v any, ok bool) {
	if c.fold.st.try(func() { v = f() }, "Exception") != nil {
		return nil, false
	}
	return v, true
}

// must unwraps a part of a guarded computation.
func must(v any, ok bool) any {
	if !ok {
		panic(impossible)
	}
	return v
}

// deepExpr is the depth from which on expressions that are no constants are
// remembered: each level of a long chain would go through all the lower ones again.
const deepExpr = 8

// foldable looks, quickly, for what no constant has.
func (c *compiler) foldable(n node, depth int) bool {
	if c.unfit[n] {
		return false
	}
	ok := c.mayFold(n, depth+1)
	if !ok && depth >= deepExpr {
		c.noteUnfit(n)
	}
	return ok
}

func (c *compiler) noteUnfit(n node) {
	if c.unfit == nil {
		c.unfit = map[node]bool{}
	}
	c.unfit[n] = true
}

func (c *compiler) mayFold(n node, depth int) bool {
	switch n := n.(type) {
	case *nConst:
		return true
	case *nTemplateData:
		return !c.volatile
	case *nName, *nCall, *nNSRef:
		return false
	case *nLogic:
		return c.foldable(n.left, depth)
	case *nCond:
		return c.foldable(n.test, depth)
	case *nConcat:
		return c.foldable(n.items[0], depth)
	case *nCompare:
		return c.foldable(n.expr, depth) && c.foldable(n.ops[0].expr, depth)
	case *nFilter:
		if n.expr == nil {
			return false
		}
		f := c.env.filters[n.name]
		if f == nil || !f.pure || c.volatile {
			return false
		}
	case *nTest:
		if f := c.env.tests[n.name]; f == nil || !f.pure || c.volatile {
			return false
		}
	}
	ok := true
	visitChildren(n, func(m node) { ok = ok && c.foldable(m, depth) })
	return ok
}

// constOf computes; the bool is false for what only a render can tell.
func (c *compiler) constOf(n node) (v any, ok bool) {
	if c.unfit[n] {
		return nil, false
	}
	c.depth++
	done := false
	defer func() {
		c.depth--
		if c.depth >= deepExpr && (!done || !ok) {
			c.noteUnfit(n)
		}
	}()
	v, ok = c.compute(n)
	done = true
	return v, ok
}

func (c *compiler) compute(n node) (any, bool) {
	fr := c.fold
	switch n := n.(type) {
	case *nConst:
		return n.val, true
	case *nTemplateData:
		if c.autoescape {
			return Markup(n.data), true
		}
		return n.data, true
	case *nTuple:
		items, ok := c.constAll(n.items)
		return Tuple(items), ok
	case *nList:
		items, ok := c.constAll(n.items)
		return &List{Items: items}, ok
	case *nDict:
		d := newDict(len(n.items))
		for _, p := range n.items {
			k, ok := c.constOf(p.key)
			if !ok {
				return nil, false
			}
			v, ok := c.constOf(p.val)
			if !ok {
				return nil, false
			}
			d.set(&fr.vframe, k, v)
		}
		return d, true
	case *nCond:
		test, ok := c.constOf(n.test)
		switch {
		case !ok:
			return nil, false
		case truth(test):
			return c.constOf(n.then)
		case n.orElse == nil:
			return nil, false
		}
		return c.constOf(n.orElse)
	case *nLogic:
		v, ok := c.constOf(n.left)
		if !ok || truth(v) == n.or {
			return v, ok
		}
		return c.constOf(n.right)
	case *nNot:
		return c.guarded(func() any { return !truth(must(c.constOf(n.expr))) })
	case *nUnary:
		return c.guarded(func() any {
			if n.neg {
				return negate(&fr.vframe, must(c.constOf(n.expr)))
			}
			return positive(&fr.vframe, must(c.constOf(n.expr)))
		})
	case *nBin:
		return c.guarded(func() any {
			left := must(c.constOf(n.left))
			return binaryOps[n.op](&fr.vframe, left, must(c.constOf(n.right)))
		})
	case *nConcat:
		// Without regard to escaping: Jinja2's constants differ from its renders here.
		var b strings.Builder
		for _, item := range n.items {
			v, ok := c.constOf(item)
			if !ok {
				return nil, false
			}
			s := str(&fr.vframe, v)
			fr.st.alloc(len(s))
			b.WriteString(s)
		}
		return b.String(), true
	}
	return c.constAccess(n)
}

func (c *compiler) constAccess(n node) (any, bool) {
	fr := c.fold
	switch n := n.(type) {
	case *nCompare:
		a, ok := c.constOf(n.expr)
		if !ok {
			return nil, false
		}
		return c.guarded(func() any {
			for _, o := range n.ops {
				b := must(c.constOf(o.expr))
				if !compareFuncs[o.op](&fr.vframe, a, b) {
					return false
				}
				a = b
			}
			return true
		})
	case *nGetattr:
		return c.guarded(func() any { return getattr(&fr.vframe, must(c.constOf(n.expr)), n.attr) })
	case *nGetitem:
		return c.guarded(func() any {
			v := must(c.constOf(n.expr))
			return getitem(&fr.vframe, v, must(c.constOf(n.arg)))
		})
	case *nSlice:
		var s sliceValue
		for i, p := range []node{n.start, n.stop, n.step} {
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
	case *nFilter:
		return c.constApply(c.env.filters[n.name], n.expr, &n.nArgs)
	case *nTest:
		return c.constApply(c.env.tests[n.name], n.expr, &n.nArgs)
	}
	return nil, false
}

func (c *compiler) constApply(f *callable, subject node, a *nArgs) (any, bool) {
	args, ok := c.constAll(append([]node{subject}, a.args...))
	if !ok || f == nil || !f.pure {
		return nil, false
	}
	var kw []kwArg
	for _, k := range a.kwargs {
		v, ok := c.constOf(k.val)
		if !ok {
			return nil, false
		}
		kw = addKeyword(&c.fold.vframe, kw, k.name, v, true)
	}
	if a.dynArgs != nil {
		more, ok := c.guarded(func() any { return collect(&c.fold.vframe, must(c.constOf(a.dynArgs))) })
		if !ok {
			return nil, false
		}
		args = append(args, more.([]any)...)
	}
	if a.dynKwargs != nil {
		more, ok := c.guarded(func() any { return starKwargs(c.fold, kw, must(c.constOf(a.dynKwargs)), true) })
		if !ok {
			return nil, false
		}
		kw = more.([]kwArg)
	}
	return c.guarded(func() any { return f.call(&c.fold.vframe, args, kw) })
}

func (c *compiler) constAll(list []node) ([]any, bool) {
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

// constOutput is the text of something printed that is constant.
func (c *compiler) constOutput(n node) (text string, ok bool) {
	if d, isData := n.(*nTemplateData); isData {
		return d.data, !c.volatile
	}
	if !c.foldable(n, 0) {
		return "", false
	}
	v, err := c.tryConst(n)
	if err != nil {
		return "", false
	}
	if c.fold.st.try(func() {
		if c.autoescape {
			text = string(escape(&c.fold.vframe, v))
		} else {
			text = str(&c.fold.vframe, v)
		}
	}, "Exception", "LimitError", "RecursionError") != nil {
		return "", false
	}
	return text, len(text) < 1<<16
}

// safeRepr says whether a constant may stand in compiled code: Jinja2 keeps
// only what Python can write down.
func safeRepr(v any) bool {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, Markup, *rangeValue:
		return true
	case Tuple:
		return allSafe(v)
	case *List:
		return allSafe(v.Items)
	case *Dict:
		for key, val := range v.all() {
			if !safeRepr(key) || !safeRepr(val) {
				return false
			}
		}
		return true
	}
	return typeName(v) == "int"
}

func allSafe(list []any) bool {
	for _, v := range list {
		if !safeRepr(v) {
			return false
		}
	}
	return true
}

// mutable says whether a constant must be made anew each time.
func mutable(v any) bool {
	switch v := v.(type) {
	case *List, *Dict:
		return true
	case Tuple:
		for _, item := range v {
			if mutable(item) {
				return true
			}
		}
	}
	return false
}

func cloneConst(fr *frame, v any) any {
	switch v := v.(type) {
	case *List:
		fr.st.alloc(40 + 16*len(v.Items))
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
		fr.st.alloc(64 + 64*v.Len())
		return v.mapValues(func(val any) any { return cloneConst(fr, val) })
	}
	return v
}

// nonFinite says whether a constant holds an infinity or a NaN, which Python
// cannot write down.
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
		for key, val := range v.all() {
			if f := first([]any{key, val}); f != 0 {
				return f
			}
		}
	}
	return 0
}
