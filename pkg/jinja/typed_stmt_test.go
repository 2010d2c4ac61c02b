package jinja

import (
	"fmt"
	"strings"
)

// Statements of the typed grammar.

// plain is text between tags, without what a line statement could begin with.
func (g *generator) plain() string {
	s := g.pick("", " ", "\n", "x", "\n  ", "text ", "a\nb", "  \n", "<i>", "{ ", "} ", "\n\n", "é", "\t", "% ", "$", "y", " z\n", "end", "; ", " - ")
	if g.opts.LineCommentPrefix != "" && g.chance(1, 6) {
		return " w " + g.opts.LineCommentPrefix + " a {{ comment\n"
	}
	return s
}

// stag is a statement's tag, in line statement form now and then where that is on.
func (g *generator) stag(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	if p := g.opts.LineStatementPrefix; p != "" && g.chance(1, 3) {
		return "\n" + g.pick("", "  ") + p + g.pick(" ", "") + s + "\n"
	}
	return g.open() + " " + s + " " + g.close()
}

func (g *generator) print(expr string) string {
	return g.pick("{{", "{{", "{{", "{{-") + " " + expr + " " + g.pick("}}", "}}", "}}", "-}}")
}

// stmts is a body of statements with a scope of its own.
func (g *generator) stmts(depth int) string {
	return g.inner(func() string {
		var b strings.Builder
		for range 1 + g.intn(2) {
			b.WriteString(g.plain() + g.stmt(depth) + g.plain())
		}
		return b.String()
	})
}

// frame is a body whose names are its own and which is not at the top level.
func (g *generator) frame(depth int) string {
	return g.inner(func() string {
		g.top = false
		return g.stmts(depth)
	})
}

// function is a body in which there is no loop around.
func (g *generator) function(depth int) string {
	loops, breaks := g.loops, g.breaks
	g.loops, g.breaks = 0, 0
	s := g.frame(depth)
	g.loops, g.breaks = loops, breaks
	return s
}

func (g *generator) someType() string {
	return g.pick("int", "int", "str", "str", "str", "float", "bool", "ints", "strs", "recs", "dict", "any")
}

func (g *generator) stmt(depth int) string {
	if depth <= 0 || g.chance(2, 5) {
		return g.print(g.ex("any", 1+g.intn(3)))
	}
	switch g.intn(26) {
	case 0, 1, 2, 3, 4:
		return g.loop(depth)
	case 5, 6, 7:
		s := g.stag("if %s", g.ex("bool", 2)) + g.stmts(depth-1)
		if g.chance(1, 3) {
			s += g.stag("elif %s", g.ex("bool", 1)) + g.stmts(depth-1)
		}
		if g.chance(1, 2) {
			s += g.stag("else") + g.stmts(depth-1)
		}
		return s + g.stag("endif")
	case 8, 9, 10:
		return g.assign(depth)
	case 11, 12:
		return g.macro2(depth)
	case 13:
		return g.call2(depth)
	case 14:
		filter := g.pick("upper", "lower", "trim", "replace('a', 'b')", "title", "indent(2)", "escape", "upper|replace('A', s)", "truncate(15)", "center(9)", "e|safe", "wordwrap(10)", "striptags|trim", "indent('> ', true)", "urlize", "string|length|string", "reverse|upper", "capitalize", "tojson", "default('x', true)")
		return g.stag("filter %s", filter) + g.frame(depth-1) + g.stag("endfilter")
	case 15:
		return g.with2(depth)
	case 16, 17:
		return g.include2()
	case 18, 19:
		return g.import2(depth)
	case 20:
		return g.space(depth)
	case 21:
		return g.stag("autoescape %s", g.pick("true", "false", "b", "i > 1")) + g.print(g.ex("str", 3)) + g.frame(depth-1) + g.stag("endautoescape")
	case 22:
		return g.pick("{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% if %} {%- endraw -%}", "{# comment #}", "{#- c -#}", " {%+ raw %}\n{{\n{% endraw +%}\n", "{#+ c +#}\n", "{% raw -%} {% x {%- endraw %}", "{% print "+g.ex("any", 1)+", "+g.ex("any", 1)+" %}")
	case 23:
		return g.mutate()
	case 24:
		return g.helper(depth)
	}
	if g.kind == "main" && g.top && g.loops == 0 {
		return g.block2(depth)
	}
	return g.print(g.ex("str", 3))
}

