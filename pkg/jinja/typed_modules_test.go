package jinja

import (
	"fmt"
	"strings"
)

// Macros, and templates that use other templates, of the typed grammar.

// typedMacro makes a macro and mostly a use of it.
func (g *generator) typedMacro(depth int) string {
	v, s := g.define(depth)
	g.scope = append(g.scope, v)
	if v.macro.caller >= 0 || g.chance(1, 4) {
		return s
	}
	return s + g.print(v.name+"("+g.arguments(v.macro, 1)+")"+g.pick("", "", "", "|upper", "|safe", "|length",
		" ~ '!'", "|e", "|indent"))
}

// define makes a macro and returns it as a variable that is not in scope yet.
func (g *generator) define(depth int) (variable, string) {
	g.fresh++
	v := variable{name: fmt.Sprintf("m%d", g.fresh), typ: "macro", top: g.top, macro: &signature{caller: -1}}
	m := v.macro
	var params []string
	body := g.inner(func() string {
		g.top = false
		count := g.intn(4)
		m.defaults = g.intn(count + 1)
		for i := range count {
			typ := g.someType()
			deflt := ""
			if i >= count-m.defaults {
				deflt = "=" + g.ex(typ, 1)
			}
			name := g.bind(typ)
			m.params, m.names = append(m.params, typ), append(m.names, name)
			params = append(params, name+deflt)
		}
		loops, breaks := g.loops, g.breaks
		g.loops, g.breaks = 0, 0
		var b strings.Builder
		for _, name := range m.names {
			b.WriteString(g.pick("", "{{ "+name+" }}", "["+"{{ "+name+" }}"+"]"))
		}
		b.WriteString(g.stmts(depth - 1))
		if g.chance(1, 3) {
			m.varargs = true
			b.WriteString(g.pick("{{ varargs }}", "{{ varargs|length }}", "{% for q in varargs %}{{ q }},{% endfor %}",
				"{{ varargs|map('string')|join(' ') }}"))
		}
		if g.chance(1, 3) {
			m.kwargs = true
			b.WriteString(g.pick("{{ kwargs }}", "{{ kwargs|dictsort }}",
				"{% for k, y in kwargs.items() %}{{ k }}={{ y }} {% endfor %}", "{{ kwargs.extra|default('-') }}"))
		}
		if g.chance(1, 4) {
			m.caller = g.intn(3)
			args := []string{"", g.ex("int", 1), g.ex("int", 1) + ", " + g.ex("str", 1)}[m.caller]
			b.WriteString(g.pick("{{ caller("+args+") }}", "<{{ caller("+args+")|upper }}>", "{% for q in range(2) %}{{ caller("+
				args+") }}{% endfor %}", "{{ caller("+args+") if caller is defined }}",
				"{% if caller %}{{ caller("+args+") }}{% endif %}"))
		}
		if g.chance(1, 6) {
			b.WriteString(g.pick("{{ "+v.name+".name }}", "{{ "+v.name+".arguments }}",
				"{{ "+v.name+".catch_varargs }}{{ "+v.name+".caller }}"))
		}
		g.loops, g.breaks = loops, breaks
		return b.String()
	})
	return v, g.statementTag("macro %s(%s)", v.name, strings.Join(params, ", ")) + body + g.statementTag("endmacro")
}

// typedCallBlock makes a call block of a macro that accepts one.
func (g *generator) typedCallBlock(depth int) string {
	var macros []variable
	for _, v := range g.scope {
		if v.typ == "macro" && v.macro.caller >= 0 {
			macros = append(macros, v)
		}
	}
	if len(macros) == 0 {
		v, s := g.define(depth)
		g.scope = append(g.scope, v)
		if v.macro.caller < 0 {
			return s
		}
		return s + g.callTo(v, depth)
	}
	return g.callTo(macros[g.intn(len(macros))], depth)
}

func (g *generator) callTo(v variable, depth int) string {
	args := g.arguments(v.macro, 1)
	return g.inner(func() string {
		g.top = false
		breaks := g.breaks
		g.breaks = 0
		head := ""
		switch v.macro.caller {
		case 1:
			head = "(" + g.bind("int") + ")"
		case 2:
			head = "(" + g.bind("int") + ", " + g.bind("str") + ")"
		}
		if head != "" && g.chance(1, 4) {
			head = head[:len(head)-1] + ", " + g.bind("str") + "='dflt')"
		}
		if head == "" && g.chance(1, 4) {
			head = "(" + g.bind("int") + "=5)"
		}
		body := g.print(g.ex("any", 2)) + g.stmts(depth-1)
		g.breaks = breaks
		return "{% call" + head + " " + v.name + "(" + args + ") %}" + body + "{% endcall %}"
	})
}

