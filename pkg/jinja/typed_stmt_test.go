package jinja

import (
	"fmt"
	"strings"
)

// Statements of the typed grammar.

// plain makes text between tags that cannot start a line statement.
func (g *generator) plain() string {
	s := g.pick("", " ", "\n", "x", "\n  ", "text ", "a\nb", "  \n", "<i>", "{ ", "} ", "\n\n", "é", "\t", "% ", "$", "y",
		" z\n", "end", "; ", " - ")
	if g.opts.LineCommentPrefix != "" && g.chance(1, 6) {
		return " w " + g.opts.LineCommentPrefix + " a {{ comment\n"
	}
	return s
}

// statementTag makes the tag of a statement, sometimes as a line statement if these are
// enabled.
func (g *generator) statementTag(format string, args ...any) string {
	s := fmt.Sprintf(format, args...)
	if p := g.opts.LineStatementPrefix; p != "" && g.chance(1, 3) {
		return "\n" + g.pick("", "  ") + p + g.pick(" ", "") + s + "\n"
	}
	return g.open() + " " + s + " " + g.close()
}

func (g *generator) print(expr string) string {
	return g.pick("{{", "{{", "{{", "{{-") + " " + expr + " " + g.pick("}}", "}}", "}}", "-}}")
}

// stmts makes a body of statements with its own scope.
func (g *generator) stmts(depth int) string {
	return g.inner(func() string {
		var b strings.Builder
		for range 1 + g.intn(2) {
			b.WriteString(g.plain() + g.stmt(depth) + g.plain())
		}
		return b.String()
	})
}

// frame makes a body with its own names that is not at the top level.
func (g *generator) frame(depth int) string {
	return g.inner(func() string {
		g.top = false
		return g.stmts(depth)
	})
}

// function makes a body that is not in a loop.
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
		s := g.statementTag("if %s", g.ex("bool", 2)) + g.stmts(depth-1)
		if g.chance(1, 3) {
			s += g.statementTag("elif %s", g.ex("bool", 1)) + g.stmts(depth-1)
		}
		if g.chance(1, 2) {
			s += g.statementTag("else") + g.stmts(depth-1)
		}
		return s + g.statementTag("endif")
	case 8, 9, 10:
		return g.assign(depth)
	case 11, 12:
		return g.typedMacro(depth)
	case 13:
		return g.typedCallBlock(depth)
	case 14:
		filter := g.pick("upper", "lower", "trim", "replace('a', 'b')", "title", "indent(2)", "escape",
			"upper|replace('A', s)", "truncate(15)", "center(9)", "e|safe", "wordwrap(10)", "striptags|trim",
			"indent('> ', true)", "urlize", "string|length|string", "reverse|upper", "capitalize",
			"tojson", "default('x', true)")
		return g.statementTag("filter %s", filter) + g.frame(depth-1) + g.statementTag("endfilter")
	case 15:
		return g.with2(depth)
	case 16, 17:
		return g.typedInclude()
	case 18, 19:
		return g.typedImport(depth)
	case 20:
		return g.typedNamespace(depth)
	case 21:
		return g.statementTag("autoescape %s", g.pick("true", "false", "b", "i > 1")) + g.print(g.ex("str", 3)) +
			g.frame(depth-1) + g.statementTag("endautoescape")
	case 22:
		return g.pick("{% raw %}{{ x }}{% endraw %}", "{%- raw -%} {% if %} {%- endraw -%}", "{# comment #}", "{#- c -#}",
			" {%+ raw %}\n{{\n{% endraw +%}\n", "{#+ c +#}\n", "{% raw -%} {% x {%- endraw %}",
			"{% print "+g.ex("any", 1)+", "+g.ex("any", 1)+" %}")
	case 23:
		return g.modify()
	case 24:
		return g.cyclerOrJoiner(depth)
	}
	if g.kind == "main" && g.top && g.loops == 0 {
		return g.typedBlock(depth)
	}
	return g.print(g.ex("str", 3))
}

