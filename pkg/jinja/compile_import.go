package jinja

import (
	"strconv"
	"strings"
)

// load finds a template by a value: a name or a template.
func (c *compiler) templateOf(fr *frame, v any) *Template {
	switch v := v.(type) {
	case *Template:
		return v
	case string:
		return loadTemplate(fr, v)
	case Markup:
		return loadTemplate(fr, string(v))
	case *Undefined:
		raiseUndefined(v)
	}
	hashKey(&fr.vframe, v)
	raiseKind(KindNotFound, "TemplateNotFound", "template %s not found", repr(v))
	return nil
}

func loadTemplate(fr *frame, name string) *Template {
	t, err := fr.fn.tmpl.env.Template(name)
	if err != nil {
		e := err.(*Error)
		if e.Kind == KindNotFound || e.Line == 0 {
			panic(&raised{class: e.class, kind: e.Kind, msg: e.Message, hint: e.Hint, cause: e.cause})
		}
		raiseError(e)
	}
	return t
}

// selectTemplate takes the first template of several that is there.
func (c *compiler) selectTemplate(fr *frame, v any) *Template {
	if u, ok := v.(*Undefined); ok {
		raiseUndefined(u)
	}
	if !truth(v) {
		raiseKind(KindNotFound, "TemplatesNotFound", "Tried to select from an empty list of templates")
	}
	var tried []string
	it := iterate(&fr.vframe, v)
	for {
		name, ok := it.next(&fr.vframe)
		if !ok {
			break
		}
		if t, ok := name.(*Template); ok {
			return t
		}
		var t *Template
		if fr.st.try(func() { t = c.templateOf(fr, name) }, "TemplateNotFound", "UndefinedError") == nil {
			return t
		}
		if u, ok := name.(*Undefined); ok {
			tried = append(tried, u.Message())
		} else {
			tried = append(tried, str(&fr.vframe, name))
		}
	}
	// The exception looks at the last name, which not everything has.
	subscript(&fr.vframe, v, int64(-1))
	raiseKind(KindNotFound, "TemplatesNotFound", "none of the templates given were found: %s", strings.Join(tried, ", "))
	return nil
}

