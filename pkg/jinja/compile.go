package jinja

import (
	"slices"
	"strings"
)

// scope is what the compiler knows of a stretch of template: Jinja2's Frame.
type scope struct {
	parent  *scope
	symbols *symbols
	// checkOutput says that a parent template may make this text be dropped.
	checkOutput bool
	// toplevel and rootlevel are as in Jinja2: toplevel includes if statements at
	// the top, rootlevel does not.
	toplevel, rootlevel bool
	loop, block         bool
	// soft says that unknown filters fail when they are reached, not before.
	soft bool
}

func (s *scope) inner() *scope {
	return &scope{parent: s, symbols: newSymbols(s.symbols, s.symbols.level+1, s.symbols.work), checkOutput: s.checkOutput}
}

// softer is the scope of a branch: the same variables, not at the root.
func (s *scope) softer() *scope {
	c := *s
	c.rootlevel, c.soft = false, true
	return &c
}

// compiler turns a syntax tree into closures.
type compiler struct {
	env  *Environment
	tmpl *Template
	fn   *function // the function being compiled
	// loops is how many loops of the function are open, for break and continue.
	loops int
	// autoescape is the mode known now; volatile says that it is known at run time alone.
	autoescape, volatile bool

	blocks       []*nBlock
	extends      int  // extends statements so far
	knownExtends bool // one of them is unconditional
	// assigned are the names that the assignments being compiled store.
	assigned []map[string]bool
	// ended stops the compilation of statements that can never run.
	ended bool
	// optimized counts the open expressions that Jinja2's optimizer looks into.
	optimized int
	// fold is the frame in which constants are computed.
	fold *frame
	// unfit has expressions that lie deep in others and are known to be no constants.
	unfit map[node]bool
	// nameWork is what name resolution has cost so far.
	nameWork int
	// depth is how deep in an expression a constant is being computed.
	depth int
	// reads has the names in the template's list of reads.
	reads map[string]bool
}

func compileTemplate(env *Environment, name, source string) *Template {
	if limit := env.cfg.Limits.Source; len(source) > limit {
		raiseError(&Error{Kind: KindLimit, class: "LimitError", Template: name, Message: "the template is longer than " + byteSize(limit)})
	}
	tree, err := parse(name, source, &env.syntax)
	if err != nil {
		raiseError(err)
	}
	t := &Template{env: env, name: name, src: tree.source, tree: tree}
	c := &compiler{env: env, tmpl: t, autoescape: env.cfg.Autoescape}
	c.fold = c.foldFrame()
	c.template(t.tree)
	return t
}

// fail raises an error of the template at an offset.
func (c *compiler) fail(pos int, msg, hint string) {
	raiseAt(KindSyntax, "TemplateAssertionError", msg, hint, c.tmpl.name, c.tmpl.src, pos)
}

func (c *compiler) template(n *nTemplate) {
	haveExtends := false
	seen := map[string]bool{}
	walk(n, func(n node) bool {
		switch n := n.(type) {
		case *nExtends:
			haveExtends = true
		case *nBlock:
			if seen[n.name] {
				c.fail(n.at(), "block "+repr(n.name)+" defined twice", "")
			}
			seen[n.name] = true
			c.blocks = append(c.blocks, n)
		}
		return true
	})
	t := c.tmpl
	t.root = &function{tmpl: t, what: "template " + repr(t.name)}
	c.fn = t.root
	sc := &scope{symbols: newSymbols(nil, 0, &c.nameWork)}
	var pre []stmt
	if undeclared(n.body, "self")["self"] {
		pre = append(pre, c.declareSelf(sc))
	}
	sc.symbols.analyze(n)
	sc.toplevel, sc.rootlevel = true, true
	sc.checkOutput = haveExtends
	pre = append(pre, c.enter(sc)...)
	t.root.body = append(pre, c.body(n.body, sc)...)
	if haveExtends {
		t.root.body = append(t.root.body, func(fr *frame) ctl {
			if p := fr.extended; p != nil {
				fr.pos = fr.extendedAt // not where the last {% set %} stands
				p.root.call(fr.st, fr.ctx, nil, fr.out)
			}
			return ctlNext
		})
	}
	for _, b := range c.blocks {
		t.blocks = append(t.blocks, c.blockFunction(b))
	}
}

func (c *compiler) declareSelf(sc *scope) stmt {
	slot := c.fn.slot(sc.symbols.param("self"))
	return func(fr *frame) ctl {
		fr.slots[slot] = &templateRef{fr.ctx}
		return ctlNext
	}
}

