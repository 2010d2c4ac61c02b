package jinja

import (
	"slices"
)

// kwArg is a keyword argument of a call.
type kwArg struct {
	name string
	val  any
}

var pythonKeywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
	"elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
	"not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
}

// args compiles the arguments of a call, a filter or a test. The result appends
// the positional ones to those given.
func (c *compiler) args(a *nArgs, at int, sc *scope, forwardCaller bool) func(*frame, []any) ([]any, []kwArg) {
	pos := c.exprs(a.args, sc)
	names := make([]string, len(a.kwargs))
	vals := make([]expr, len(a.kwargs))
	lenient := false
	for i, k := range a.kwargs {
		names[i], vals[i] = k.name, c.expr(k.val, sc)
		lenient = lenient || slices.Contains(pythonKeywords, k.name)
	}
	if !lenient {
		seen := make(map[string]bool, len(names))
		for _, name := range names {
			if seen[name] || forwardCaller && name == "caller" {
				c.fail(at, "keyword argument repeated: "+name, "")
			}
			seen[name] = true
		}
	}
	// add appends a keyword argument. Without a check above, names may repeat.
	add := func(fr *frame, kw []kwArg, name string, v any) []kwArg {
		if !lenient {
			return append(kw, kwArg{name, v})
		}
		return addKeyword(&fr.vframe, kw, name, v, true)
	}
	if a.dynArgs == nil && a.dynKwargs == nil {
		if len(names) == 0 {
			return func(fr *frame, args []any) ([]any, []kwArg) {
				for _, e := range pos {
					args = append(args, e(fr))
				}
				return args, nil
			}
		}
		return func(fr *frame, args []any) ([]any, []kwArg) {
			for _, e := range pos {
				args = append(args, e(fr))
			}
			kw := make([]kwArg, 0, len(names)+1)
			for i, name := range names {
				kw = add(fr, kw, name, vals[i](fr))
			}
			return args, kw
		}
	}
	var dynArgs, dynKwargs expr
	if a.dynArgs != nil {
		dynArgs = c.expr(a.dynArgs, sc)
	}
	if a.dynKwargs != nil {
		dynKwargs = c.expr(a.dynKwargs, sc)
	}
	return func(fr *frame, args []any) ([]any, []kwArg) {
		for _, e := range pos {
			args = append(args, e(fr))
		}
		if dynArgs != nil {
			v := dynArgs(fr)
			fr.pos = at
			args = append(args, starArgs(fr, v)...)
		}
		kw := make([]kwArg, 0, len(names)+1)
		for i, name := range names {
			kw = add(fr, kw, name, vals[i](fr))
		}
		if dynKwargs != nil {
			v := dynKwargs(fr)
			fr.pos = at
			kw = starKwargs(fr, kw, v, lenient)
		}
		return args, kw
	}
}

func addKeyword(fr *vframe, kw []kwArg, name string, v any, replace bool) []kwArg {
	fr.work(len(kw) >> 3)
	for i := range kw {
		if kw[i].name == name {
			if !replace {
				raiseType("got multiple values for keyword argument '%s'", name)
			}
			kw[i].val = v
			return kw
		}
	}
	return append(kw, kwArg{name, v})
}

// starArgs is the value of `*value` in a call.
func starArgs(fr *frame, v any) []any {
	switch v.(type) {
	case nil, bool, int64, float64:
		raiseType("argument after * must be an iterable, not %s", typeName(v))
	}
	return collect(&fr.vframe, v)
}

// starKwargs adds `**value` to the keyword arguments of a call.
func starKwargs(fr *frame, kw []kwArg, v any, replace bool) []kwArg {
	switch d := v.(type) {
	case *Dict:
		for key, val := range d.all() {
			name, ok := asStr(key)
			if !ok {
				raiseType("keywords must be strings")
			}
			kw = addKeyword(&fr.vframe, kw, name, val, replace)
		}
	case *Undefined:
		raiseUndefined(d)
	default:
		raiseType("argument after ** must be a mapping, not %s", typeName(v))
	}
	return kw
}

