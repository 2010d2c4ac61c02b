package jinja

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// varContext is Jinja2's Context: the variables given to a template, those it has set
// at its top level, the exported ones among them, and the blocks in effect.
type varContext struct {
	env      *Environment
	name     string
	parent   map[string]any
	vars     map[string]any
	exported map[string]bool
	blocks   map[string][]*function
	// escape reports whether output is escaped now. Derived contexts share it.
	escape *evalContext
	// globals is the environment whose globals are in parent; nil for derived
	// contexts.
	globals *Environment
}

type evalContext struct{ autoescape bool }

// newContext returns the context of a template. It does not copy vars.
func newContext(env *Environment, t *Template, vars map[string]any) *varContext {
	c := &varContext{
		env: env, name: t.name, parent: vars, globals: t.env,
		escape: &evalContext{env.cfg.Autoescape},
	}
	if len(t.blocks) > 0 {
		c.blocks = make(map[string][]*function, len(t.blocks))
		for _, b := range t.blocks {
			c.blocks[b.name] = []*function{b}
		}
	}
	return c
}

// Resolve returns a variable, or value.Missing.
func (c *varContext) Resolve(name string) any {
	v, ok := c.vars[name]
	if !ok {
		if v, ok = c.parent[name]; !ok {
			return value.Missing
		}
	}
	if l, ok := v.(*value.Lazy); ok {
		return l.Get()
	}
	return v
}

func (c *varContext) set(name string, v any) {
	if c.vars == nil {
		c.vars = map[string]any{}
	}
	c.vars[name] = v
}

func (c *varContext) export(name string) {
	if c.exported == nil {
		c.exported = map[string]bool{}
	}
	c.exported[name] = true
}

// all returns all variables. The map must not be modified.
func (c *varContext) all() map[string]any {
	if len(c.vars) == 0 {
		return c.parent
	}
	if len(c.parent) == 0 {
		// A copy: Python's dict could be read here while vars grows.
		return c.merged(nil)
	}
	return c.merged(c.parent)
}

func (c *varContext) merged(parent map[string]any) map[string]any {
	vars := make(map[string]any, len(parent)+len(c.vars))
	for k, v := range parent {
		vars[k] = v
	}
	for k, v := range c.vars {
		vars[k] = v
	}
	return vars
}

// size is the number of variables to copy for a derived context.
func (c *varContext) size() int { return len(c.parent) + len(c.vars) }

// withLocals returns all variables, and the local ones that have values.
func (c *varContext) withLocals(locals map[string]any) map[string]any {
	if len(locals) == 0 {
		return c.all()
	}
	vars := c.merged(c.parent)
	for k, v := range locals {
		if v != value.Missing {
			vars[k] = v
		}
	}
	return vars
}

// derived returns an independent context of the same template with more variables.
func (c *varContext) derived(locals map[string]any) *varContext {
	d := &varContext{env: c.env, name: c.name, parent: c.withLocals(locals), escape: c.escape}
	d.blocks = make(map[string][]*function, len(c.blocks))
	for k, v := range c.blocks {
		d.blocks[k] = append([]*function(nil), v...)
	}
	return d
}

// superBlock returns the value of `super` in a block.
func (c *varContext) superBlock(current *function) any {
	blocks := c.blocks[current.name]
	for i, b := range blocks {
		if b == current && i+1 < len(blocks) {
			return &blockRef{current.name, c, blocks, i + 1}
		}
		if b == current {
			break
		}
	}
	return value.NewUndefined(c.env.cfg.Undefined, "there is no parent block called "+value.Repr(current.name)+".")
}

// selfRef is `self`.
type selfRef struct{ ctx *varContext }

func (t *selfRef) block(name string) (any, bool) {
	blocks, ok := t.ctx.blocks[name]
	if !ok {
		return nil, false
	}
	return &blockRef{name, t.ctx, blocks, 0}, true
}

// blockRef is `self.name` or `super`, a block that can be called.
type blockRef struct {
	name  string
	ctx   *varContext
	stack []*function
	depth int
}

func (b *blockRef) super() any {
	if b.depth+1 >= len(b.stack) {
		return value.NewUndefined(b.ctx.env.cfg.Undefined, "there is no parent block called "+value.Repr(b.name)+".")
	}
	return &blockRef{b.name, b.ctx, b.stack, b.depth + 1}
}

func (b *blockRef) call(fr *frame) any {
	out := &buffer{st: fr.st}
	b.stack[b.depth].call(fr.st, b.ctx, out)
	text := out.text()
	fr.st.Alloc(len(text))
	if b.ctx.escape.autoescape {
		return Markup(text)
	}
	return text
}

// module is an imported template: its exports and its output.
type module struct {
	name      string
	attrs     map[string]any
	body      string
	joinError *raise.Exception // raised when the output is used
}

// text returns the output of the template.
func (m *module) text() string {
	if m.joinError != nil {
		panic(m.joinError)
	}
	return m.body
}

// makeModule runs a template for its exports.
func (t *Template) makeModule(fr *frame, vars map[string]any) *module {
	ctx := newContext(t.env, t, vars)
	out := &buffer{st: fr.st}
	t.root.call(fr.st, ctx, out)
	fr.st.Alloc(len(out.b))
	m := &module{
		name:      t.name,
		body:      string(out.b),
		joinError: out.joinError,
		attrs:     make(map[string]any, len(ctx.exported)),
	}
	for name := range ctx.exported {
		m.attrs[name] = ctx.Resolve(name)
	}
	return m
}

// defaultModule returns the template as imported without context. A render makes it
// once, unless the importing template has globals that this one lacks.
func (t *Template) defaultModule(fr *frame, ctx *varContext) *module {
	if ctx != nil && ctx.globals != nil && ctx.globals != t.env {
		var more map[string]any
		for k := range ctx.globals.globals {
			if _, ok := t.env.globals[k]; !ok {
				if more == nil {
					more = map[string]any{}
				}
				more[k] = ctx.parent[k]
			}
		}
		if more != nil {
			return t.makeModule(fr, t.env.rootVars(fr.st, more))
		}
	}
	st := fr.st
	if m := st.modules[t]; m != nil {
		return m
	}
	m := t.makeModule(fr, t.env.rootVars(st, nil))
	if st.modules == nil {
		st.modules = map[*Template]*module{}
	}
	st.modules[t] = m
	return m
}
