package jinja

import (
	"fmt"
	"slices"
	"strings"
)

// Statements of the generated templates.

func (g *generator) open() string { return g.pick("{%", "{%", "{%", "{%", "{%-", "{%+") }

func (g *generator) close() string { return g.pick("%}", "%}", "%}", "%}", "-%}", "+%}") }

func (g *generator) tag(format string, args ...any) string {
	return g.open() + " " + fmt.Sprintf(format, args...) + " " + g.close()
}

func (g *generator) text() string {
	return g.pick("", " ", "\n", "x", "\n  ", "text ", "a\nb", "  \n", "<i>", "{ ", "} ", "# c", "\n\n", "é", "\t", "% ",
		"{ { ", "$", "y", " z\n", "end")
}

func (g *generator) body(depth int) string {
	var b strings.Builder
	saved := len(g.locals)
	for range 1 + g.intn(4) {
		b.WriteString(g.text())
		b.WriteString(g.statement(depth))
		b.WriteString(g.text())
	}
	g.locals = g.locals[:saved]
	return b.String()
}

func (g *generator) local() string {
	name := g.pick("v", "w", "z", "k", "_p", "item", "s", "i", "l")
	g.locals = append(g.locals, name)
	return name
}

func (g *generator) statement(depth int) string {
	if depth <= 0 || g.chance(2, 5) {
		return g.output()
	}
	switch g.intn(24) {
	case 0, 1, 2, 3:
		return g.forLoop(depth)
	case 4, 5, 6:
		return g.ifElse(depth)
	case 7, 8, 9:
		return g.set(depth)
	case 10, 11:
		return g.macro(depth)
	case 12:
		return g.callBlock(depth)
	case 13:
		filter := g.blockFilter()
		return g.tag("filter %s", filter) + g.body(depth-1) + g.tag("endfilter")
	case 14:
		return g.with(depth)
	case 15:
		return g.include()
	case 16:
		return g.importTag()
	case 17:
		return g.namespace(depth)
	case 18:
		return g.tag("autoescape %s", g.pick("true", "false", "b", "i > 1")) + g.body(depth-1) + g.tag("endautoescape")
	case 19:
		return g.pick("{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% if %} {%- endraw -%}", "{# comment #}", "{#- c -#}",
			" {%+ raw %}\n{{\n{% endraw +%}\n", "{#+ c +#}\n", "{% raw -%} {% x {%- endraw %}")
	case 20:
		if g.opts.Do {
			return g.tag("do %s", g.mutation())
		}
	case 21:
		if g.opts.LoopControls && g.loops > 0 {
			return g.tag("if %s", g.boolean(1)) + g.tag("%s", g.pick("break", "continue")) + g.tag("endif")
		}
	case 22:
		if g.opts.LineStatementPrefix != "" {
			p := g.opts.LineStatementPrefix
			return "\n" + p + " if " + g.boolean(1) + "\n" + g.body(depth-1) + "\n  " + p + " endif\nrest"
		}
		return g.block(depth)
	case 23:
		if g.opts.LineCommentPrefix != "" {
			return " y " + g.opts.LineCommentPrefix + " a comment {{ nope }\n"
		}
		return "{% print " + g.expr(1) + ", " + g.expr(1) + " %}"
	}
	return g.output()
}

func (g *generator) output() string {
	open, end := g.pick("{{", "{{", "{{", "{{-"), g.pick("}}", "}}", "}}", "-}}")
	return open + " " + g.expr(3) + " " + end
}

func (g *generator) forLoop(depth int) string {
	if g.chance(1, 8) {
		return g.recursive()
	}
	iter := g.iterable(2)
	target := g.local()
	switch g.intn(8) {
	case 0:
		target, iter = target+", k2", g.pairs()
	case 1:
		target, iter = "("+target+", v2)", g.pairs()
	}
	head := "for " + target + " in " + iter
	if g.chance(1, 5) {
		head += " if " + g.boolean(1)
	}
	if g.chance(1, 20) {
		head += " recursive"
	}
	g.loops++
	body := g.body(depth - 1)
	if g.chance(1, 2) {
		body += "{{ " + g.loopExpr() + " }}"
	}
	g.loops--
	if g.chance(1, 5) {
		body += g.tag("else") + g.body(depth-1)
	}
	return g.tag("%s", head) + body + g.tag("endfor")
}

func (g *generator) recursive() string {
	iter := "nest"
	if g.chance(1, 4) {
		iter = "[[1, [2, 3]], 4, []]"
	}
	cond := ""
	if g.chance(1, 4) {
		cond = g.pick(" if q", " if q != 3", " if loop")
	}
	return "{% for q in " + iter + cond + " recursive %}" + g.pick("", "{{ loop.index }}",
		"{{ loop.depth }}:", "{{ loop.last }}") +
		"{% if q is sequence %}(" + g.pick("{{ loop(q) }}", "{{ loop(q)|length }}",
		"{{ loop(q) ~ '!' }}") + "){% else %}{{ q }}{% endif %}" +
		g.pick("", "{% else %}-") + "{% endfor %}"
}

