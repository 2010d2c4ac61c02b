package jinja

import (
	"slices"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

var pythonKeywords = []string{
	"False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del",
	"elif", "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal",
	"not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
}

// args compiles the arguments of a call, a filter or a test. The compiled function
// appends the positional ones to a slice.
func (c *compiler) args(a *syntax.Arguments, at int, sc *scope, forwardCaller bool) func(*frame, []any) (
	[]any, []value.Keyword) {
	pos := c.exprs(a.Positional, sc)
	names := make([]string, len(a.Keywords))
	vals := make([]expr, len(a.Keywords))
	lenient := false
	for i, k := range a.Keywords {
		names[i], vals[i] = k.Name, c.expr(k.Value, sc)
		lenient = lenient || slices.Contains(pythonKeywords, k.Name)
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
	// add adds a keyword argument. Names may repeat only if they were not checked
	// above.
	add := func(fr *frame, kw []value.Keyword, name string, v any) []value.Keyword {
		if !lenient {
			return append(kw, value.Keyword{Name: name, Value: v})
		}
		return value.AddKeyword(&fr.Frame, kw, name, v, true)
	}
	if a.Star == nil && a.StarStar == nil {
		if len(names) == 0 {
			return func(fr *frame, args []any) ([]any, []value.Keyword) {
				for _, e := range pos {
					args = append(args, e(fr))
				}
				return args, nil
			}
		}
		return func(fr *frame, args []any) ([]any, []value.Keyword) {
			for _, e := range pos {
				args = append(args, e(fr))
			}
			kw := make([]value.Keyword, 0, len(names)+1)
			for i, name := range names {
				kw = add(fr, kw, name, vals[i](fr))
			}
			return args, kw
		}
	}
	var dynArgs, dynKwargs expr
	if a.Star != nil {
		dynArgs = c.expr(a.Star, sc)
	}
	if a.StarStar != nil {
		dynKwargs = c.expr(a.StarStar, sc)
	}
	return func(fr *frame, args []any) ([]any, []value.Keyword) {
		for _, e := range pos {
			args = append(args, e(fr))
		}
		if dynArgs != nil {
			v := dynArgs(fr)
			fr.pos = at
			args = append(args, starArgs(fr, v)...)
		}
		kw := make([]value.Keyword, 0, len(names)+1)
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

// starArgs returns the arguments of `*value` in a call.
func starArgs(fr *frame, v any) []any {
	switch v.(type) {
	case nil, bool, int64, float64:
		raise.Type("argument after * must be an iterable, not %s", value.TypeName(v))
	}
	return value.Collect(&fr.Frame, v)
}

// starKwargs adds `**value` to the keyword arguments of a call.
func starKwargs(fr *frame, kw []value.Keyword, v any, replace bool) []value.Keyword {
	switch d := v.(type) {
	case *Dict:
		for key, val := range d.All() {
			name, ok := value.AsStr(key)
			if !ok {
				raise.Type("keywords must be strings")
			}
			kw = value.AddKeyword(&fr.Frame, kw, name, val, replace)
		}
	case *Undefined:
		value.RaiseUndefined(d)
	default:
		raise.Type("argument after ** must be a mapping, not %s", value.TypeName(v))
	}
	return kw
}

// call compiles a call. forwardCaller passes the macro of a call block.
func (c *compiler) call(n *syntax.Call, sc *scope, forwardCaller bool) func(fr *frame, caller any) any {
	args := c.args(&n.Arguments, n.Pos(), sc, forwardCaller)
	at, count := n.Pos(), len(n.Positional)
	loop, block := sc.loop, sc.block
	if g, ok := n.Expr.(*syntax.Getattr); ok && !forwardCaller {
		if _, isConst := c.asConst(n.Expr); !isConst {
			obj, attr, attrAt := c.expr(g.Expr, sc), g.Attr, g.Pos()
			return func(fr *frame, _ any) any {
				v := obj(fr)
				fr.pos = attrAt
				m := method.Find(v, attr)
				var fn any
				if m == nil {
					fn = method.Getattr(&fr.Frame, v, attr)
				}
				a, kw := args(fr, make([]any, 0, count))
				fr.pos = at
				if m != nil {
					return m.Call(&fr.Frame, v, a, kw)
				}
				return value.Invoke(&fr.Frame, fn, a, kw, loop, block)
			}
		}
	}
	fn := c.expr(n.Expr, sc)
	return func(fr *frame, caller any) any {
		f := fn(fr)
		a, kw := args(fr, make([]any, 0, count))
		if forwardCaller {
			kw = value.AddKeyword(&fr.Frame, kw, "caller", caller, false)
		}
		fr.pos = at
		return value.Invoke(&fr.Frame, f, a, kw, loop, block)
	}
}

// filterChain compiles the filters of a filter or set block.
func (c *compiler) filterChain(n *syntax.Filter, sc *scope) func(*frame, any) any {
	f := c.filterCall(n, sc)
	if n.Expr == nil {
		return f
	}
	if inner, ok := n.Expr.(*syntax.Filter); ok {
		g := c.filterChain(inner, sc)
		return func(fr *frame, v any) any { return f(fr, g(fr, v)) }
	}
	e := c.expr(n.Expr, sc)
	return func(fr *frame, _ any) any { return f(fr, e(fr)) }
}

// lookup returns a filter or test. An unknown one is an error, except in a branch.
func (c *compiler) lookup(kind, name string, at int, sc *scope) *value.Callable {
	m := c.env.filters
	if kind == "test" {
		m = c.env.tests
	}
	f := m[name]
	if f == nil && !sc.inBranch {
		c.fail(at, "No "+kind+" named "+value.Repr(name)+".", value.SuggestCallable(name, m))
	}
	return f
}

func (c *compiler) filterCall(n *syntax.Filter, sc *scope) func(*frame, any) any {
	f := c.lookup("filter", n.Name, n.Pos(), sc)
	return c.applied(f, "filter", n.Name, &n.Arguments, n.Pos(), sc)
}

func (c *compiler) testExpr(n *syntax.Test, sc *scope) expr {
	f := c.lookup("test", n.Name, n.Pos(), sc)
	test := c.applied(f, "test", n.Name, &n.Arguments, n.Pos(), sc)
	e := c.expr(n.Expr, sc)
	return func(fr *frame) any { return test(fr, e(fr)) }
}

// applied compiles the application of a filter or test.
func (c *compiler) applied(f *value.Callable, kind, name string, a *syntax.Arguments, at int,
	sc *scope) func(*frame, any) any {
	args := c.args(a, at, sc, false)
	count := len(a.Positional) + 1
	env := c.env
	return func(fr *frame, v any) any {
		list, kw := args(fr, append(make([]any, 0, count), v))
		fr.pos = at
		if f == nil {
			m := env.filters
			if kind == "test" {
				m = env.tests
			}
			panic(&raise.Exception{
				Class:   "TemplateRuntimeError",
				Kind:    KindRuntime,
				Message: "No " + kind + " named " + value.Repr(name) + " found.",
				Hint:    value.SuggestCallable(name, m),
			})
		}
		return f.Call(&fr.Frame, list, kw)
	}
}