// loop is a for statement.
func (g *generator) loop(depth int) string {
	if g.chance(1, 6) {
		return g.recursive2(depth)
	}
	return g.inner(func() string {
		kinds := []struct{ iter, types string }{
			{"$ints", "int"}, {"$strs", "str"}, {"$recs", "rec"}, {"$dict", "str"}, {"$dict.items()", "str,int"}, {"$dict|dictsort", "str,int"}, {"$dict|items", "str,int"}, {"range(j)", "int"}, {"$str", "str"},
			{"[($Str, $Int), ('q', 2)]", "str,int"}, {"$recs|groupby('city', default='-')", "str,recs"}, {"$ints|batch(2)", "ints"}, {"$strs|slice(2)", "strs"}, {"$strs|map('upper')", "str"}, {"$recs|map(attribute='age')", "int"}, {"[[1, $Str], [2, $Str]]", "int,str"}, {"$ints|select('odd')", "int"}, {"($Strs if $Bool else $Strs)", "str"}, {"'ab', $Str", "str"}, {"[(1, ($Str, $Float))]", "nested"}, {"$any|string", "str"}, {"$recs|groupby('age')|map('last')", "recs"}, {"lx", "any"}, {"dd.values()", "any"},
		}
		k := kinds[g.intn(len(kinds))]
		iter := g.fill(k.iter, 2)
		top := g.top
		g.top = false
		var target string
		switch k.types {
		case "nested":
			a, b, c := g.bind("int"), g.bind("str"), g.bind("float")
			target = g.pick(a+", ("+b+", "+c+")", "("+a+", ("+b+", "+c+"))")
		case "rec":
			target = g.bind("rec")
		default:
			var names []string
			for typ := range strings.SplitSeq(k.types, ",") {
				names = append(names, g.bind(typ))
			}
			target = strings.Join(names, ", ")
			if len(names) > 1 && g.chance(1, 4) {
				target = "(" + target + ")"
			}
		}
		first := strings.Trim(strings.Split(target, ",")[0], "(")
		head := "for " + target + " in " + iter
		outer, breaks := g.loops, g.breaks
		if g.chance(1, 5) {
			g.loops = 0
			head += " if " + g.pick(first, first+" is not none", g.ex("bool", 1), first+" != 'a'")
			g.loops = outer
		}
		if g.chance(1, 12) {
			head += " recursive"
		}
		g.loops, g.breaks = 1, 1
		body := ""
		if k.types == "rec" {
			body = g.pick("{{ "+first+".name }}", "{{ "+first+"['age'] }}: {{ "+first+".city|default('-') }}", "{{ "+first+".sub.a|d(0) }}", "{{ "+first+".name|upper ~ "+first+".age }}", "{{ "+first+" }}")
		}
		body += g.print(g.ex("any", 2)) + g.stmts(depth-1)
		if g.chance(1, 3) {
			body += g.pick("{{ loop }}", "{{ loop.index }}/{{ loop.length }}", "{{ ', ' if not loop.last }}", "{{ loop.cycle('a', 'b', 'c') }}", "{{ loop.changed("+first+") }}", "{{ loop.previtem|default('-') }}>{{ loop.nextitem|default('-') }}", "{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}", "{{ loop.first ~ loop.last }}", "{{ loop.changed(loop.index // 2, b) }}")
		}
		if g.opts.LoopControls && g.chance(1, 4) {
			body += g.stag("if %s", g.pick("loop.index > 1", g.ex("bool", 1))) + g.stag("%s", g.pick("break", "continue")) + g.stag("endif") + g.plain()
		}
		g.loops, g.breaks = outer, breaks
		if g.chance(1, 4) {
			n := len(g.scope)
			g.scope = g.scope[:n-strings.Count(target, ",")-1]
			body += g.stag("else") + g.stmts(depth-1)
		}
		g.top = top
		return g.stag("%s", head) + body + g.stag("endfor")
	})
}