func (g *generator) loopExpr() string {
	return g.pick("loop.index", "loop.index0", "loop.first", "loop.last", "loop.length", "loop.revindex",
		"loop.revindex0", "loop.depth",
		"loop.previtem", "loop.nextitem", "loop.cycle('a', 'b')", "loop.changed(i)",
		"loop.changed(loop.index // 2)", "loop", "loop.nope",
		"loop.previtem is defined", "loop.cycle(*l)", "loop.nextitem|default('none')", "seen('v')",
		"loop.depth0", "loop|string")
}

func (g *generator) ifElse(depth int) string {
	s := g.tag("if %s", g.boolean(2)) + g.body(depth-1)
	if g.chance(1, 3) {
		s += g.tag("elif %s", g.expr(1)) + g.body(depth-1)
	}
	if g.chance(1, 3) {
		s += g.tag("else") + g.body(depth-1)
	}
	return s + g.tag("endif")
}

func (g *generator) set(depth int) string {
	switch g.intn(8) {
	case 0:
		filter := ""
		if g.chance(1, 2) {
			filter = " | " + g.pick("upper", "trim", "length", "replace('a', 'b')", "indent", "upper | title",
				"escape", "list|join('-')")
		}
		body := g.body(depth - 1)
		return g.tag("set %s%s", g.local(), filter) + body + g.tag("endset")
	case 1:
		e := g.pairOf()
		return g.tag("set %s, %s = %s", g.local(), g.pick("k2", "v2"), e)
	}
	e := g.expr(2)
	return g.tag("set %s = %s", g.local(), e)
}

func (g *generator) macro(depth int) string {
	name := g.pick("m", "m2", "_pm", "fmt")
	params := g.pick("", "a", "a, b=2", "a, b=a", "a=1, b=i, c='x'", "a, caller=none", "a, kwargs={}", "v, w=v")
	g.inMacro++
	loops := g.loops
	g.loops = 0
	saved := len(g.locals)
	g.locals = append(g.locals, "a", "b")
	body := g.body(depth - 1)
	g.locals = g.locals[:saved]
	g.loops = loops
	g.inMacro--
	body += g.pick("", "{{ a }}", "{{ varargs }}", "{{ kwargs }}", "{{ caller() }}", "{{ caller }}", "{{ b }}{{ a }}",
		"{{ caller(1) if caller is defined }}")
	g.macros = append(g.macros, name)
	return g.tag("macro %s(%s)", name, params) + body + g.tag("endmacro") + g.pick("", "{{ "+g.macroCall()+" }}")
}

func (g *generator) macroCall() string {
	name := "m"
	if len(g.macros) > 0 {
		name = g.macros[g.intn(len(g.macros))]
	}
	return name + g.pick("()", "(1)", "(i, 2)", "(1, b=3)", "(a=s)", "(1, 2, 3, 4)", "(z=1)", "(*l)", "(**d)",
		"(1, x=2, y=3)", "(s, *ls)", "(b=l, a=d)") +
		g.pick("", "", "", "|upper", "|safe", "|length", "~'!'")
}

func (g *generator) callBlock(depth int) string {
	name := "m"
	if len(g.macros) > 0 {
		name = g.macros[g.intn(len(g.macros))]
	}
	body := g.body(depth - 1)
	return "{% call" + g.pick("", "(q)", "(q, r=1)") + " " + name + g.pick("()", "(1)", "(i, b=2)") + " %}" + body +
		g.pick("", "{{ q }}", "{{ a }}") + "{% endcall %}"
}

func (g *generator) with(depth int) string {
	e := g.expr(1)
	name := g.local()
	head := name + " = " + e
	if g.chance(1, 3) {
		head += ", " + g.local() + " = " + g.pick(name, "1", "l")
	}
	if g.chance(1, 8) {
		head = ""
	}
	return g.tag("with %s", head) + g.body(depth-1) + g.tag("endwith")
}

func (g *generator) include() string {
	name := "'inc'"
	if len(g.includes) == 0 || g.chance(1, 6) {
		name = g.pick("'missing'", "['missing', 'inc']", "[]", "x", "nope", "none", "('inc',)", "'lib'", "('in' ~ 'c')")
	}
	ctx := g.pick("", "", " with context", " without context")
	if g.inMacro > 0 {
		// Without context the macro would give a generator, whose text holds an address.
		ctx = ""
	}
	return g.tag("include %s%s%s", name, g.pick("", "", " ignore missing"), ctx)
}

func (g *generator) importTag() string {
	name := "'lib'"
	if len(g.libs) == 0 || g.chance(1, 12) {
		name = g.pick("'missing'", "'inc'", "x")
	}
	ctx := g.pick("", "", " with context", " without context")
	if g.chance(1, 2) {
		return g.tag("import %s as lib%s", name, ctx) + "{{ " + g.pick("lib.hello()", "lib.hello('x')", "lib.value", "lib",
			"lib.nope", "lib.hidden", "lib.with_ctx()", "lib.hello(name=s)|upper", "lib.value is defined", "seen('lib')") + " }}"
	}
	return g.tag("from %s import %s%s", name,
		g.pick("hello", "hello as hi", "value, hello", "nope", "value as i", "hello, with_ctx as wc"), ctx) +
		"{{ " + g.pick("hello()", "hi(1)", "value", "nope", "i", "wc()", "hello(s)", "nope is defined") + " }}"
}