func (c *compiler) extend(n *nExtends, sc *scope) stmt {
	if !sc.toplevel {
		c.fail(n.at(), "cannot use extend from a non top-level scope", "")
	}
	at := n.at()
	check := c.extends > 0
	if check && c.knownExtends {
		c.ended = true
		return func(fr *frame) ctl {
			fr.pos = at
			raiseTemplate("extended multiple times")
			return ctlNext
		}
	}
	name := c.expr(n.template, sc)
	if sc.rootlevel {
		c.knownExtends = true
	}
	c.extends++
	at = n.template.at()
	return func(fr *frame) ctl {
		if check && fr.extended != nil {
			fr.pos = at
			raiseTemplate("extended multiple times")
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
		return ctlNext
	}
}

func (c *compiler) block(n *nBlock, sc *scope) stmt {
	check := false
	if sc.toplevel {
		if c.knownExtends {
			return nil
		}
		check = c.extends > 0
	}
	var locals func(*frame) map[string]any
	if n.scoped {
		locals = c.locals(sc)
	}
	name, at := n.name, n.at()
	required := n.required
	return c.unlessExtended(check, func(fr *frame) ctl {
		ctx := fr.ctx
		fr.pos = at
		if locals != nil {
			fr.st.work(ctx.size() >> 3)
			ctx = ctx.derived(locals(fr))
		}
		blocks := fr.ctx.blocks[name]
		if required && len(blocks) <= 1 {
			raiseTemplate("Required block %s not found", repr(name))
		}
		blocks[0].call(fr.st, ctx, nil, fr.out)
		return ctlNext
	})
}

// locals compiles the collection of the local variables of a scope.
func (c *compiler) locals(sc *scope) func(*frame) map[string]any {
	type local struct {
		name        string
		depth, slot int
	}
	var list []local
	for _, s := range sc.symbols.stores() {
		depth, slot := c.ref(s.id)
		list = append(list, local{s.name, depth, slot})
	}
	return func(fr *frame) map[string]any {
		if len(list) == 0 {
			return nil
		}
		vars := make(map[string]any, len(list))
		for _, l := range list {
			vars[l.name] = fr.up(l.depth).bound(l.slot)
		}
		return vars
	}
}

func (c *compiler) include(n *nInclude, sc *scope) stmt {
	value := c.expr(n.template, sc)
	find := c.templateOrSelect
	switch t := n.template.(type) {
	case *nConst:
		if _, ok := t.val.(string); ok {
			find = c.templateOf
		}
	case *nTuple, *nList:
		find = c.selectTemplate
	}
	var locals func(*frame) map[string]any
	if n.withContext {
		locals = c.locals(sc)
	}
	at := n.template.at()
	get := func(fr *frame) *Template {
		v := value(fr)
		fr.pos = at
		return find(fr, v)
	}
	ignore := n.ignoreMissing
	if !n.withContext {
		c.fn.yields = true
	}
	return func(fr *frame) ctl {
		var t *Template
		if ignore {
			if fr.st.try(func() { t = get(fr) }, "TemplateNotFound", "TemplatesNotFound") != nil {
				return ctlNext
			}
		} else {
			t = get(fr)
		}
		if locals == nil {
			// Past any set or filter block, as Jinja2 does it.
			m := t.defaultModule(fr, nil)
			fr.base.write(m.body)
			if fr.base.bad == nil {
				fr.base.bad = m.bad
			}
			return ctlNext
		}
		fr.st.work(fr.ctx.size() >> 3)
		ctx := newContext(t.env, t, fr.ctx.withLocals(locals(fr)))
		t.root.call(fr.st, ctx, nil, fr.out)
		return ctlNext
	}
}

func (c *compiler) templateOrSelect(fr *frame, v any) *Template {
	switch v.(type) {
	case string, Markup, *Undefined, *Template:
		return c.templateOf(fr, v)
	}
	return c.selectTemplate(fr, v)
}

// importModule compiles the import of a template as a module.
func (c *compiler) importModule(template node, withContext bool, sc *scope) func(*frame) *module {
	value := c.expr(template, sc)
	var locals func(*frame) map[string]any
	if withContext {
		locals = c.locals(sc)
	}
	at := template.at()
	return func(fr *frame) *module {
		v := value(fr)
		fr.pos = at
		t := c.templateOf(fr, v)
		if locals != nil {
			fr.st.work(fr.ctx.size() >> 3)
			return t.makeModule(fr, fr.ctx.withLocals(locals(fr)))
		}
		return t.defaultModule(fr, fr.ctx)
	}
}

func (c *compiler) importStatement(n *nImport, sc *scope) stmt {
	load := c.importModule(n.template, n.withContext, sc)
	slot := c.fn.slot(c.refName(sc, n.target, n.at()))
	top, name := sc.toplevel, n.target
	return func(fr *frame) ctl {
		m := load(fr)
		fr.slots[slot] = m
		if top {
			fr.ctx.set(name, m)
			if !strings.HasPrefix(name, "_") {
				delete(fr.ctx.exported, name)
			}
		}
		return ctlNext
	}
}

func (c *compiler) fromImport(n *nFromImport, sc *scope) stmt {
	load := c.importModule(n.template, n.withContext, sc)
	slots := make([]int, len(n.names))
	for i, name := range n.names {
		slots[i] = c.fn.slot(c.refName(sc, name.alias, n.at()))
	}
	top, at := sc.toplevel, n.at()
	return func(fr *frame) ctl {
		m := load(fr)
		for i, name := range n.names {
			v, ok := m.attrs[name.name]
			if !ok {
				line := fr.fn.tmpl.lineOf(at)
				v = newUndefined(fr.undefinedMode(), "the template "+repr(m.name)+" (imported on line "+strconv.Itoa(line)+" in "+repr(fr.fn.tmpl.name)+
					") does not export the requested name "+repr(name.name))
			}
			fr.slots[slots[i]] = v
		}
		if top {
			for i, name := range n.names {
				fr.ctx.set(name.alias, fr.slots[slots[i]])
			}
			for _, name := range n.names {
				if !strings.HasPrefix(name.alias, "_") {
					delete(fr.ctx.exported, name.alias)
				}
			}
		}
		return ctlNext
	}
}