func (g *generator) recursive2(depth int) string {
	if g.chance(1, 3) {
		cond := g.pick("", "", " if q", " if q != 3", " if q is not none")
		return "{% for q in " + g.leaf("nest") + cond + " recursive %}" + g.pick("", "{{ loop.index }}", "{{ loop.depth }}:", "{{ loop.last }}", "{{ loop.previtem|default('^') }}") +
			"{% if q is iterable %}(" + g.pick("{{ loop(q) }}", "{{ loop(q)|length }}", "{{ loop(q) ~ '!' }}", "{{ loop(q|reverse|list) }}") + "){% else %}{{ q }}{{ " + g.ex("any", 1) + " }}{% endif %}" +
			g.pick("", "{% else %}-") + "{% endfor %}"
	}
	return g.inner(func() string {
		g.top = false
		tree := g.leaf("tree")
		loops, breaks := g.loops, g.breaks
		g.loops, g.breaks = 1, 1
		s := g.stag("for node in %s%s recursive", tree, g.pick("", "", " if node.name")) + g.pick("{{ '  ' * loop.depth0 }}", "", "{{ loop.depth }}.{{ loop.index }} ") + "{{ node.name }}" + g.plain() + g.print(g.ex("any", 2)) +
			g.pick("{{ loop(node.kids) }}", "{% if node.kids %}[{{ loop(node.kids)|upper }}]{% endif %}", "<{{- loop(node.kids) -}}>", "{% set sub = loop(node.kids) %}{{ sub|length }}{{ sub }}", "{{ loop(node.kids|sort(attribute='name')) }}") + g.plain()
		g.loops, g.breaks = loops, breaks
		return s + g.pick("", g.stag("else")+"leaf") + g.stag("endfor")
	})
}

// assign is a set statement. Names keep their type.
func (g *generator) assign(depth int) string {
	switch g.intn(9) {
	case 0, 1:
		filter := ""
		if g.chance(1, 2) {
			filter = " | " + g.pick("upper", "trim", "replace('a', 'b')", "indent", "upper | title", "escape", "list|join('-')", "string", "truncate(20)", "striptags")
		}
		body := g.frame(depth - 1)
		return g.stag("set %s%s", g.bind("str"), filter) + body + g.stag("endset")
	case 2:
		a, b := g.someType(), g.someType()
		e := g.pick("%s, %s", "(%s, %s)", "[%s, %s]")
		e = fmt.Sprintf(e, g.ex(a, 2), g.ex(b, 1))
		x, y := g.bind(a), g.bind(b)
		return g.stag("set %s, %s = %s", x, y, e) + g.print(x)
	case 3:
		typ := g.someType()
		if name, ok := g.of(typ); ok {
			return g.stag("set %s = %s", name, g.ex(typ, 2))
		}
	}
	typ := g.someType()
	e := g.ex(typ, 3)
	return g.stag("set %s = %s", g.bind(typ), e)
}

func (g *generator) with2(depth int) string {
	return g.inner(func() string {
		g.top = false
		typ := g.someType()
		e := g.ex(typ, 2)
		name := g.bind(typ)
		head := name + " = " + e
		if g.chance(1, 3) {
			// The values of a with statement are evaluated outside of it.
			g.scope = g.scope[:len(g.scope)-1]
			e2 := g.ex("str", 1)
			g.scope = append(g.scope, variable{name: name, typ: typ})
			head += ", " + g.bind("str") + " = " + e2
		}
		if g.chance(1, 10) {
			return g.stag("with") + g.inner(func() string { return g.assign(1) + g.print(g.ex("any", 1)) }) + g.stag("endwith")
		}
		return g.stag("with %s", head) + g.print(name) + g.stmts(depth-1) + g.stag("endwith")
	})
}

