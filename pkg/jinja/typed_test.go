package jinja

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// The typed grammar: it knows which names are bound to which type of value, and
// builds expressions from rules in which every operand has its type, so that
// most of its templates render. The loose grammar (grammar_test.go) mixes types
// freely and is for errors.

// variable is a name that the template being generated can use.
type variable struct {
	name, typ string
	// top reports that it is set at the top level of its template: blocks see it.
	top bool
	// macro is the signature, where typ is "macro".
	macro *signature
}

// signature holds the parameters of a macro.
type signature struct {
	params   []string // types
	names    []string
	defaults int // how many of the last have one
	varargs  bool
	kwargs   bool
	caller   int // -1: calls none; else the number of arguments it passes
}

// typedVars are the variables of contexts for the typed grammar, by type.
var typedVars = []variable{
	{name: "i", typ: "int"}, {name: "n", typ: "int"}, {name: "j", typ: "small"}, {name: "f",
		typ: "float"}, {name: "f2", typ: "float"},
	{name: "s", typ: "str"}, {name: "t", typ: "str"}, {name: "u", typ: "str"}, {name: "h",
		typ: "str"}, {name: "mk", typ: "str"},
	{name: "b", typ: "bool"}, {name: "c", typ: "bool"}, {name: "l", typ: "ints"}, {name: "l2",
		typ: "ints"}, {name: "ls", typ: "strs"},
	{name: "ld", typ: "recs"}, {name: "d", typ: "dict"}, {name: "lx", typ: "any"}, {name: "dd",
		typ: "any"}, {name: "tp", typ: "any"},
	{name: "nest", typ: "nest"}, {name: "tree", typ: "tree"}, {name: "nil", typ: "any"}, {name: "x", typ: "any"},
}

// typedValue makes the value of a variable of typedVars.
func (g *generator) typedValue(name string) any {
	switch name {
	case "i", "n":
		return g.value("int", 0)
	case "j":
		return int64(1 + g.intn(5))
	case "f", "f2":
		return g.value("float", 0)
	case "s", "t":
		return g.value("str", 0)
	case "u":
		return g.value("unicode", 0)
	case "h":
		return g.value("html", 0)
	case "mk":
		return Markup(g.value("html", 0).(string))
	case "b", "c":
		return g.chance(1, 2)
	case "l", "l2":
		return g.filled("ints")
	case "ls":
		return g.filled("strs")
	case "ld":
		return g.filled("dicts")
	case "d":
		d := NewDict()
		for _, k := range []string{"a", "b", "c", "name", "items"} {
			if k == "a" || g.chance(2, 3) {
				d.Set(k, int64(g.intn(40)-10))
			}
		}
		return d
	case "dd":
		d := NewDict()
		for _, k := range []string{"a", "b", "x y", "Key", "é"} {
			if g.chance(2, 3) {
				d.Set(k, g.value("any", 1))
			}
		}
		return d
	case "lx":
		return g.value("list", 2)
	case "tp":
		return g.value("tuple", 2)
	case "nest":
		return g.nested(3)
	case "tree":
		return g.branches(2)
	case "nil":
		return nil
	}
	return g.value("any", 2)
}

// filled is a list that is mostly not empty.
func (g *generator) filled(kind string) any {
	v := g.value(kind, 1)
	if len(v.(*List).Items) == 0 && g.chance(9, 10) {
		return g.filled(kind)
	}
	return v
}

func (g *generator) branches(depth int) any {
	l := &List{}
	for range 1 + g.intn(2) {
		d := NewDict()
		d.Set("name", g.value("str", 0))
		kids := any(&List{})
		if depth > 0 {
			kids = g.branches(depth - 1)
		}
		d.Set("kids", kids)
		l.Items = append(l.Items, d)
	}
	return l
}

// typed makes a request of the typed grammar.
func (g *generator) typed(r *request) {
	if g.chance(1, 8) {
		g.oddness = 120
	}
	if g.chance(1, 12) {
		r.Options.LineStatementPrefix = g.pick("#", "%%", "//")
		if g.chance(1, 2) {
			r.Options.LineCommentPrefix = g.pick("##", "//-")
		}
	}
	r.Options.Do, r.Options.LoopControls = g.chance(2, 3), g.chance(2, 3)
	r.Options.Undefined = ""
	if g.chance(1, 6) {
		r.Options.Undefined = g.pick("strict", "chainable")
	}
	g.opts = r.Options
	for _, v := range typedVars {
		if g.chance(299, 300) {
			r.vars[v.name] = g.typedValue(v.name)
		}
	}
	if g.chance(1, 6) {
		g.kind = "lib"
		g.typedLibrary(r)
	}
	if g.chance(1, 6) {
		g.kind, g.scope = "inc", g.contextScope()
		r.Templates["inc"] = g.stmts(1)
		g.includes = append(g.includes, "inc")
	}
	g.scope = g.contextScope()
	if g.chance(1, 8) {
		g.family(r)
		return
	}
	g.kind, g.blocks = "main", 0
	g.top = true
	var b strings.Builder
	for range 1 + g.intn(3) {
		b.WriteString(g.plain() + g.stmt(2) + g.plain())
	}
	r.Templates["main"] = b.String()
}

func (g *generator) contextScope() []variable {
	s := make([]variable, len(typedVars))
	for i, v := range typedVars {
		v.top = true
		s[i] = v
	}
	return s
}

