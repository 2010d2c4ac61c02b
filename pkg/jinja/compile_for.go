package jinja

import (
	"slices"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/resolve"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// forStatement compiles a loop. A recursive loop is a function.
func (c *compiler) forStatement(n *syntax.For, sc *scope) stmt {
	loopScope, elseScope := sc.inner(), sc.inner()
	loopScope.loop = true
	extended := n.Recursive || resolve.Undeclared(n.Body, "loop")["loop"]
	if !extended {
		syntax.Walk(n, func(m syntax.Node) bool {
			if b, ok := m.(*syntax.Block); ok && b.Scoped {
				extended = true
			}
			return !extended
		})
	}
	if extended {
		loopScope.symbols.Param("loop")
	}
	loopScope.symbols.AnalyzeFor(n, resolve.ForBody)
	if len(n.OrElse) > 0 {
		elseScope.symbols.AnalyzeFor(n, resolve.ForElse)
	}
	var filter func(*frame, any) any
	if n.Test != nil && !n.Recursive {
		filter = c.loopFilter(n, sc, loopScope)
	}
	syntax.Walk(n, func(m syntax.Node) bool {
		if name, ok := m.(*syntax.Name); ok && name.Context == syntax.Store && name.Name == "loop" {
			c.fail(name.Pos(), "Can't assign to special loop variable in for-loop target", "")
		}
		return true
	})
	iterable := c.expr(n.Iter, sc)
	var s stmt
	if n.Recursive {
		s = c.recursiveLoop(n, iterable, sc, loopScope, elseScope)
	} else {
		run := c.loopBody(n, filter, extended, loopScope, elseScope)
		at := n.Iter.Pos()
		s = func(fr *frame) outcome {
			v := iterable(fr)
			fr.pos = at
			return run(fr, v, nil, 0)
		}
	}
	if k := len(c.assigned); k > 0 {
		for i := range loopScope.symbols.Entries {
			if e := &loopScope.symbols.Entries[i]; e.Stored {
				delete(c.assigned[k-1], e.Name)
			}
		}
	}
	return s
}

// loopFilter compiles the `if` of a loop: a function that filters the items lazily.
func (c *compiler) loopFilter(n *syntax.For, sc, loopScope *scope) func(*frame, any) any {
	outer, loops := c.fn, c.loops
	f := &function{tmpl: c.tmpl, parent: outer}
	c.fn, c.loops = f, 0
	testScope := sc.inner()
	testScope.symbols.AnalyzeFor(n, resolve.ForTest)
	enter := c.enter(testScope)
	store := c.assignTo(n.Target, loopScope)
	test := c.expr(n.Test, testScope)
	item := f.targetValue(n.Target, loopScope)
	c.fn, c.loops = outer, loops
	at := n.Test.Pos()
	return func(fr *frame, v any) any {
		inner := f.newFrame(fr.st, fr.ctx, fr, fr.out)
		inner.pos = at
		var it value.Iterator
		return value.NewGenerator("t_1", func() (any, bool) {
			inner.push()
			if it == nil {
				inner.run(enter)
				it = value.Iterate(&inner.Frame, v)
			}
			for {
				next, ok := it.Next(&inner.Frame)
				if !ok {
					inner.pop()
					return nil, false
				}
				fr.st.Step()
				store(inner, next)
				if value.Truth(test(inner)) {
					inner.pop()
					return item(inner), true
				}
			}
		})
	}
}

// targetValue compiles the value that the target of a loop has in a frame of f.
func (f *function) targetValue(target syntax.Node, sc *scope) func(*frame) any {
	switch n := target.(type) {
	case *syntax.Name:
		id, _ := sc.symbols.FindRef(n.Name)
		slot := f.slot(id)
		return func(fr *frame) any { return fr.slots[slot] }
	case *syntax.Tuple:
		items := make([]func(*frame) any, len(n.Items))
		for i, item := range n.Items {
			items[i] = f.targetValue(item, sc)
		}
		return func(fr *frame) any {
			t := make(Tuple, len(items))
			for i, item := range items {
				t[i] = item(fr)
			}
			return t
		}
	}
	return func(*frame) any { return nil }
}

// loopBody compiles a loop over a value, with its else part.
func (c *compiler) loopBody(
	n *syntax.For, filter func(*frame, any) any, extended bool, loopScope, elseScope *scope,
) func(fr *frame, v any, recurse loopFunc, depth int) outcome {
	store := c.assignTo(n.Target, loopScope)
	loopSlot := -1
	if extended {
		id, _ := loopScope.symbols.FindRef("loop")
		loopSlot = c.fn.slot(id)
	}
	enter := c.enter(loopScope)
	c.loops++
	body := c.body(n.Body, loopScope)
	c.loops--
	var leave stmt
	if !n.Recursive || len(n.OrElse) > 0 {
		leave = c.leave(loopScope)
	}
	var orElse []stmt
	if len(n.OrElse) > 0 {
		orElse = slices.Concat(c.enter(elseScope), c.body(n.OrElse, elseScope), []stmt{c.leave(elseScope)})
	}
	at := n.Target.Pos()
	full := slices.Concat(enter, body)
	return func(fr *frame, v any, recurse loopFunc, depth int) outcome {
		if loopSlot >= 0 {
			fr.slots[loopSlot] = value.Missing
		}
		if filter != nil {
			v = filter(fr, v)
		}
		var loop *loopContext
		it := value.Iterate(&fr.Frame, v)
		if extended {
			loop = &loopContext{
				iterable: v,
				it:       it,
				index0:   -1,
				recurse:  recurse,
				depth0:   depth,
				mode:     fr.fn.tmpl.env.cfg.Undefined,
				before:   value.Missing,
				current:  value.Missing,
				after:    value.Missing,
			}
			it = loop
		}
		completed := false
		for {
			item, ok := it.Next(&fr.Frame)
			if !ok {
				break
			}
			fr.st.Step()
			fr.pos = at
			store(fr, item)
			if loop != nil {
				fr.slots[loopSlot] = loop
			}
			fr.loopVars = nil
			end := fr.run(full)
			if end == outcomeBreak {
				break
			}
			// As in Jinja2, a continued round does not prevent the else part.
			completed = completed || end == outcomeNext
		}
		if leave != nil {
			leave(fr)
		}
		if orElse != nil && !completed {
			return fr.run(orElse)
		}
		return outcomeNext
	}
}

// loopFunc renders the body of a recursive loop.
type loopFunc func(fr *frame, v any, depth int) any

func (c *compiler) recursiveLoop(n *syntax.For, iterable expr, sc, loopScope, elseScope *scope) stmt {
	outer, loops := c.fn, c.loops
	f := &function{tmpl: c.tmpl, parent: outer, traceName: "recursive loop", loop: true}
	c.fn, c.loops = f, 0
	var filter func(*frame, any) any
	if n.Test != nil {
		filter = c.loopFilter(n, sc, loopScope)
	}
	run := c.loopBody(n, filter, true, loopScope, elseScope)
	auto, volatile := c.autoescape, c.volatile
	c.fn, c.loops = outer, loops
	at := n.Iter.Pos()
	return func(fr *frame) outcome {
		parent := fr
		var render loopFunc
		render = func(caller *frame, v any, depth int) any {
			st := caller.st
			inner := f.newFrame(st, parent.ctx, parent, &buffer{st: st})
			inner.pos = at
			if f.isGenerator {
				return lazyGenerator(inner, func() { run(inner, v, render, depth) })
			}
			inner.push()
			run(inner, v, render, depth)
			inner.pop()
			text := inner.out.text()
			st.Alloc(len(text))
			if auto && !volatile || volatile && parent.ctx.escape.autoescape {
				return Markup(text)
			}
			return text
		}
		v := iterable(fr)
		fr.pos = at
		fr.writeText(render(fr, v, 0))
		return outcomeNext
	}
}
