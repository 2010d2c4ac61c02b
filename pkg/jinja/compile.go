package jinja

import (
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/resolve"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// scope holds the compiler's information about a part of a template, Jinja2's Frame.
type scope struct {
	parent  *scope
	symbols *resolve.Symbols
	// checkOutput reports that a parent template may suppress this output.
	checkOutput bool
	// toplevel is the top level of the template including if statements, and rootlevel
	// excluding them.
	toplevel, rootlevel bool
	loop, block         bool
	// inBranch reports that an unknown filter is an error only when it is reached.
	inBranch bool
}

func (s *scope) inner() *scope {
	return &scope{
		parent:      s,
		symbols:     resolve.New(s.symbols, s.symbols.Level+1, s.symbols.Work),
		checkOutput: s.checkOutput,
	}
}

// branch returns the scope of a branch: the same variables, but not at the root level.
func (s *scope) branch() *scope {
	c := *s
	c.rootlevel, c.inBranch = false, true
	return &c
}

// compiler turns a syntax tree into closures.
type compiler struct {
	env  *Environment
	tmpl *Template
	fn   *function // the function being compiled
	// loops is the number of open loops of the function, for break and continue.
	loops int
	// autoescape is the mode where it is known; volatile means that only a render knows
	// it.
	autoescape, volatile bool

	blocks        []*syntax.Block
	extends       int  // the extends statements compiled so far
	alwaysExtends bool // one of them is unconditional
	// assigned are the names that the open assignments store.
	assigned []map[string]bool
	// unreachable ends the compilation of statements that cannot run.
	unreachable bool
	// optimizerDepth is the number of open expressions that Jinja2's optimizer enters.
	optimizerDepth int
	// fold is the frame in which constants are computed.
	fold *frame
	// notConstant has nested expressions that are known not to be constants.
	notConstant map[syntax.Node]bool
	// nameWork is the work that name resolution has done.
	nameWork int
	// depth is the nesting of the constant being computed.
	depth int
	// reads are the names in the template's list of reads.
	reads map[string]bool
}

func compileTemplate(env *Environment, name, source string) *Template {
	if limit := env.cfg.Limits.Source; len(source) > limit {
		raise.Reraise(&Error{Kind: KindLimit, Class: "LimitError", Template: name,
			Message: "the template is longer than " + value.ByteSize(limit)})
	}
	tree, err := syntax.Parse(name, source, &env.syntax)
	if err != nil {
		raise.Reraise(err)
	}
	t := &Template{env: env, name: name, src: tree.Source, tree: tree}
	c := &compiler{env: env, tmpl: t, autoescape: env.cfg.Autoescape}
	c.fold = c.foldFrame()
	c.template(t.tree)
	return t
}

// fail raises a syntax error at an offset.
func (c *compiler) fail(pos int, msg, hint string) {
	raise.At(KindSyntax, "TemplateAssertionError", msg, hint, c.tmpl.name, c.tmpl.src, pos)
}

func (c *compiler) template(n *syntax.Template) {
	haveExtends := false
	seen := map[string]bool{}
	syntax.Walk(n, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.Extends:
			haveExtends = true
		case *syntax.Block:
			if seen[n.Name] {
				c.fail(n.Pos(), "block "+value.Repr(n.Name)+" defined twice", "")
			}
			seen[n.Name] = true
			c.blocks = append(c.blocks, n)
		}
		return true
	})
	t := c.tmpl
	t.root = &function{tmpl: t, traceName: "template " + value.Repr(t.name)}
	c.fn = t.root
	sc := &scope{symbols: resolve.New(nil, 0, &c.nameWork)}
	var pre []stmt
	if resolve.Undeclared(n.Body, "self")["self"] {
		pre = append(pre, c.declareSelf(sc))
	}
	sc.symbols.Analyze(n)
	sc.toplevel, sc.rootlevel = true, true
	sc.checkOutput = haveExtends
	pre = append(pre, c.enter(sc)...)
	t.root.body = append(pre, c.body(n.Body, sc)...)
	if haveExtends {
		t.root.body = append(t.root.body, func(fr *frame) outcome {
			if p := fr.extended; p != nil {
				fr.pos = fr.extendedAt // instead of the place of the last set statement
				p.root.call(fr.st, fr.ctx, fr.out)
			}
			return outcomeNext
		})
	}
	for _, b := range c.blocks {
		t.blocks = append(t.blocks, c.blockFunction(b))
	}
}

func (c *compiler) declareSelf(sc *scope) stmt {
	slot := c.fn.slot(sc.symbols.Param("self"))
	return func(fr *frame) outcome {
		fr.slots[slot] = &selfRef{fr.ctx}
		return outcomeNext
	}
}

