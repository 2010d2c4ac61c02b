package jinja

import (
	"strings"
)

// assignTo compiles the storing of a value in a target.
func (c *compiler) assignTo(target node, sc *scope) func(*frame, any) {
	switch n := target.(type) {
	case *nName:
		if n.ctx == ctxStore && (sc.toplevel || sc.loop || sc.block) && len(c.assigned) > 0 {
			c.assigned[len(c.assigned)-1][n.name] = true
		}
		slot := c.fn.slot(c.refName(sc, n.name, n.at()))
		return func(fr *frame, v any) { fr.slots[slot] = v }
	case *nTuple:
		parts := make([]func(*frame, any), len(n.items))
		for i, item := range n.items {
			parts[i] = c.assignTo(item, sc)
		}
		return func(fr *frame, v any) {
			for i, item := range unpack(&fr.vframe, v, len(parts)) {
				parts[i](fr, item)
			}
		}
	}
	c.fail(target.at(), "can't assign to "+repr(nodeName(target)), "")
	return nil
}

// nsCheck compiles the target of `set ns.name`: the check, and the storing.
func (c *compiler) nsTarget(n *nNSRef, sc *scope) (check func(*frame), store func(*frame, any)) {
	depth, slot := c.ref(c.refName(sc, n.name, n.at()))
	at := n.at()
	ns := func(fr *frame) *namespaceValue {
		fr.pos = at
		ns, ok := fr.up(depth).bound(slot).(*namespaceValue)
		if !ok {
			raiseTemplate("cannot assign attribute on non-namespace object")
		}
		return ns
	}
	return func(fr *frame) { ns(fr) }, func(fr *frame, v any) {
		fr.st.alloc(64)
		ns(fr).attrs.setStr(n.attr, v)
	}
}

func (c *compiler) assign(n *nAssign, sc *scope) stmt {
	c.assigned = append(c.assigned, map[string]bool{})
	if ns, ok := n.target.(*nNSRef); ok {
		check, store := c.nsTarget(ns, sc)
		value := c.expr(n.expr, sc)
		c.exportAssigned(sc)
		return func(fr *frame) ctl {
			check(fr)
			store(fr, value(fr))
			return ctlNext
		}
	}
	at := n.at()
	store, value := c.assignTo(n.target, sc), c.expr(n.expr, sc)
	export := c.exportAssigned(sc)
	return func(fr *frame) ctl {
		v := value(fr)
		fr.pos = at
		store(fr, v)
		if export != nil {
			export(fr)
		}
		return ctlNext
	}
}

// exportAssigned ends the tracking of an assignment: its names go to the context,
// or to what functions see of the loop or the block.
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

func (c *compiler) assignBlock(n *nAssignBlock, sc *scope) stmt {
	c.assigned = append(c.assigned, map[string]bool{})
	inner := sc.inner()
	inner.checkOutput = false
	inner.symbols.analyze(n)
	enter := c.enter(inner)
	body := c.body(n.body, inner)
	var store func(*frame, any)
	check := func(*frame) {}
	if ns, ok := n.target.(*nNSRef); ok {
		check, store = c.nsTarget(ns, sc)
	} else {
		store = c.assignTo(n.target, sc)
	}
	var filter func(*frame, any) any
	if n.filter != nil {
		filter = c.filterChain(n.filter, inner)
	}
	auto, volatile := c.autoescape, c.volatile
	export := c.exportAssigned(sc)
	leave := c.leave(inner)
	return func(fr *frame) ctl {
		fr.run(enter)
		text, end := fr.capture(body)
		if end != ctlNext {
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
			v = markupOf(&fr.vframe, v)
		}
		store(fr, v)
		if export != nil {
			export(fr)
		}
		return leave(fr)
	}
}

func (c *compiler) filterBlock(n *nFilterBlock, sc *scope) stmt {
	inner := sc.inner()
	inner.symbols.analyze(n)
	enter := c.enter(inner)
	body := c.body(n.body, inner)
	filter := c.filterChain(n.filter, inner)
	leave := c.leave(inner)
	auto, volatile := c.autoescape, c.volatile
	return func(fr *frame) ctl {
		fr.run(enter)
		text, end := fr.capture(body)
		if end != ctlNext {
			return end
		}
		var v any = text
		if auto && !volatile || volatile && fr.ctx.escape.autoescape {
			v = Markup(text)
		}
		fr.writePlain(filter(fr, v))
		return leave(fr)
	}
}

// writePlain outputs what must be text already: Jinja2 joins such values unconverted.
func (fr *frame) writePlain(v any) {
	s, ok := asStr(v)
	if !ok {
		if fr.out.bad == nil {
			fr.out.bad = &raised{class: "TypeError", kind: KindRuntime, msg: "sequence item 0: expected str instance, " + typeName(v) + " found"}
		}
		return
	}
	fr.out.write(s)
}

func (c *compiler) with(n *nWith, sc *scope) stmt {
	inner := sc.inner()
	inner.symbols.analyze(n)
	enter := c.enter(inner)
	type binding struct {
		store func(*frame, any)
		value expr
		at    int
	}
	bindings := make([]binding, len(n.targets))
	for i := range n.targets {
		bindings[i] = binding{c.assignTo(n.targets[i], inner), c.expr(n.values[i], sc), n.targets[i].at()}
	}
	body := c.body(n.body, inner)
	leave := c.leave(inner)
	return func(fr *frame) ctl {
		fr.run(enter)
		for i := range bindings {
			v := bindings[i].value(fr)
			fr.pos = bindings[i].at
			bindings[i].store(fr, v)
		}
		if end := fr.run(body); end != ctlNext {
			return end
		}
		return leave(fr)
	}
}

func (c *compiler) autoescapeStatement(n *nAutoescape, sc *scope) stmt {
	auto, volatile := c.autoescape, c.volatile
	value := c.expr(n.enabled, sc)
	if v, ok := c.asConst(n.enabled); ok {
		c.autoescape = truth(v)
	} else {
		c.volatile = true
	}
	var body []stmt
	for _, child := range n.body {
		if s := c.statement(child, sc); s != nil {
			body = append(body, s)
		}
	}
	c.autoescape, c.volatile = auto, volatile
	return func(fr *frame) ctl {
		saved := *fr.ctx.escape
		fr.ctx.escape.autoescape = truth(value(fr))
		// A break or continue leaves the mode as it is, as in Jinja2.
		if end := fr.run(body); end != ctlNext {
			return end
		}
		*fr.ctx.escape = saved
		return ctlNext
	}
}
