package jinja

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// assignTo compiles the assignment of a value to a target.
func (c *compiler) assignTo(target syntax.Node, sc *scope) func(*frame, any) {
	switch n := target.(type) {
	case *syntax.Name:
		if n.Context == syntax.Store && (sc.toplevel || sc.loop || sc.block) && len(c.assigned) > 0 {
			c.assigned[len(c.assigned)-1][n.Name] = true
		}
		slot := c.fn.slot(c.refName(sc, n.Name, n.Pos()))
		return func(fr *frame, v any) { fr.slots[slot] = v }
	case *syntax.Tuple:
		parts := make([]func(*frame, any), len(n.Items))
		for i, item := range n.Items {
			parts[i] = c.assignTo(item, sc)
		}
		return func(fr *frame, v any) {
			for i, item := range value.Unpack(&fr.Frame, v, len(parts)) {
				parts[i](fr, item)
			}
		}
	}
	c.fail(target.Pos(), "can't assign to "+value.Repr(syntax.NodeName(target)), "")
	return nil
}

// nsTarget compiles the target of `set ns.name`: its check, and the assignment.
func (c *compiler) nsTarget(n *syntax.NamespaceRef, sc *scope) (check func(*frame), store func(*frame, any)) {
	depth, slot := c.ref(c.refName(sc, n.Name, n.Pos()))
	at := n.Pos()
	ns := func(fr *frame) *value.Namespace {
		fr.pos = at
		ns, ok := fr.outer(depth).slotValue(slot).(*value.Namespace)
		if !ok {
			raise.Template("cannot assign attribute on non-namespace object")
		}
		return ns
	}
	return func(fr *frame) { ns(fr) }, func(fr *frame, v any) {
		fr.st.Alloc(64)
		ns(fr).Attrs.SetStr(n.Attr, v)
	}
}

func (c *compiler) assign(n *syntax.Assign, sc *scope) stmt {
	c.assigned = append(c.assigned, map[string]bool{})
	if ns, ok := n.Target.(*syntax.NamespaceRef); ok {
		check, store := c.nsTarget(ns, sc)
		val := c.expr(n.Expr, sc)
		c.exportAssigned(sc)
		return func(fr *frame) outcome {
			check(fr)
			store(fr, val(fr))
			return outcomeNext
		}
	}
	at := n.Pos()
	store, val := c.assignTo(n.Target, sc), c.expr(n.Expr, sc)
	export := c.exportAssigned(sc)
	return func(fr *frame) outcome {
		v := val(fr)
		fr.pos = at
		store(fr, v)
		if export != nil {
			export(fr)
		}
		return outcomeNext
	}
}

// exportAssigned ends an assignment: its names are exported to the context, or to the
// variables of the loop or block that functions see.
func (c *compiler) exportAssigned(sc *scope) func(*frame) {
	vars := c.assigned[len(c.assigned)-1]
	c.assigned = c.assigned[:len(c.assigned)-1]
	if !sc.block && !sc.loop && !sc.toplevel || len(vars) == 0 {
		return nil
	}
	type exported struct {
		name   string
		slot   int
		public bool
	}
	var list []exported
	for name := range vars {
		list = append(list, exported{name, c.fn.slot(c.refName(sc, name, 0)), !strings.HasPrefix(name, "_")})
	}
	loop, block := sc.loop, sc.block
	return func(fr *frame) {
		for _, e := range list {
			v := fr.slots[e.slot]
			switch {
			case loop:
				setVar(&fr.loopVars, e.name, v)
			case block:
				setVar(&fr.blockVars, e.name, v)
			default:
				fr.ctx.set(e.name, v)
				if e.public {
					fr.ctx.export(e.name)
				}
			}
		}
	}
}

func setVar(m *map[string]any, name string, v any) {
	if *m == nil {
		*m = map[string]any{}
	}
	(*m)[name] = v
}