// typedLibrary makes a template to import. It reads variables only if it is imported with
// context, which is fixed for each library.
func (g *generator) typedLibrary(r *request) {
	for n := range 1 + g.intn(2) {
		name := fmt.Sprintf("lib%d", n)
		context := g.chance(3, 4)
		g.scope = nil
		if context {
			g.scope = g.contextScope()
		}
		seen := len(g.scope)
		g.top = true
		var b strings.Builder
		for range 1 + g.intn(3) {
			v, s := g.define(1)
			b.WriteString(s + g.plain())
			g.scope = append(g.scope, v)
			if g.chance(1, 2) {
				b.WriteString(g.assign(1))
			}
		}
		b.WriteString(g.pick("", "{% set _private = 1 %}", "{% for q in [1] %}{% set hidden = 2 %}{% endfor %}") + g.stmts(1))
		r.Templates[name] = b.String()
		var exports []variable
		for _, v := range g.scope[seen:] {
			if !strings.HasPrefix(v.name, "_") {
				exports = append(exports, v)
			}
		}
		g.modules = append(g.modules, libModule{name: name, context: context, exports: exports})
	}
}

// libModule is a template to import and what it exports.
type libModule struct {
	name    string
	context bool
	exports []variable
}

// typedImport imports a library, binds its exports, and uses it.
func (g *generator) typedImport(depth int) string {
	if len(g.modules) == 0 {
		return g.assign(depth)
	}
	m := g.modules[g.intn(len(g.modules))]
	how := g.pick("", " without context")
	if m.context {
		how = " with context"
	}
	name := g.pick("'"+m.name+"'", "'"+m.name+"'", "'li' ~ '"+m.name[2:]+"'")
	g.fresh++
	if g.chance(1, 2) || len(m.exports) == 0 {
		alias := fmt.Sprintf("mod%d", g.fresh)
		s := g.statementTag("import %s as %s%s", name, alias, how)
		for _, v := range m.exports {
			v.name, v.top = alias+"."+v.name, g.top
			g.scope = append(g.scope, v)
		}
		return s + g.print(g.pick(alias+"|string|trim", alias, alias+".nope|default('none')", alias+".hidden is defined",
			alias+"._private is defined", g.ex("any", 2), g.ex("str", 2), "seen('"+alias+"')|length > 0"))
	}
	var names []string
	for _, v := range m.exports {
		if !g.chance(2, 3) {
			continue
		}
		item := v.name
		if g.chance(1, 2) {
			g.fresh++
			v.name = fmt.Sprintf("as%d", g.fresh)
			item += " as " + v.name
		}
		v.top = g.top
		g.scope = append(g.scope, v)
		names = append(names, item)
	}
	if len(names) == 0 {
		names = append(names, "nope as gone")
		return g.statementTag("from %s import %s%s", name, names[0], how) + "{{ gone is defined }}"
	}
	return g.statementTag("from %s import %s%s", name, strings.Join(names, ", "), how) + g.print(g.ex("str", 3))
}

// typedInclude includes a template in one of the possible ways.
func (g *generator) typedInclude() string {
	if len(g.includes) == 0 || g.kind != "main" {
		return g.statementTag("include %s ignore missing%s", g.pick("'missing'", "['missing', 'gone']", "[]", "'no' ~ 'pe'"),
			g.pick("", " with context", " without context"))
	}
	how := g.pick("'inc'", "'inc'", "['missing', 'inc']", "('inc',)", "'in' ~ 'c'", "'inc' if b else 'inc'", "part")
	return g.statementTag("include %s%s%s", how, g.pick("", "", " ignore missing"), g.pick("", "", " with context"))
}

// typedBlock makes a block in a template without a parent.
func (g *generator) typedBlock(depth int) string {
	g.blocks++
	name := fmt.Sprintf("blk%d", g.blocks)
	s := g.statementTag("block %s", name) + g.blockBody(depth) + g.statementTag("endblock%s", g.pick("", " "+name))
	return s + g.pick("", "", "{{ self."+name+"() }}", "{{ self."+name+"()|upper }}", "{{ self."+name+"()|length }}")
}

// blockBody makes the body of a block, which reads names of the top level only.
func (g *generator) blockBody(depth int) string {
	scope := g.scope
	g.scope = g.topScope()
	s := g.function(depth - 1)
	g.scope = scope
	return s
}