// call compiles a call; the macro of a call block is passed as caller.
func (c *compiler) call(n *nCall, sc *scope, forwardCaller bool) func(fr *frame, caller any) any {
	args := c.args(&n.nArgs, n.at(), sc, forwardCaller)
	at, count := n.at(), len(n.args)
	loop, block := sc.loop, sc.block
	if g, ok := n.expr.(*nGetattr); ok && !forwardCaller {
		if _, isConst := c.asConst(n.expr); !isConst {
			obj, attr, attrAt := c.expr(g.expr, sc), g.attr, g.at()
			return func(fr *frame, _ any) any {
				v := obj(fr)
				fr.pos = attrAt
				m := methodOf(v, attr)
				var fn any
				if m == nil {
					fn = getattr(&fr.vframe, v, attr)
				}
				a, kw := args(fr, make([]any, 0, count))
				fr.pos = at
				if m != nil {
					return m.call(&fr.vframe, v, a, kw)
				}
				return callValue(&fr.vframe, fn, a, kw, loop, block)
			}
		}
	}
	fn := c.expr(n.expr, sc)
	return func(fr *frame, caller any) any {
		f := fn(fr)
		a, kw := args(fr, make([]any, 0, count))
		if forwardCaller {
			kw = addKeyword(&fr.vframe, kw, "caller", caller, false)
		}
		fr.pos = at
		return callValue(&fr.vframe, f, a, kw, loop, block)
	}
}

// filterChain compiles the filters of a filter or set block, which apply to its text.
func (c *compiler) filterChain(n *nFilter, sc *scope) func(*frame, any) any {
	f := c.filterCall(n, sc)
	if n.expr == nil {
		return f
	}
	if inner, ok := n.expr.(*nFilter); ok {
		g := c.filterChain(inner, sc)
		return func(fr *frame, v any) any { return f(fr, g(fr, v)) }
	}
	e := c.expr(n.expr, sc)
	return func(fr *frame, _ any) any { return f(fr, e(fr)) }
}

// lookup finds a filter or test when the template is compiled.
func (c *compiler) lookup(kind, name string, at int, sc *scope) *callable {
	m := c.env.filters
	if kind == "test" {
		m = c.env.tests
	}
	f := m[name]
	if f == nil && !sc.soft {
		c.fail(at, "No "+kind+" named "+repr(name)+".", suggestCallable(name, m))
	}
	return f
}

func (c *compiler) filterCall(n *nFilter, sc *scope) func(*frame, any) any {
	f := c.lookup("filter", n.name, n.at(), sc)
	return c.applied(f, "filter", n.name, &n.nArgs, n.at(), sc)
}

func (c *compiler) testExpr(n *nTest, sc *scope) expr {
	f := c.lookup("test", n.name, n.at(), sc)
	test := c.applied(f, "test", n.name, &n.nArgs, n.at(), sc)
	e := c.expr(n.expr, sc)
	return func(fr *frame) any { return test(fr, e(fr)) }
}

// applied compiles a filter or test with its arguments.
func (c *compiler) applied(f *callable, kind, name string, a *nArgs, at int, sc *scope) func(*frame, any) any {
	args := c.args(a, at, sc, false)
	count := len(a.args) + 1
	env := c.env
	return func(fr *frame, v any) any {
		list, kw := args(fr, append(make([]any, 0, count), v))
		fr.pos = at
		if f == nil {
			m := env.filters
			if kind == "test" {
				m = env.tests
			}
			panic(&raised{class: "TemplateRuntimeError", kind: KindRuntime, msg: "No " + kind + " named " + repr(name) + " found.", hint: suggestCallable(name, m)})
		}
		return f.call(&fr.vframe, list, kw)
	}
}