// blockFunction compiles a block. It does not share the scopes of the template around
// it.
func (c *compiler) blockFunction(b *syntax.Block) *function {
	f := &function{tmpl: c.tmpl, name: b.Name, traceName: "block " + value.Repr(b.Name), required: b.Required}
	c.fn, c.loops = f, 0
	sc := &scope{symbols: resolve.New(nil, 0, &c.nameWork), block: true}
	var pre []stmt
	names := resolve.Undeclared(b.Body, "self", "super")
	if names["self"] {
		pre = append(pre, c.declareSelf(sc))
	}
	if names["super"] {
		slot := f.slot(sc.symbols.Param("super"))
		pre = append(pre, func(fr *frame) outcome {
			fr.slots[slot] = fr.ctx.superBlock(fr.fn)
			return outcomeNext
		})
	}
	sc.symbols.Analyze(b)
	pre = append(pre, c.enter(sc)...)
	f.body = append(pre, c.body(b.Body, sc)...)
	return f
}

// body compiles statements. Those after a second unconditional extends are
// unreachable.
func (c *compiler) body(list []syntax.Node, sc *scope) []stmt {
	var out []stmt
	for _, n := range list {
		if s := c.statement(n, sc); s != nil {
			out = append(out, s)
		}
		if c.unreachable {
			c.unreachable = false
			break
		}
	}
	return out
}

// enter compiles the loading of a scope's variables.
func (c *compiler) enter(sc *scope) []stmt {
	type load struct {
		slot, from, depth int
		kind              resolve.LoadKind
		name              string
	}
	var loads []load
	for i := range sc.symbols.Entries {
		e := &sc.symbols.Entries[i]
		l := load{kind: e.Load, name: e.Name}
		if e.Load == resolve.LoadResolve {
			c.noteRead(e.Name)
		}
		if e.Load == resolve.LoadAlias {
			l.depth, l.from = c.ref(e.Alias)
		}
		l.slot = c.fn.slot(resolve.Ident{Level: sc.symbols.Level, Name: e.Name})
		if e.Load != resolve.LoadParam {
			loads = append(loads, l)
		}
	}
	if len(loads) == 0 {
		return nil
	}
	weight := len(loads) >> 5
	return []stmt{func(fr *frame) outcome {
		fr.st.Work(weight)
		for i := range loads {
			switch l := &loads[i]; l.kind {
			case resolve.LoadResolve:
				fr.slots[l.slot] = fr.ctx.Resolve(l.name)
			case resolve.LoadAlias:
				fr.slots[l.slot] = fr.outer(l.depth).slotValue(l.from)
			default:
				fr.slots[l.slot] = value.Missing
			}
		}
		return outcomeNext
	}}
}

// leave compiles the end of a scope, which unsets its variables.
func (c *compiler) leave(sc *scope) stmt {
	slots := make([]int, len(sc.symbols.Entries))
	for i := range sc.symbols.Entries {
		slots[i] = c.fn.slot(resolve.Ident{Level: sc.symbols.Level, Name: sc.symbols.Entries[i].Name})
	}
	return func(fr *frame) outcome {
		for _, s := range slots {
			fr.slots[s] = value.Missing
		}
		return outcomeNext
	}
}

// ref returns where a variable is stored: how many functions out, and its slot.
func (c *compiler) ref(id resolve.Ident) (depth, slot int) {
	for f := c.fn; f != nil; f = f.parent {
		if s, ok := f.slots[id]; ok {
			return depth, s
		}
		depth++
	}
	return 0, c.fn.slot(id)
}

// refName returns the variable that a name means in a scope.
func (c *compiler) refName(sc *scope, name string, at int) resolve.Ident {
	id, ok := sc.symbols.FindRef(name)
	if !ok {
		// Jinja2 does not track the names in filters of set blocks.
		c.fail(at, "Tried to resolve a name to a reference that was unknown to the frame ("+value.Repr(name)+")", "")
	}
	return id
}

// outer returns the frame of an enclosing function.
func (fr *frame) outer(depth int) *frame {
	for ; depth > 0; depth-- {
		fr = fr.parent
	}
	return fr
}

// slotValue returns the variable of a slot, which must have been set.
func (fr *frame) slotValue(slot int) any {
	v := fr.slots[slot]
	if v == unbound {
		raise.Named("NameError", "variable referenced before assignment")
	}
	return v
}

// seq returns one statement that runs several.
func seq(list ...stmt) stmt {
	list = slices.DeleteFunc(list, func(s stmt) bool { return s == nil })
	switch len(list) {
	case 0:
		return nil
	case 1:
		return list[0]
	}
	return func(fr *frame) outcome { return fr.run(list) }
}