// family makes templates that extend each other.
func (g *generator) family(r *request) {
	g.kind = "base"
	g.top = true
	names := []string{"head", "main", "foot", "deep"}
	parents := map[string]int{}
	var b strings.Builder
	b.WriteString(g.plain())
	if g.chance(1, 3) {
		b.WriteString(g.assign(1))
	}
	scoped, required := "", ""
	for _, name := range names[:3] {
		switch g.intn(7) {
		case 0:
			scoped = name
			b.WriteString("{% for item in ls %}{% block " + name + " scoped %}{{ item }}{{ loop.index }}{% endblock %}" + g.plain() + "{% endfor %}")
			parents[name] = 1
		case 1:
			required = name
			b.WriteString("{% block " + name + g.pick(" required", " scoped required") + " %}" + g.pick("", " ",
				"{# c #}\n") + "{% endblock %}")
		case 2:
			b.WriteString("{% block " + name + " %}<{% block deep" + name + " %}" + g.blockBody(1) + "{% endblock %}>" +
				g.blockBody(1) + "{% endblock " + name + " %}")
			names = append(names, "deep"+name)
			parents[name], parents["deep"+name] = 1, 1
		default:
			b.WriteString(g.statementTag("block %s", name) + g.blockBody(2) +
				g.pick("", "{{ title|default('none') }}", "{{ seen('title') }}") + g.statementTag("endblock"))
			parents[name] = 1
		}
		b.WriteString(g.plain())
	}
	if g.chance(1, 3) && required == "" && scoped == "" {
		b.WriteString("{{ self." + g.pick("head", "main", "foot") + "() }}")
	}
	r.Templates["base"] = b.String()
	parent := "base"
	for level := range 1 + g.intn(2) {
		g.scope = g.contextScope()
		g.kind = fmt.Sprintf("child%d", level)
		name := "main"
		if level == 0 && g.chance(1, 2) {
			name = "mid"
		}
		r.Templates[name] = g.child2(parent, names, parents, scoped, required)
		if parent = name; name == "main" {
			return
		}
	}
	g.scope = g.contextScope()
	g.kind = "last"
	r.Templates["main"] = g.child2(parent, names, parents, scoped, required)
}

func (g *generator) child2(parent string, names []string, parents map[string]int, scoped, required string) string {
	var b strings.Builder
	if g.chance(1, 4) {
		b.WriteString(g.assign(1))
	}
	if g.chance(1, 6) {
		b.WriteString("before ")
	}
	where := "'" + parent + "'"
	switch g.intn(8) {
	case 0:
		where += " if b else '" + parent + "'"
	case 1:
		where = "parent_" + parent
	case 2:
		where = "'" + parent[:1] + "' ~ '" + parent[1:] + "'"
	case 3:
		where = "nope or " + where
	}
	extends := g.statementTag("extends %s", where)
	if g.chance(1, 10) {
		extends = "{% if true %}" + extends + "{% endif %}"
	}
	b.WriteString(extends + g.plain())
	g.top = true
	if g.chance(1, 2) {
		b.WriteString("{% set title = " + g.ex("any", 2) + " %}")
	}
	for range g.intn(3) {
		b.WriteString(g.assign(1) + g.plain())
	}
	if g.chance(1, 3) {
		v, s := g.define(1)
		b.WriteString(s)
		g.scope = append(g.scope, v)
	}
	if len(g.modules) > 0 && g.chance(1, 2) {
		b.WriteString(g.typedImport(1))
	}
	defined := map[string]bool{}
	for _, name := range names {
		if name != required && !g.chance(1, 2) {
			continue
		}
		super := ""
		if n := parents[name]; n > 0 {
			super = g.pick("", "{{ super() }}", "[{{ super() }}]", "{{ super()|upper }}", "{{ super() ~ '.' }}",
				"{% set got = super() %}{{ got|length }}{{ got }}", "{% filter lower %}{{ super() }}{% endfilter %}")
			if n > 1 && g.chance(1, 3) {
				super = g.pick("{{ super.super() }}", "{{ super() }}{{ super.super()|trim }}")
			}
		}
		if name == scoped {
			super += g.pick("{{ item }}", "{{ item|upper }}{{ loop.index }}")
		}
		b.WriteString(g.statementTag("block %s", name) + super + g.blockBody(2) + g.pick("", "",
			"{{ title|default('none') }}", "{{ seen('title') }}") + g.statementTag("endblock%s", g.pick("",
			" "+name)) + g.plain())
		defined[name] = true
	}
	for name := range defined {
		parents[name]++
	}
	return b.String()
}