func (c *compiler) assignBlock(n *syntax.AssignBlock, sc *scope) stmt {
	c.assigned = append(c.assigned, map[string]bool{})
	inner := sc.inner()
	inner.checkOutput = false
	inner.symbols.Analyze(n)
	enter := c.enter(inner)
	body := c.body(n.Body, inner)
	var store func(*frame, any)
	check := func(*frame) {}
	if ns, ok := n.Target.(*syntax.NamespaceRef); ok {
		check, store = c.nsTarget(ns, sc)
	} else {
		store = c.assignTo(n.Target, sc)
	}
	var filter func(*frame, any) any
	if n.Filter != nil {
		filter = c.filterChain(n.Filter, inner)
	}
	auto, volatile := c.autoescape, c.volatile
	export := c.exportAssigned(sc)
	leave := c.leave(inner)
	return func(fr *frame) outcome {
		fr.run(enter)
		text, end := fr.capture(body)
		if end != outcomeNext {
			return end
		}
		check(fr)
		var v any = text
		if filter != nil {
			if auto && !volatile || volatile && fr.ctx.escape.autoescape {
				v = Markup(text)
			}
			v = filter(fr, v)
		}
		if fr.ctx.escape.autoescape {
			v = value.MarkSafe(&fr.Frame, v)
		}
		store(fr, v)
		if export != nil {
			export(fr)
		}
		return leave(fr)
	}
}

func (c *compiler) filterBlock(n *syntax.FilterBlock, sc *scope) stmt {
	inner := sc.inner()
	inner.symbols.Analyze(n)
	enter := c.enter(inner)
	body := c.body(n.Body, inner)
	filter := c.filterChain(n.Filter, inner)
	leave := c.leave(inner)
	auto, volatile := c.autoescape, c.volatile
	return func(fr *frame) outcome {
		fr.run(enter)
		text, end := fr.capture(body)
		if end != outcomeNext {
			return end
		}
		var v any = text
		if auto && !volatile || volatile && fr.ctx.escape.autoescape {
			v = Markup(text)
		}
		fr.writeText(filter(fr, v))
		return leave(fr)
	}
}

// writeText prints a value that must be a string: Jinja2 joins it without conversion.
func (fr *frame) writeText(v any) {
	s, ok := value.AsStr(v)
	if !ok {
		if fr.out.joinError == nil {
			fr.out.joinError = &raise.Exception{
				Class:   "TypeError",
				Kind:    KindRuntime,
				Message: "sequence item 0: expected str instance, " + value.TypeName(v) + " found",
			}
		}
		return
	}
	fr.out.mark(fr.fn.tmpl, fr.pos, false)
	fr.out.write(s)
}

func (c *compiler) with(n *syntax.With, sc *scope) stmt {
	inner := sc.inner()
	inner.symbols.Analyze(n)
	enter := c.enter(inner)
	type binding struct {
		store func(*frame, any)
		value expr
		at    int
	}
	bindings := make([]binding, len(n.Targets))
	for i := range n.Targets {
		bindings[i] = binding{c.assignTo(n.Targets[i], inner), c.expr(n.Values[i], sc), n.Targets[i].Pos()}
	}
	body := c.body(n.Body, inner)
	leave := c.leave(inner)
	return func(fr *frame) outcome {
		fr.run(enter)
		for i := range bindings {
			v := bindings[i].value(fr)
			fr.pos = bindings[i].at
			bindings[i].store(fr, v)
		}
		if end := fr.run(body); end != outcomeNext {
			return end
		}
		return leave(fr)
	}
}

func (c *compiler) autoescapeStatement(n *syntax.Autoescape, sc *scope) stmt {
	auto, volatile := c.autoescape, c.volatile
	val := c.expr(n.Enabled, sc)
	if v, ok := c.asConst(n.Enabled); ok {
		c.autoescape = value.Truth(v)
	} else {
		c.volatile = true
	}
	var body []stmt
	for _, child := range n.Body {
		if s := c.statement(child, sc); s != nil {
			body = append(body, s)
		}
	}
	c.autoescape, c.volatile = auto, volatile
	return func(fr *frame) outcome {
		saved := *fr.ctx.escape
		fr.ctx.escape.autoescape = value.Truth(val(fr))
		// A break or continue keeps the mode, as in Jinja2.
		if end := fr.run(body); end != outcomeNext {
			return end
		}
		*fr.ctx.escape = saved
		return outcomeNext
	}
}