// space is a namespace, counted up in a loop.
func (g *generator) space(depth int) string {
	init := g.pick("c=0, q="+g.ex("str", 1), "c=1, q='x'", "{'c': 2, 'q': 'y'}", "dict(c=1), q='z'", "[('c', 3), ('q', 'w')]")
	g.fresh++
	ns := fmt.Sprintf("ns%d", g.fresh)
	return g.inner(func() string {
		s := g.stag("set %s = namespace(%s)", ns, init)
		g.scope = append(g.scope, variable{name: ns + ".c", typ: "int", top: g.top}, variable{name: ns + ".q", typ: "str", top: g.top})
		s += g.stag("for q in %s", g.fill("$ints", 3))
		outer, breaks := g.loops, g.breaks
		g.loops, g.breaks = 1, 1
		s += g.stag("set %s.c = %s", ns, g.pick(ns+".c + q", ns+".c + 1", "loop.index", g.ex("int", 1)))
		if g.chance(1, 2) {
			s += g.stag("set %s.q = %s", ns, g.pick(ns+".q ~ loop.index", g.ex("str", 1)))
		} else if g.chance(1, 2) {
			s += g.stag("set %s.q", ns) + g.frame(0) + g.stag("endset")
		}
		s += g.inner(func() string { g.top = false; return g.stmts(depth - 1) })
		g.loops, g.breaks = outer, breaks
		return s + g.stag("endfor") + "{{ " + ns + ".c }} {{ " + ns + ".q" + " }}" + g.pick("", "{{ "+ns+" }}", "{{ "+ns+".nope|default('?') }}", "{{ "+ns+"['c'] }}")
	})
}

// mutate changes a list or a dict in place, outside of loops alone: a loop over
// what it appends to would not end.
func (g *generator) mutate() string {
	if g.loops > 0 || !g.top || g.kind != "main" {
		return g.print(g.ex("any", 2))
	}
	m := g.fill(g.pick("l.append($Int)", "ls.append($Str)", "d.update({'z': $Int})", "d.update(z=$Int, y=1)", "l.extend([7, $Int])", "l.insert(0, $Int)", "l.reverse()", "l.sort()", "d.pop('a', none)", "ls.sort(reverse=true)", "d.setdefault('q', $Int)", "l.pop() if l", "lx.append($Any)", "dd.update({'n': $Any})", "ls.insert(1, $Str)", "l.remove(l[0]) if l", "d.popitem() if d", "l2.clear()", "lx.append(lx)", "l.sort(reverse=true)", "ls.extend($strs)"), 1)
	shown := "{{ " + g.pick("l", "ls", "d", "lx", "dd", "[l, d]", "d.items()|list") + " }}"
	if g.opts.Do {
		return g.stag("do %s", m) + shown
	}
	return "{{ " + m + " }}" + shown
}

// helper uses cyclers and joiners over a loop.
func (g *generator) helper(depth int) string {
	g.fresh++
	name := fmt.Sprintf("aid%d", g.fresh)
	if g.chance(1, 2) {
		return g.stag("set %s = cycler(%s, %s%s)", name, g.ex("any", 1), g.ex("any", 1), g.pick("", ", 'c'")) + g.stag("for q in range(%d)", 2+g.intn(4)) + "{{ " + name + ".next() }}" + g.plain() +
			g.pick("", "{{ "+name+".current }}", "{% if q == 2 %}{{ "+name+".reset() }}{% endif %}", "{{ "+name+".pos }}") + g.stag("endfor")
	}
	return g.stag("set %s = joiner(%s)", name, g.pick("", "'|'", g.ex("str", 1))) + g.stag("for q in %s", g.fill("$strs", 2)) + "{{ " + name + "() }}{{ q }}" + g.stag("endfor")
}