// loop makes a for statement.
func (g *generator) loop(depth int) string {
	if g.chance(1, 6) {
		return g.recursive2(depth)
	}
	return g.inner(func() string {
		kinds := []struct{ iter, types string }{
			{"$ints", "int"}, {"$strs", "str"}, {"$recs", "rec"}, {"$dict", "str"}, {"$dict.items()",
				"str,int"}, {"$dict|dictsort", "str,int"}, {"$dict|items", "str,int"}, {"range(j)", "int"}, {"$str", "str"},
			{"[($Str, $Int), ('q', 2)]", "str,int"}, {"$recs|groupby('city', default='-')", "str,recs"}, {"$ints|batch(2)",
				"ints"}, {"$strs|slice(2)", "strs"}, {"$strs|map('upper')", "str"}, {"$recs|map(attribute='age')", "int"},
			{"[[1, $Str], [2, $Str]]", "int,str"}, {"$ints|select('odd')", "int"}, {"($Strs if $Bool else $Strs)",
				"str"}, {"'ab', $Str", "str"}, {"[(1, ($Str, $Float))]", "nested"}, {"$any|string", "str"},
			{"$recs|groupby('age')|map('last')", "recs"}, {"lx", "any"}, {"dd.values()", "any"},
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
			body = g.pick("{{ "+first+".name }}", "{{ "+first+"['age'] }}: {{ "+first+".city|default('-') }}",
				"{{ "+first+".sub.a|d(0) }}", "{{ "+first+".name|upper ~ "+first+".age }}", "{{ "+first+" }}")
		}
		body += g.print(g.ex("any", 2)) + g.stmts(depth-1)
		if g.chance(1, 3) {
			body += g.pick("{{ loop }}", "{{ loop.index }}/{{ loop.length }}", "{{ ', ' if not loop.last }}",
				"{{ loop.cycle('a', 'b', 'c') }}", "{{ loop.changed("+first+") }}",
				"{{ loop.previtem|default('-') }}>{{ loop.nextitem|default('-') }}",
				"{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}", "{{ loop.first ~ loop.last }}",
				"{{ loop.changed(loop.index // 2, b) }}")
		}
		if g.opts.LoopControls && g.chance(1, 4) {
			body += g.statementTag("if %s", g.pick("loop.index > 1", g.ex("bool", 1))) +
				g.statementTag("%s", g.pick("break", "continue")) + g.statementTag("endif") + g.plain()
		}
		g.loops, g.breaks = outer, breaks
		if g.chance(1, 4) {
			n := len(g.scope)
			g.scope = g.scope[:n-strings.Count(target, ",")-1]
			body += g.statementTag("else") + g.stmts(depth-1)
		}
		g.top = top
		return g.statementTag("%s", head) + body + g.statementTag("endfor")
	})
}

func (g *generator) recursive2(depth int) string {
	if g.chance(1, 3) {
		cond := g.pick("", "", " if q", " if q != 3", " if q is not none")
		return "{% for q in " + g.leaf("nest") + cond + " recursive %}" +
			g.pick("", "{{ loop.index }}", "{{ loop.depth }}:", "{{ loop.last }}", "{{ loop.previtem|default('^') }}") +
			"{% if q is iterable %}(" + g.pick("{{ loop(q) }}", "{{ loop(q)|length }}", "{{ loop(q) ~ '!' }}",
			"{{ loop(q|reverse|list) }}") + "){% else %}{{ q }}{{ " + g.ex("any", 1) + " }}{% endif %}" +
			g.pick("", "{% else %}-") + "{% endfor %}"
	}
	return g.inner(func() string {
		g.top = false
		tree := g.leaf("tree")
		loops, breaks := g.loops, g.breaks
		g.loops, g.breaks = 1, 1
		s := g.statementTag("for node in %s%s recursive", tree,
			g.pick("", "", " if node.name")) + g.pick("{{ '  ' * loop.depth0 }}", "",
			"{{ loop.depth }}.{{ loop.index }} ") + "{{ node.name }}" + g.plain() + g.print(g.ex("any", 2)) +
			g.pick("{{ loop(node.kids) }}", "{% if node.kids %}[{{ loop(node.kids)|upper }}]{% endif %}",
				"<{{- loop(node.kids) -}}>",
				"{% set sub = loop(node.kids) %}{{ sub|length }}{{ sub }}",
				"{{ loop(node.kids|sort(attribute='name')) }}") + g.plain()
		g.loops, g.breaks = loops, breaks
		return s + g.pick("", g.statementTag("else")+"leaf") + g.statementTag("endfor")
	})
}

// assign makes a set statement. Names keep their type.
func (g *generator) assign(depth int) string {
	switch g.intn(9) {
	case 0, 1:
		filter := ""
		if g.chance(1, 2) {
			filter = " | " + g.pick("upper", "trim", "replace('a', 'b')", "indent", "upper | title", "escape",
				"list|join('-')", "string", "truncate(20)", "striptags")
		}
		body := g.frame(depth - 1)
		return g.statementTag("set %s%s", g.bind("str"), filter) + body + g.statementTag("endset")
	case 2:
		a, b := g.someType(), g.someType()
		e := g.pick("%s, %s", "(%s, %s)", "[%s, %s]")
		e = fmt.Sprintf(e, g.ex(a, 2), g.ex(b, 1))
		x, y := g.bind(a), g.bind(b)
		return g.statementTag("set %s, %s = %s", x, y, e) + g.print(x)
	case 3:
		typ := g.someType()
		if name, ok := g.of(typ); ok {
			return g.statementTag("set %s = %s", name, g.ex(typ, 2))
		}
	}
	typ := g.someType()
	e := g.ex(typ, 3)
	return g.statementTag("set %s = %s", g.bind(typ), e)
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
			return g.statementTag("with") + g.inner(func() string {
				return g.assign(1) + g.print(g.ex("any",
					1))
			}) + g.statementTag("endwith")
		}
		return g.statementTag("with %s", head) + g.print(name) + g.stmts(depth-1) + g.statementTag("endwith")
	})
}