func (c *compiler) statement(n syntax.Node, sc *scope) stmt {
	switch n := n.(type) {
	case *syntax.Output:
		return c.output(n, sc)
	case *syntax.If:
		return c.ifStatement(n, sc)
	case *syntax.For:
		return c.forStatement(n, sc)
	case *syntax.Assign:
		return c.assign(n, sc)
	case *syntax.AssignBlock:
		return c.assignBlock(n, sc)
	case *syntax.Macro:
		return c.macroStatement(n, sc)
	case *syntax.CallBlock:
		return c.callBlock(n, sc)
	case *syntax.FilterBlock:
		return c.filterBlock(n, sc)
	case *syntax.With:
		return c.with(n, sc)
	case *syntax.Block:
		return c.block(n, sc)
	case *syntax.Extends:
		return c.extend(n, sc)
	case *syntax.Include:
		return c.include(n, sc)
	case *syntax.Import:
		return c.importStatement(n, sc)
	case *syntax.FromImport:
		return c.fromImport(n, sc)
	case *syntax.ExprStatement:
		e := c.expr(n.Expr, sc)
		return func(fr *frame) outcome {
			e(fr)
			return outcomeNext
		}
	case *syntax.LoopControl:
		if c.loops == 0 {
			c.fail(n.Pos(), "'"+map[bool]string{true: "break", false: "continue"}[n.Break]+"' outside loop", "")
		}
		result := outcomeContinue
		if n.Break {
			result = outcomeBreak
		}
		return func(*frame) outcome { return result }
	case *syntax.Scope:
		inner := sc.inner()
		inner.symbols.Analyze(n)
		enter := c.enter(inner)
		body := c.body(n.Body, inner)
		return seq(slices.Concat(enter, body, []stmt{c.leave(inner)})...)
	case *syntax.Autoescape:
		return c.autoescapeStatement(n, sc)
	}
	c.fail(n.Pos(), "statement is not supported", "")
	return nil
}

func (c *compiler) ifStatement(n *syntax.If, sc *scope) stmt {
	soft := sc.branch()
	type branch struct {
		test expr
		body []stmt
	}
	branches := []branch{{c.expr(n.Test, soft), c.body(n.Body, soft)}}
	for _, e := range n.Elifs {
		e := e.(*syntax.If)
		branches = append(branches, branch{c.expr(e.Test, soft), c.body(e.Body, soft)})
	}
	orElse := c.body(n.OrElse, soft)
	if len(branches) == 1 {
		test, body := branches[0].test, branches[0].body
		return func(fr *frame) outcome {
			if value.Truth(test(fr)) {
				return fr.run(body)
			}
			return fr.run(orElse)
		}
	}
	return func(fr *frame) outcome {
		for i := range branches {
			if value.Truth(branches[i].test(fr)) {
				return fr.run(branches[i].body)
			}
		}
		return fr.run(orElse)
	}
}

// output compiles text and print statements, and joins constant ones.
func (c *compiler) output(n *syntax.Output, sc *scope) stmt {
	if sc.checkOutput && c.alwaysExtends {
		return nil
	}
	type piece struct {
		text string
		expr expr
		at   int
	}
	var pieces []piece
	var run []string // constant text to join
	runAt := 0
	flush := func() {
		if len(run) > 0 {
			pieces = append(pieces, piece{text: strings.Join(run, ""), at: runAt})
			run = nil
		}
	}
	for _, item := range n.Items {
		if text, ok := c.constOutput(item); ok {
			if len(run) == 0 {
				runAt = item.Pos()
			}
			run = append(run, text)
			continue
		}
		flush()
		if d, ok := item.(*syntax.TemplateData); ok {
			pieces = append(pieces, piece{text: d.Data, at: item.Pos()})
			continue
		}
		pieces = append(pieces, piece{expr: c.expr(item, sc), at: item.Pos()})
	}
	flush()
	auto, volatile := c.autoescape, c.volatile
	tmpl := c.tmpl
	write := func(fr *frame) outcome {
		for i := range pieces {
			p := &pieces[i]
			fr.out.mark(tmpl, p.at, p.expr == nil)
			if p.expr == nil {
				fr.out.write(p.text)
				continue
			}
			v := p.expr(fr)
			if auto && !volatile || volatile && fr.ctx.escape.autoescape {
				fr.out.write(string(value.Escape(&fr.Frame, v)))
			} else if s, ok := v.(string); ok {
				fr.out.write(s)
			} else {
				fr.out.write(value.Str(&fr.Frame, v))
			}
		}
		return outcomeNext
	}
	if len(pieces) == 1 && pieces[0].expr == nil {
		text, at := pieces[0].text, pieces[0].at
		write = func(fr *frame) outcome {
			fr.out.mark(tmpl, at, true)
			fr.out.write(text)
			return outcomeNext
		}
	}
	return c.unlessExtended(sc.checkOutput, write)
}

// unlessExtended skips a statement after a conditional extends that was taken.
func (c *compiler) unlessExtended(check bool, s stmt) stmt {
	if !check {
		return s
	}
	depth := 0
	for f := c.fn; f.parent != nil; f = f.parent {
		depth++
	}
	return func(fr *frame) outcome {
		if fr.outer(depth).extended != nil {
			return outcomeNext
		}
		return s(fr)
	}
}