// blockFunction compiles a block: a scope apart from the rest of its template.
func (c *compiler) blockFunction(b *nBlock) *function {
	f := &function{tmpl: c.tmpl, name: b.name, what: "block " + repr(b.name), required: b.required}
	c.fn, c.loops = f, 0
	sc := &scope{symbols: newSymbols(nil, 0, &c.nameWork), block: true}
	var pre []stmt
	names := undeclared(b.body, "self", "super")
	if names["self"] {
		pre = append(pre, c.declareSelf(sc))
	}
	if names["super"] {
		slot := f.slot(sc.symbols.param("super"))
		pre = append(pre, func(fr *frame) ctl {
			fr.slots[slot] = fr.ctx.superBlock(fr.fn)
			return ctlNext
		})
	}
	sc.symbols.analyze(b)
	pre = append(pre, c.enter(sc)...)
	f.body = append(pre, c.body(b.body, sc)...)
	return f
}

// body compiles statements; what follows a second extends is never reached.
func (c *compiler) body(list []node, sc *scope) []stmt {
	var out []stmt
	for _, n := range list {
		if s := c.statement(n, sc); s != nil {
			out = append(out, s)
		}
		if c.ended {
			c.ended = false
			break
		}
	}
	return out
}

// enter compiles the loads of a scope's variables, done when it is entered.
func (c *compiler) enter(sc *scope) []stmt {
	type load struct {
		slot, from, depth int
		kind              loadKind
		name              string
	}
	var loads []load
	for i := range sc.symbols.ents {
		e := &sc.symbols.ents[i]
		l := load{kind: e.load, name: e.name}
		if e.load == loadResolve {
			c.noteRead(e.name)
		}
		if e.load == loadAlias {
			l.depth, l.from = c.ref(e.alias)
		}
		l.slot = c.fn.slot(ident{sc.symbols.level, e.name})
		if e.load != loadParam {
			loads = append(loads, l)
		}
	}
	if len(loads) == 0 {
		return nil
	}
	weight := len(loads) >> 5
	return []stmt{func(fr *frame) ctl {
		fr.st.work(weight)
		for i := range loads {
			switch l := &loads[i]; l.kind {
			case loadResolve:
				fr.slots[l.slot] = fr.ctx.resolve(l.name)
			case loadAlias:
				fr.slots[l.slot] = fr.up(l.depth).bound(l.from)
			default:
				fr.slots[l.slot] = missing
			}
		}
		return ctlNext
	}}
}

// leave compiles the end of a scope: its variables go.
func (c *compiler) leave(sc *scope) stmt {
	slots := make([]int, len(sc.symbols.ents))
	for i := range sc.symbols.ents {
		slots[i] = c.fn.slot(ident{sc.symbols.level, sc.symbols.ents[i].name})
	}
	return func(fr *frame) ctl {
		for _, s := range slots {
			fr.slots[s] = missing
		}
		return ctlNext
	}
}

// ref finds where an identifier's variable lives: how many functions out, and its slot.
func (c *compiler) ref(id ident) (depth, slot int) {
	for f := c.fn; f != nil; f = f.parent {
		if s, ok := f.slots[id]; ok {
			return depth, s
		}
		depth++
	}
	return 0, c.fn.slot(id)
}

// refName finds the variable that a name means in a scope.
func (c *compiler) refName(sc *scope, name string, at int) ident {
	id, ok := sc.symbols.findRef(name)
	if !ok {
		// Jinja2 loses track of names in the filters of set blocks.
		c.fail(at, "Tried to resolve a name to a reference that was unknown to the frame ("+repr(name)+")", "")
	}
	return id
}

// up is the activation that many functions out.
func (fr *frame) up(depth int) *frame {
	for ; depth > 0; depth-- {
		fr = fr.parent
	}
	return fr
}

// bound reads a slot that must have been written.
func (fr *frame) bound(slot int) any {
	v := fr.slots[slot]
	if v == unbound {
		raiseKind(KindRuntime, "NameError", "variable referenced before assignment")
	}
	return v
}

// seq makes one statement of several.
func seq(list ...stmt) stmt {
	list = slices.DeleteFunc(list, func(s stmt) bool { return s == nil })
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return func(fr *frame) ctl { return fr.run(list) }
}