// typedNamespace makes a namespace and modifies it in a loop.
func (g *generator) typedNamespace(depth int) string {
	init := g.pick("c=0, q="+g.ex("str", 1), "c=1, q='x'", "{'c': 2, 'q': 'y'}", "dict(c=1), q='z'",
		"[('c', 3), ('q', 'w')]")
	g.fresh++
	ns := fmt.Sprintf("ns%d", g.fresh)
	return g.inner(func() string {
		s := g.statementTag("set %s = namespace(%s)", ns, init)
		g.scope = append(g.scope, variable{name: ns + ".c", typ: "int", top: g.top},
			variable{name: ns + ".q", typ: "str", top: g.top})
		s += g.statementTag("for q in %s", g.fill("$ints", 3))
		outer, breaks := g.loops, g.breaks
		g.loops, g.breaks = 1, 1
		s += g.statementTag("set %s.c = %s", ns, g.pick(ns+".c + q", ns+".c + 1", "loop.index", g.ex("int", 1)))
		if g.chance(1, 2) {
			s += g.statementTag("set %s.q = %s", ns, g.pick(ns+".q ~ loop.index", g.ex("str", 1)))
		} else if g.chance(1, 2) {
			s += g.statementTag("set %s.q", ns) + g.frame(0) + g.statementTag("endset")
		}
		s += g.inner(func() string { g.top = false; return g.stmts(depth - 1) })
		g.loops, g.breaks = outer, breaks
		return s + g.statementTag("endfor") + "{{ " + ns + ".c }} {{ " + ns + ".q" + " }}" +
			g.pick("", "{{ "+ns+" }}", "{{ "+ns+".nope|default('?') }}", "{{ "+ns+"['c'] }}")
	})
}

// modify modifies a list or a dict in place, outside of loops: a loop over a list that
// grows would not end.
func (g *generator) modify() string {
	if g.loops > 0 || !g.top || g.kind != "main" {
		return g.print(g.ex("any", 2))
	}
	m := g.fill(g.pick("l.append($Int)", "ls.append($Str)", "d.update({'z': $Int})", "d.update(z=$Int, y=1)",
		"l.extend([7, $Int])", "l.insert(0, $Int)", "l.reverse()", "l.sort()", "d.pop('a', none)", "ls.sort(reverse=true)",
		"d.setdefault('q', $Int)", "l.pop() if l", "lx.append($Any)", "dd.update({'n': $Any})", "ls.insert(1, $Str)",
		"l.remove(l[0]) if l", "d.popitem() if d", "l2.clear()", "lx.append(lx)",
		"l.sort(reverse=true)", "ls.extend($strs)"), 1)
	shown := "{{ " + g.pick("l", "ls", "d", "lx", "dd", "[l, d]", "d.items()|list") + " }}"
	if g.opts.Do {
		return g.statementTag("do %s", m) + shown
	}
	return "{{ " + m + " }}" + shown
}

// cyclerOrJoiner uses cyclers and joiners in a loop.
func (g *generator) cyclerOrJoiner(depth int) string {
	g.fresh++
	name := fmt.Sprintf("aid%d", g.fresh)
	if g.chance(1, 2) {
		return g.statementTag("set %s = cycler(%s, %s%s)", name, g.ex("any", 1), g.ex("any", 1), g.pick("", ", 'c'")) +
			g.statementTag("for q in range(%d)", 2+g.intn(4)) + "{{ " + name + ".next() }}" + g.plain() +
			g.pick("", "{{ "+name+".current }}", "{% if q == 2 %}{{ "+name+".reset() }}{% endif %}",
				"{{ "+name+".pos }}") + g.statementTag("endfor")
	}
	return g.statementTag("set %s = joiner(%s)", name, g.pick("", "'|'", g.ex("str", 1))) +
		g.statementTag("for q in %s", g.fill("$strs", 2)) + "{{ " + name + "() }}{{ q }}" + g.statementTag("endfor")
}
