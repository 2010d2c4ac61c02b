package jinja

import (
	"slices"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// templateOf returns the template of a value: a name or a template.
func (c *compiler) templateOf(fr *frame, v any) *Template {
	switch v := v.(type) {
	case *Template:
		return v
	case string:
		return loadTemplate(fr, v)
	case Markup:
		return loadTemplate(fr, string(v))
	case *Undefined:
		value.RaiseUndefined(v)
	}
	value.HashKey(&fr.Frame, v)
	raise.As(KindNotFound, "TemplateNotFound", "template %s not found", value.Repr(v))
	return nil
}

func loadTemplate(fr *frame, name string) *Template {
	t, err := fr.fn.tmpl.env.Template(name)
	if err != nil {
		e := err.(*Error)
		if e.Kind == KindNotFound || e.Line == 0 {
			hint := e.Hint
			if e.Kind == KindNotFound && hint == "" && slices.Contains(fr.visibleNames(), name) {
				hint = name + " is a variable: write it without quotes"
			}
			panic(&raise.Exception{Class: e.Class, Kind: e.Kind, Message: e.Message, Hint: hint, Cause: e.Cause})
		}
		raise.Reraise(e)
	}
	return t
}

// selectTemplate returns the first of several templates that exists.
func (c *compiler) selectTemplate(fr *frame, v any) *Template {
	if u, ok := v.(*Undefined); ok {
		value.RaiseUndefined(u)
	}
	if !value.Truth(v) {
		raise.As(KindNotFound, "TemplatesNotFound", "Tried to select from an empty list of templates")
	}
	var tried []string
	it := value.Iterate(&fr.Frame, v)
	for {
		name, ok := it.Next(&fr.Frame)
		if !ok {
			break
		}
		if t, ok := name.(*Template); ok {
			return t
		}
		var t *Template
		if fr.st.Try(func() { t = c.templateOf(fr, name) }, "TemplateNotFound", "UndefinedError") == nil {
			return t
		}
		if u, ok := name.(*Undefined); ok {
			tried = append(tried, u.Message())
		} else {
			tried = append(tried, value.Str(&fr.Frame, name))
		}
	}
	// Jinja2's exception reads the last name, which fails for some values.
	value.Subscript(&fr.Frame, v, int64(-1))
	raise.As(KindNotFound, "TemplatesNotFound", "none of the templates given were found: %s", strings.Join(tried, ", "))
	return nil
}

func (c *compiler) extend(n *syntax.Extends, sc *scope) stmt {
	if !sc.toplevel {
		c.fail(n.Pos(), "cannot use extend from a non top-level scope", "")
	}
	at := n.Pos()
	check := c.extends > 0
	if check && c.alwaysExtends {
		c.unreachable = true
		return func(fr *frame) outcome {
			fr.pos = at
			raise.Template("extended multiple times")
			return outcomeNext
		}
	}
	name := c.expr(n.Template, sc)
	if sc.rootlevel {
		c.alwaysExtends = true
	}
	c.extends++
	at = n.Template.Pos()
	return func(fr *frame) outcome {
		if check && fr.extended != nil {
			fr.pos = at
			raise.Template("extended multiple times")
		}
		v := name(fr)
		fr.pos = at
		t := c.templateOf(fr, v)
		fr.extended, fr.extendedAt = t, at
		ctx := fr.ctx
		if ctx.blocks == nil && len(t.blocks) > 0 {
			ctx.blocks = make(map[string][]*function, len(t.blocks))
		}
		for _, b := range t.blocks {
			ctx.blocks[b.name] = append(ctx.blocks[b.name], b)
		}
		return outcomeNext
	}
}

func (c *compiler) block(n *syntax.Block, sc *scope) stmt {
	check := false
	if sc.toplevel {
		if c.alwaysExtends {
			return nil
		}
		check = c.extends > 0
	}
	var locals func(*frame) map[string]any
	if n.Scoped {
		locals = c.locals(sc)
	}
	name, at := n.Name, n.Pos()
	required := n.Required
	return c.unlessExtended(check, func(fr *frame) outcome {
		ctx := fr.ctx
		fr.pos = at
		if locals != nil {
			fr.st.Work(ctx.size() >> 3)
			ctx = ctx.derived(locals(fr))
		}
		blocks := fr.ctx.blocks[name]
		if required && len(blocks) <= 1 {
			raise.Template("Required block %s not found", value.Repr(name))
		}
		blocks[0].call(fr.st, ctx, fr.out)
		return outcomeNext
	})
}

// locals compiles the collection of a scope's local variables.
func (c *compiler) locals(sc *scope) func(*frame) map[string]any {
	type local struct {
		name        string
		depth, slot int
	}
	var list []local
	for _, s := range sc.symbols.Stores() {
		depth, slot := c.ref(s.Id)
		list = append(list, local{s.Name, depth, slot})
	}
	return func(fr *frame) map[string]any {
		if len(list) == 0 {
			return nil
		}
		vars := make(map[string]any, len(list))
		for _, l := range list {
			vars[l.name] = fr.outer(l.depth).slotValue(l.slot)
		}
		return vars
	}
}

func (c *compiler) include(n *syntax.Include, sc *scope) stmt {
	val := c.expr(n.Template, sc)
	find := c.templateOrSelect
	switch t := n.Template.(type) {
	case *syntax.Const:
		if _, ok := t.Value.(string); ok {
			find = c.templateOf
		}
	case *syntax.Tuple, *syntax.List:
		find = c.selectTemplate
	}
	var locals func(*frame) map[string]any
	if n.WithContext {
		locals = c.locals(sc)
	}
	at := n.Template.Pos()
	get := func(fr *frame) *Template {
		v := val(fr)
		fr.pos = at
		return find(fr, v)
	}
	ignore := n.IgnoreMissing
	if !n.WithContext {
		c.fn.isGenerator = true
	}
	return func(fr *frame) outcome {
		var t *Template
		if ignore {
			if fr.st.Try(func() { t = get(fr) }, "TemplateNotFound", "TemplatesNotFound") != nil {
				return outcomeNext
			}
		} else {
			t = get(fr)
		}
		if locals == nil {
			// As in Jinja2, the output bypasses set and filter blocks.
			m := t.defaultModule(fr, nil)
			fr.base.mark(fr.fn.tmpl, at, false)
			fr.base.write(m.body)
			if fr.base.joinError == nil {
				fr.base.joinError = m.joinError
			}
			return outcomeNext
		}
		fr.st.Work(fr.ctx.size() >> 3)
		ctx := newContext(t.env, t, fr.ctx.withLocals(locals(fr)))
		t.root.call(fr.st, ctx, fr.out)
		return outcomeNext
	}
}

func (c *compiler) templateOrSelect(fr *frame, v any) *Template {
	switch v.(type) {
	case string, Markup, *Undefined, *Template:
		return c.templateOf(fr, v)
	}
	return c.selectTemplate(fr, v)
}

// importModule compiles the import of a template.
func (c *compiler) importModule(template syntax.Node, withContext bool, sc *scope) func(*frame) *module {
	val := c.expr(template, sc)
	var locals func(*frame) map[string]any
	if withContext {
		locals = c.locals(sc)
	}
	at := template.Pos()
	return func(fr *frame) *module {
		v := val(fr)
		fr.pos = at
		t := c.templateOf(fr, v)
		if locals != nil {
			fr.st.Work(fr.ctx.size() >> 3)
			return t.makeModule(fr, fr.ctx.withLocals(locals(fr)))
		}
		return t.defaultModule(fr, fr.ctx)
	}
}

func (c *compiler) importStatement(n *syntax.Import, sc *scope) stmt {
	load := c.importModule(n.Template, n.WithContext, sc)
	slot := c.fn.slot(c.refName(sc, n.Target, n.Pos()))
	top, name := sc.toplevel, n.Target
	return func(fr *frame) outcome {
		m := load(fr)
		fr.slots[slot] = m
		if top {
			fr.ctx.set(name, m)
			if !strings.HasPrefix(name, "_") {
				delete(fr.ctx.exported, name)
			}
		}
		return outcomeNext
	}
}

func (c *compiler) fromImport(n *syntax.FromImport, sc *scope) stmt {
	load := c.importModule(n.Template, n.WithContext, sc)
	slots := make([]int, len(n.Names))
	for i, name := range n.Names {
		slots[i] = c.fn.slot(c.refName(sc, name.Alias, n.Pos()))
	}
	top, at := sc.toplevel, n.Pos()
	return func(fr *frame) outcome {
		m := load(fr)
		for i, name := range n.Names {
			v, ok := m.attrs[name.Name]
			if !ok {
				line := fr.fn.tmpl.lineOf(at)
				v = value.NewUndefined(fr.UndefinedMode(),
					"the template "+value.Repr(m.name)+" (imported on line "+strconv.Itoa(line)+" in "+value.Repr(fr.fn.tmpl.name)+
						") does not export the requested name "+value.Repr(name.Name))
			}
			fr.slots[slots[i]] = v
		}
		if top {
			for i, name := range n.Names {
				fr.ctx.set(name.Alias, fr.slots[slots[i]])
			}
			for _, name := range n.Names {
				if !strings.HasPrefix(name.Alias, "_") {
					delete(fr.ctx.exported, name.Alias)
				}
			}
		}
		return outcomeNext
	}
}