func (c *compiler) statement(n node, sc *scope) stmt {
	switch n := n.(type) {
	case *nOutput:
		return c.output(n, sc)
	case *nIf:
		return c.ifStatement(n, sc)
	case *nFor:
		return c.forStatement(n, sc)
	case *nAssign:
		return c.assign(n, sc)
	case *nAssignBlock:
		return c.assignBlock(n, sc)
	case *nMacro:
		return c.macroStatement(n, sc)
	case *nCallBlock:
		return c.callBlock(n, sc)
	case *nFilterBlock:
		return c.filterBlock(n, sc)
	case *nWith:
		return c.with(n, sc)
	case *nBlock:
		return c.block(n, sc)
	case *nExtends:
		return c.extend(n, sc)
	case *nInclude:
		return c.include(n, sc)
	case *nImport:
		return c.importStatement(n, sc)
	case *nFromImport:
		return c.fromImport(n, sc)
	case *nExprStmt:
		e := c.expr(n.expr, sc)
		return func(fr *frame) ctl {
			e(fr)
			return ctlNext
		}
	case *nLoopControl:
		if c.loops == 0 {
			c.fail(n.at(), "'"+map[bool]string{true: "break", false: "continue"}[n.brk]+"' outside loop", "")
		}
		result := ctlContinue
		if n.brk {
			result = ctlBreak
		}
		return func(*frame) ctl { return result }
	case *nScope:
		inner := sc.inner()
		inner.symbols.analyze(n)
		enter := c.enter(inner)
		body := c.body(n.body, inner)
		return seq(slices.Concat(enter, body, []stmt{c.leave(inner)})...)
	case *nAutoescape:
		return c.autoescapeStatement(n, sc)
	}
	c.fail(n.at(), "statement is not supported", "")
	return nil
}

func (c *compiler) ifStatement(n *nIf, sc *scope) stmt {
	soft := sc.softer()
	type branch struct {
		test expr
		body []stmt
	}
	branches := []branch{{c.expr(n.test, soft), c.body(n.body, soft)}}
	for _, e := range n.elifs {
		e := e.(*nIf)
		branches = append(branches, branch{c.expr(e.test, soft), c.body(e.body, soft)})
	}
	orElse := c.body(n.orElse, soft)
	if len(branches) == 1 {
		test, body := branches[0].test, branches[0].body
		return func(fr *frame) ctl {
			if truth(test(fr)) {
				return fr.run(body)
			}
			return fr.run(orElse)
		}
	}
	return func(fr *frame) ctl {
		for i := range branches {
			if truth(branches[i].test(fr)) {
				return fr.run(branches[i].body)
			}
		}
		return fr.run(orElse)
	}
}

// output compiles text and print statements, joining what is constant.
func (c *compiler) output(n *nOutput, sc *scope) stmt {
	if sc.checkOutput && c.knownExtends {
		return nil
	}
	type piece struct {
		text string
		expr expr
	}
	var pieces []piece
	var run []string // constant text, to be joined
	flush := func() {
		if len(run) > 0 {
			pieces = append(pieces, piece{text: strings.Join(run, "")})
			run = nil
		}
	}
	for _, item := range n.items {
		if text, ok := c.constOutput(item); ok {
			run = append(run, text)
			continue
		}
		flush()
		if d, ok := item.(*nTemplateData); ok {
			pieces = append(pieces, piece{text: d.data})
			continue
		}
		pieces = append(pieces, piece{expr: c.expr(item, sc)})
	}
	flush()
	auto, volatile := c.autoescape, c.volatile
	write := func(fr *frame) ctl {
		for i := range pieces {
			p := &pieces[i]
			if p.expr == nil {
				fr.out.write(p.text)
				continue
			}
			v := p.expr(fr)
			if auto && !volatile || volatile && fr.ctx.escape.autoescape {
				fr.out.write(string(escape(&fr.vframe, v)))
			} else if s, ok := v.(string); ok {
				fr.out.write(s)
			} else {
				fr.out.write(str(&fr.vframe, v))
			}
		}
		return ctlNext
	}
	if len(pieces) == 1 && pieces[0].expr == nil {
		text := pieces[0].text
		write = func(fr *frame) ctl {
			fr.out.write(text)
			return ctlNext
		}
	}
	return c.unlessExtended(sc.checkOutput, write)
}

// unlessExtended skips a statement once a conditional extends has been taken.
func (c *compiler) unlessExtended(check bool, s stmt) stmt {
	if !check {
		return s
	}
	depth := 0
	for f := c.fn; f.parent != nil; f = f.parent {
		depth++
	}
	return func(fr *frame) ctl {
		if fr.up(depth).extended != nil {
			return ctlNext
		}
		return s(fr)
	}
}
