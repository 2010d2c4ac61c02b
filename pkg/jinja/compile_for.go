package jinja

import "slices"

// forStatement compiles a loop. A recursive one becomes a function of its own.
func (c *compiler) forStatement(n *nFor, sc *scope) stmt {
	loopScope, elseScope := sc.inner(), sc.inner()
	loopScope.loop = true
	extended := n.recursive || undeclared(n.body, "loop")["loop"]
	if !extended {
		walk(n, func(m node) bool {
			if b, ok := m.(*nBlock); ok && b.scoped {
				extended = true
			}
			return !extended
		})
	}
	if extended {
		loopScope.symbols.param("loop")
	}
	loopScope.symbols.analyzeFor(n, forBody)
	if len(n.orElse) > 0 {
		elseScope.symbols.analyzeFor(n, forElse)
	}
	var filter func(*frame, any) any
	if n.test != nil && !n.recursive {
		filter = c.loopFilter(n, sc, loopScope)
	}
	walk(n, func(m node) bool {
		if name, ok := m.(*nName); ok && name.ctx == ctxStore && name.name == "loop" {
			c.fail(name.at(), "Can't assign to special loop variable in for-loop target", "")
		}
		return true
	})
	iterable := c.expr(n.iter, sc)
	var s stmt
	if n.recursive {
		s = c.recursiveLoop(n, iterable, sc, loopScope, elseScope)
	} else {
		run := c.loopBody(n, filter, extended, loopScope, elseScope)
		at := n.iter.at()
		s = func(fr *frame) ctl {
			v := iterable(fr)
			fr.pos = at
			return run(fr, v, nil, 0)
		}
	}
	if k := len(c.assigned); k > 0 {
		for i := range loopScope.symbols.ents {
			if e := &loopScope.symbols.ents[i]; e.stored {
				delete(c.assigned[k-1], e.name)
			}
		}
	}
	return s
}

// loopFilter compiles the `if` of a loop: a function that filters while it is
// iterated, with variables of its own.
func (c *compiler) loopFilter(n *nFor, sc, loopScope *scope) func(*frame, any) any {
	outer, loops := c.fn, c.loops
	f := &function{tmpl: c.tmpl, parent: outer}
	c.fn, c.loops = f, 0
	testScope := sc.inner()
	testScope.symbols.analyzeFor(n, forTest)
	enter := c.enter(testScope)
	store := c.assignTo(n.target, loopScope)
	test := c.expr(n.test, testScope)
	c.fn, c.loops = outer, loops
	at := n.test.at()
	return func(fr *frame, v any) any {
		inner := f.newFrame(fr.st, fr.ctx, fr, fr.out)
		inner.pos = at
		var it iterator
		return newGenerator("t_1", func() (any, bool) {
			inner.push()
			if it == nil {
				inner.run(enter)
				it = iterate(&inner.vframe, v)
			}
			for {
				item, ok := it.next(&inner.vframe)
				if !ok {
					inner.pop()
					return nil, false
				}
				fr.st.step()
				store(inner, item)
				if truth(test(inner)) {
					inner.pop()
					return loopItem(inner, n.target, f, loopScope), true
				}
			}
		})
	}
}

// loopItem is the value of a loop's target in a filter: a tuple for several names.
func loopItem(fr *frame, target node, f *function, sc *scope) any {
	switch n := target.(type) {
	case *nName:
		id, _ := sc.symbols.findRef(n.name)
		return fr.slots[f.slots[id]]
	case *nTuple:
		t := make(Tuple, len(n.items))
		for i, item := range n.items {
			t[i] = loopItem(fr, item, f, sc)
		}
		return t
	}
	return nil
}

// loopBody compiles a loop over a value, with its else part.
func (c *compiler) loopBody(n *nFor, filter func(*frame, any) any, extended bool, loopScope, elseScope *scope) func(fr *frame, v any, recurse loopFunc, depth int) ctl {
	store := c.assignTo(n.target, loopScope)
	loopSlot := -1
	if extended {
		id, _ := loopScope.symbols.findRef("loop")
		loopSlot = c.fn.slot(id)
	}
	enter := c.enter(loopScope)
	c.loops++
	body := c.body(n.body, loopScope)
	c.loops--
	var leave stmt
	if !n.recursive || len(n.orElse) > 0 {
		leave = c.leave(loopScope)
	}
	var orElse []stmt
	if len(n.orElse) > 0 {
		orElse = slices.Concat(c.enter(elseScope), c.body(n.orElse, elseScope), []stmt{c.leave(elseScope)})
	}
	at := n.target.at()
	full := slices.Concat(enter, body)
	return func(fr *frame, v any, recurse loopFunc, depth int) ctl {
		if loopSlot >= 0 {
			fr.slots[loopSlot] = missing
		}
		if filter != nil {
			v = filter(fr, v)
		}
		var loop *loopContext
		it := iterate(&fr.vframe, v)
		if extended {
			loop = &loopContext{iterable: v, it: it, index0: -1, recurse: recurse, depth0: depth, mode: fr.fn.tmpl.env.cfg.Undefined, before: missing, current: missing, after: missing}
			it = loop
		}
		completed := false
		for {
			item, ok := it.next(&fr.vframe)
			if !ok {
				break
			}
			fr.st.step()
			fr.pos = at
			store(fr, item)
			if loop != nil {
				fr.slots[loopSlot] = loop
			}
			fr.loopVars = nil
			end := fr.run(full)
			if end == ctlBreak {
				break
			}
			// A round that continues does not count for the else part, as in Jinja2.
			completed = completed || end == ctlNext
		}
		if leave != nil {
			leave(fr)
		}
		if orElse != nil && !completed {
			return fr.run(orElse)
		}
		return ctlNext
	}
}

// loopFunc renders the body of a recursive loop over a value.
type loopFunc func(fr *frame, v any, depth int) any

func (c *compiler) recursiveLoop(n *nFor, iterable expr, sc, loopScope, elseScope *scope) stmt {
	outer, loops := c.fn, c.loops
	f := &function{tmpl: c.tmpl, parent: outer, what: "recursive loop", loop: true}
	c.fn, c.loops = f, 0
	var filter func(*frame, any) any
	if n.test != nil {
		filter = c.loopFilter(n, sc, loopScope)
	}
	run := c.loopBody(n, filter, true, loopScope, elseScope)
	auto, volatile := c.autoescape, c.volatile
	c.fn, c.loops = outer, loops
	at := n.iter.at()
	return func(fr *frame) ctl {
		parent := fr
		var render loopFunc
		render = func(caller *frame, v any, depth int) any {
			st := caller.st
			inner := f.newFrame(st, parent.ctx, parent, &buffer{st: st})
			inner.pos = at
			if f.yields {
				return lazyGenerator(inner, func() { run(inner, v, render, depth) })
			}
			inner.push()
			run(inner, v, render, depth)
			inner.pop()
			text := inner.out.text()
			st.alloc(len(text))
			if auto && !volatile || volatile && parent.ctx.escape.autoescape {
				return Markup(text)
			}
			return text
		}
		v := iterable(fr)
		fr.pos = at
		fr.writePlain(render(fr, v, 0))
		return ctlNext
	}
}