func (g *generator) library() string {
	return "{% macro hello(name='you') %}Hi {{ name }}{{ " + g.expr(1) + " }}{% endmacro %}" +
		g.pick("", "{% set value = "+g.expr(1)+" %}", "{% set value %}"+g.body(1)+"{% endset %}") +
		"{% set _private = 1 %}{% macro with_ctx() %}{{ i }}{{ s }}{% endmacro %}{% for q in [1] %}{% set hidden = 2 %}{% endfor %}" + g.body(1)
}

func (g *generator) namespace(depth int) string {
	s := "{% set ns = namespace(" + g.pick("c=0", "", "c=1, q=s", "{'c': 2}", "d") + ") %}"
	g.loops++
	body := g.body(depth - 1)
	g.loops--
	return s + "{% for q in " + g.iterable(1) + " %}{% set ns.c = " + g.pick("ns.c + 1", "q", "loop.index", "[ns.c]") +
		" %}" + body + "{% endfor %}{{ ns.c }}" + g.pick("", "{{ ns }}", "{{ ns.nope }}")
}

func (g *generator) block(depth int) string {
	if g.inMacro > 0 || g.kind == "lib" {
		return g.output()
	}
	g.blocks++
	name := fmt.Sprintf("%s%d", g.pick("blk", "blk"), g.blocks)
	if g.kind != "main" {
		name = g.kind + name
	}
	loops := g.loops
	g.loops = 0
	g.inBlock++
	body := g.body(depth - 1)
	g.inBlock--
	g.loops = loops
	return g.tag("block %s%s", name, g.pick("", "", " scoped")) + body + g.pick("", "{{ self."+name+"x }}") +
		g.tag("endblock%s", g.pick("", " "+name))
}

var baseBlocks = []string{"head", "main", "foot"}

func (g *generator) baseTemplate() string {
	var b strings.Builder
	b.WriteString(g.text())
	for _, name := range baseBlocks {
		if g.chance(1, 3) {
			b.WriteString(g.statement(1))
		}
		switch g.intn(8) {
		case 0:
			b.WriteString("{% for v in l %}{% block " + name + " scoped %}{{ v }}" + g.body(1) + "{% endblock %}{% endfor %}")
		case 1:
			b.WriteString("{% block " + name + " required %} {% endblock %}")
		default:
			b.WriteString("{% block " + name + " %}" + g.body(1) + g.pick("", "{{ seen('v') }}", "{{ v }}",
				"{{ self.foot() }}") + "{% endblock %}")
		}
		b.WriteString(g.text())
	}
	return b.String()
}

func (g *generator) child(parent string) string {
	var b strings.Builder
	name := "'" + parent + "'"
	switch g.intn(12) {
	case 0:
		name += " if b else 'base'"
	case 1:
		name = "none"
	}
	extends := "{% extends " + name + " %}"
	if g.chance(1, 8) {
		extends = "{% if b %}" + extends + "{% endif %}"
	}
	if g.chance(1, 6) {
		b.WriteString(g.text())
	}
	b.WriteString(extends)
	for range g.intn(3) {
		b.WriteString(g.set(1))
	}
	if g.chance(1, 4) {
		b.WriteString(g.statement(2))
	}
	for _, name := range baseBlocks {
		if g.chance(1, 2) {
			b.WriteString("{% block " + name + " %}" +
				g.pick("", "{{ super() }}", "[{{ super() }}]", "{{ super.super() }}", "{{ super }}") + g.body(1) +
				g.pick("", "{{ v }}", "{{ seen('v') }}", "{{ self.main() if 0 }}",
					"{% set q = 4 %}{{ seen('q') }}{{ 'q'|seen }}") + "{% endblock %}")
		}
	}
	return b.String()
}

// blockFilter makes the filter of a filter block.
func (g *generator) blockFilter() string {
	return g.pick("upper", "lower", "trim", "replace('a', 'b')", "title", "indent(2)", "length", "escape", "list",
		"upper|replace('A', s)", "wordcount", "truncate(5)", "center(9)", "e|safe")
}

func (g *generator) mutation() string {
	return g.pick("l.append(i)", "ls.append(s)", "d.update({'z': 1})", "l.extend([7, 8])", "l.pop()", "l.insert(0, 9)",
		"l.reverse()", "l.sort()", "d.pop('a', none)",
		"l.remove(1)", "l.clear()", "d.setdefault('q', []).append(1)", "lx.append(lx)", "ls.sort(reverse=true)",
		"d.clear()", "d.popitem()", "l.sort(key=i)", "i", g.expr(1))
}

func (g *generator) anyLocal() string {
	if len(g.locals) > 0 && g.chance(1, 2) {
		return g.locals[g.intn(len(g.locals))]
	}
	names := make([]string, 0, len(generatorVars))
	for n := range generatorVars {
		names = append(names, n)
	}
	slices.Sort(names)
	return names[g.intn(len(names))]
}
