package jinja

import (
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/resolve"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// macro is a macro or a caller: a function with the frame of its definition.
type macro struct {
	fn      *function
	parent  *frame
	name    string // "" for callers
	args    []string
	slots   []int // of the arguments
	special [3]int
	// The special variables that the body reads.
	caller, kwargs, varargs bool
	explicitCaller          bool
	autoescape              bool
	defaults                []macroDefault
}

// macroDefault is the default of an argument.
type macroDefault struct {
	slot  int
	name  string
	value expr // nil if there is none
}

const (
	specialCaller = iota
	specialKwargs
	specialVarargs
)

// macroBody compiles the function of a macro or call block.
func (c *compiler) macroBody(n syntax.Node, name string, args []*syntax.Name, defaults, body []syntax.Node,
	sc *scope) *macro {
	outer, loops := c.fn, c.loops
	kind := "caller"
	if name != "" {
		kind = "macro " + value.Repr(name)
	}
	f := &function{tmpl: c.tmpl, parent: outer, traceName: kind}
	inner := sc.inner()
	inner.symbols.Analyze(n)
	m := &macro{fn: f, name: name}
	c.fn, c.loops = f, 0

	seen := map[string]bool{}
	explicitCaller := -1
	skip := map[string]bool{}
	for i, a := range args {
		if seen[a.Name] {
			c.fail(a.Pos(), "duplicate argument "+value.Repr(a.Name)+" in macro definition", "")
		}
		seen[a.Name] = true
		if a.Name == "caller" {
			explicitCaller = i
			m.explicitCaller = true
		}
		if a.Name == "kwargs" || a.Name == "varargs" {
			skip[a.Name] = true
		}
		m.args = append(m.args, a.Name)
		m.slots = append(m.slots, f.slot(c.refName(inner, a.Name, a.Pos())))
	}
	names := resolve.Undeclared(body, "caller", "kwargs", "varargs")
	if names["caller"] {
		if explicitCaller >= 0 {
			if explicitCaller < len(args)-len(defaults) {
				c.fail(n.Pos(),
					`When defining macros or call blocks the special "caller" argument must be omitted or be given a default.`, "")
			}
		} else {
			m.special[specialCaller] = f.slot(inner.symbols.Param("caller"))
		}
		m.caller = true
	}
	if names["kwargs"] && !skip["kwargs"] {
		m.special[specialKwargs] = f.slot(inner.symbols.Param("kwargs"))
		m.kwargs = true
	}
	if names["varargs"] && !skip["varargs"] {
		m.special[specialVarargs] = f.slot(inner.symbols.Param("varargs"))
		m.varargs = true
	}
	inner.checkOutput = false
	inner.symbols.Analyze(n)
	enter := c.enter(inner)
	for i, a := range args {
		d := macroDefault{slot: m.slots[i], name: a.Name}
		if k := i - (len(args) - len(defaults)); k >= 0 {
			d.value = c.macroDefaultExpr(defaults[k], inner, args[i:])
		}
		m.defaults = append(m.defaults, d)
	}
	fill := func(fr *frame) outcome {
		for i := range m.defaults {
			d := &m.defaults[i]
			if fr.slots[d.slot] != value.Missing {
				continue
			}
			if d.value != nil {
				fr.slots[d.slot] = d.value(fr)
			} else {
				fr.slots[d.slot] = value.NewUndefined(fr.fn.tmpl.env.cfg.Undefined,
					"parameter "+value.Repr(d.name)+" was not provided")
			}
		}
		return outcomeNext
	}
	f.body = append(append(enter, fill), c.body(body, inner)...)
	c.fn, c.loops = outer, loops
	return m
}

// macroDefaultExpr compiles a default. The arguments from its own on may be unset.
func (c *compiler) macroDefaultExpr(n syntax.Node, sc *scope, unset []*syntax.Name) expr {
	saved := make([]resolve.LoadKind, len(unset))
	for i, a := range unset {
		e := sc.symbols.Own(a.Name)
		saved[i] = e.Load
		e.Load = resolve.LoadResolve // a read checks whether it is set
	}
	e := c.expr(n, sc)
	for i, a := range unset {
		sc.symbols.Own(a.Name).Load = saved[i]
	}
	return e
}

// bindMacro returns the macro that a definition makes when it runs.
func bindMacro(proto *macro, fr *frame) *macro {
	m := *proto
	m.parent = fr
	m.autoescape = fr.ctx.escape.autoescape
	fr.st.Alloc(128)
	return &m
}

func (c *compiler) macroStatement(n *syntax.Macro, sc *scope) stmt {
	proto := c.macroBody(n, n.Name, n.Args, n.Defaults, n.Body, sc)
	slot := c.fn.slot(c.refName(sc, n.Name, n.Pos()))
	top, public := sc.toplevel, !strings.HasPrefix(n.Name, "_")
	name := n.Name
	return func(fr *frame) outcome {
		m := bindMacro(proto, fr)
		fr.slots[slot] = m
		if top {
			if public {
				fr.ctx.export(name)
			}
			fr.ctx.set(name, m)
		}
		return outcomeNext
	}
}

func (c *compiler) callBlock(n *syntax.CallBlock, sc *scope) stmt {
	proto := c.macroBody(n, "", n.Args, n.Defaults, n.Body, sc)
	call := c.call(n.Call, sc, true)
	return func(fr *frame) outcome {
		fr.writeText(call(fr, bindMacro(proto, fr)))
		return outcomeNext
	}
}

// call calls a macro.
func (m *macro) call(fr *frame, args []any, kw []value.Keyword) any {
	inner := m.fn.newFrame(fr.st, m.parent.ctx, m.parent, nil)
	out := &buffer{st: fr.st}
	inner.out = out
	m.bindArguments(inner, args, kw)
	if m.fn.isGenerator {
		g := lazyGenerator(inner, func() { inner.run(m.fn.body) })
		if fr.ctx.escape.autoescape {
			return value.MarkSafe(&fr.Frame, g)
		}
		return g
	}
	inner.push()
	inner.run(m.fn.body)
	inner.pop()
	text := out.text()
	fr.st.Alloc(len(text))
	if fr.ctx.escape.autoescape {
		return Markup(text)
	}
	return text
}

// bindArguments sets the variables of a macro's arguments, with Jinja2's rules for them.
func (m *macro) bindArguments(inner *frame, args []any, kw []value.Keyword) {
	positional := min(len(args), len(m.args))
	for i := range positional {
		inner.slots[m.slots[i]] = args[i]
	}
	keywords := &macroKeywords{given: kw, byName: m.args[positional:]}
	callerIsArgument := m.explicitCaller && positional == len(m.args)
	for i := positional; i < len(m.args); i++ {
		callerIsArgument = callerIsArgument || m.args[i] == "caller"
		inner.slots[m.slots[i]], _ = keywords.take(m.args[i])
	}
	if m.caller && !callerIsArgument {
		v, ok := keywords.take("caller")
		if !ok || v == nil {
			v = value.NewUndefined(m.fn.tmpl.env.cfg.Undefined, "No caller defined")
		}
		inner.slots[m.special[specialCaller]] = v
		keywords.caller = true
	}
	if m.kwargs {
		d := value.NewDictSize(len(kw) - keywords.taken)
		for i := range kw {
			if !keywords.isTaken(i) {
				d.SetStr(kw[i].Name, kw[i].Value)
			}
		}
		inner.slots[m.special[specialKwargs]] = d
	} else if keywords.taken < len(kw) {
		m.rejectKeywords(kw, keywords.isTaken)
	}
	if m.varargs {
		inner.slots[m.special[specialVarargs]] = Tuple(append([]any(nil), args[positional:]...))
	} else if len(args) > len(m.args) {
		raise.Type("macro %s takes not more than %d argument(s)", m.reprName(), len(m.args))
	}
}

// macroKeywords are the keyword arguments of a call of a macro.
type macroKeywords struct {
	given  []value.Keyword
	taken  int      // number of those that are arguments of the macro
	marked uint64   // a bit for each of the first 64 that is
	byName []string // arguments of the macro that are given by keyword
	caller bool     // caller is one, too
}

// take returns a keyword argument, value.Missing if it was not given.
func (k *macroKeywords) take(name string) (any, bool) {
	for i := range k.given {
		if k.given[i].Name == name {
			if i < 64 {
				k.marked |= 1 << i
			}
			k.taken++
			return k.given[i].Value, true
		}
	}
	return value.Missing, false
}

// isTaken reports whether a keyword argument is an argument of the macro.
func (k *macroKeywords) isTaken(i int) bool {
	if i < 64 {
		return k.marked&(1<<i) != 0
	}
	return slices.Contains(k.byName, k.given[i].Name) || k.caller && k.given[i].Name == "caller"
}

func (m *macro) reprName() string {
	if m.name == "" {
		return "None"
	}
	return value.Repr(m.name)
}

func (m *macro) rejectKeywords(kw []value.Keyword, used func(int) bool) {
	first := -1
	for i := range kw {
		if used(i) {
			continue
		}
		if kw[i].Name == "caller" {
			raise.Type("macro %s was invoked with two values for the special caller argument. This is most likely a bug.",
				m.reprName())
		}
		if first < 0 {
			first = i
		}
	}
	r := &raise.Exception{Class: "TypeError", Kind: KindRuntime,
		Message: "macro " + m.reprName() + " takes no keyword argument " + value.Repr(kw[first].Name)}
	r.Hint = raise.Suggest(kw[first].Name, m.args)
	panic(r)
}

// lazyGenerator returns the value of a function that is a generator in Python, as it
// contains an include without context. Its body runs when it is iterated over, and it
// yields the output of such includes.
func lazyGenerator(inner *frame, run func()) *value.IterObject {
	started := false
	var items []any
	return value.NewGenerator(inner.fn.pythonName(), func() (any, bool) {
		if !started {
			started = true
			inner.base = &buffer{st: inner.st}
			inner.push()
			run()
			inner.pop()
			if text := inner.base.text(); text != "" {
				items = append(items, text)
			}
		}
		if len(items) == 0 {
			return nil, false
		}
		v := items[0]
		items = items[1:]
		return v, true
	})
}