// topScope is the part of the scope that is visible to blocks.
func (g *generator) topScope() []variable {
	var s []variable
	for _, v := range g.scope {
		if v.top {
			s = append(s, v)
		}
	}
	return s
}

// Bind adds a new name of a type to the scope and returns it.
func (g *generator) bind(typ string) string {
	g.fresh++
	name := fmt.Sprintf("%s%d", g.pick("v", "w", "z", "_p"), g.fresh)
	g.scope = append(g.scope, variable{name: name, typ: typ, top: g.top})
	return name
}

// inner runs make with names bound in it going out of scope at its end.
func (g *generator) inner(make func() string) string {
	n, top := len(g.scope), g.top
	s := make()
	g.scope, g.top = g.scope[:n:n], top
	return s
}

// of picks a name of a type, and tells whether there is one.
func (g *generator) of(typ string) (string, bool) {
	var names []string
	for _, v := range g.scope {
		if v.typ == typ {
			names = append(names, v.name)
		}
	}
	if len(names) == 0 {
		return "", false
	}
	// Later names are the nearer ones.
	if len(names) > 3 && g.chance(1, 2) {
		names = names[len(names)-3:]
	}
	return names[g.intn(len(names))], true
}

// dataTypes are the types that expressions are made of.
var dataTypes = []string{"int", "float", "str", "bool", "ints", "strs", "recs", "dict", "any"}

var (
	hole   = regexp.MustCompile(`\$[A-Za-z]+`)
	simple = regexp.MustCompile(`^(?:[a-z_][a-z_0-9]*|'[^'\\]*'|[0-9]+|\[[a-z0-9', ]*\])$`)
)

// ex makes an expression of a type, without parentheses around it.
func (g *generator) ex(typ string, depth int) string {
	if g.oddness > 0 && g.chance(1, g.oddness) {
		typ = dataTypes[g.intn(len(dataTypes))]
	}
	if rules := constants[typ]; rules != nil {
		return rules[g.intn(len(rules))]
	}
	if depth <= 0 || g.chance(1, 4) {
		return g.leaf(typ)
	}
	if typ == "any" && g.chance(3, 4) {
		typ = dataTypes[g.intn(len(dataTypes)-1)]
	}
	if typ == "str" && g.chance(1, 8) {
		if call, ok := g.callOf(depth - 1); ok {
			return call
		}
	}
	if typ == "int" && g.loops > 0 && g.chance(1, 6) {
		return g.pick("loop.index", "loop.index0", "loop.revindex", "loop.revindex0", "loop.length",
			"loop.depth", "loop.depth0")
	}
	if typ == "bool" && g.loops > 0 && g.chance(1, 6) {
		return g.pick("loop.first", "loop.last", "loop.previtem is defined", "loop.nextitem is defined",
			g.fill("loop.changed($Int)", depth))
	}
	if typ == "any" && g.loops > 0 && g.chance(1, 4) {
		return g.pick("loop.previtem|default('first')", "loop.nextitem|default('last')",
			g.fill("loop.cycle($Any, $Any, $Any)", depth), "loop.cycle('odd', 'even')")
	}
	rules := typedRules[typ]
	return g.fill(rules[g.intn(len(rules))], depth)
}

// fill replaces the holes of a rule: $int takes an operand, in parentheses where
// it needs them, and $Int any expression of the type.
func (g *generator) fill(rule string, depth int) string {
	return hole.ReplaceAllStringFunc(rule, func(h string) string {
		name := []rune(h[1:])
		bare := unicode.IsUpper(name[0])
		name[0] = unicode.ToLower(name[0])
		s := g.ex(string(name), depth-1)
		if bare || simple.MatchString(s) || constants[string(name)] != nil {
			return s
		}
		return "(" + s + ")"
	})
}

// leaf is a name or literal of a type.
func (g *generator) leaf(typ string) string {
	if name, ok := g.of(typ); ok && g.chance(3, 4) {
		return name
	}
	return typedLiterals[typ][g.intn(len(typedLiterals[typ]))]
}

// callOf is a call of a macro that is in scope, with arguments that fit.
func (g *generator) callOf(depth int) (string, bool) {
	var macros []variable
	for _, v := range g.scope {
		if v.typ == "macro" && v.macro.caller < 0 {
			macros = append(macros, v)
		}
	}
	if len(macros) == 0 {
		return "", false
	}
	m := macros[g.intn(len(macros))]
	return m.name + "(" + g.arguments(m.macro, depth) + ")", true
}

func (g *generator) arguments(m *signature, depth int) string {
	var args []string
	given := len(m.params) - g.intn(m.defaults+1)
	keyword := false
	for i := range given {
		keyword = keyword || g.chance(1, 4)
		arg := g.ex(m.params[i], min(depth, 1))
		if keyword {
			arg = m.names[i] + "=" + arg
		}
		args = append(args, arg)
	}
	if m.varargs && !keyword && given == len(m.params) {
		switch g.intn(3) {
		case 0:
			args = append(args, g.ex("any", 0), g.ex("any", 0))
		case 1:
			args = append(args, "*"+g.fill("$strs", 1))
		}
	}
	if m.kwargs {
		switch g.intn(3) {
		case 0:
			args = append(args, "extra="+g.ex("any", 0), "more=1")
		case 1:
			args = append(args, "**{'other': "+g.ex("any", 0)+"}")
		}
	}
	return strings.Join(args, ", ")
}
