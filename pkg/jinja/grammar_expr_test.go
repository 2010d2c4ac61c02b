package jinja

import (
	"fmt"
	"strings"
)

// Expressions of the generated templates. Each function makes an expression
// that mostly has the type of its name, and sometimes not.

func (g *generator) expr(depth int) string {
	if depth <= 0 {
		return g.atom()
	}
	switch g.intn(12) {
	case 0, 1:
		return g.integer(depth)
	case 2, 3:
		return g.str(depth)
	case 4, 5:
		return g.list(depth)
	case 6:
		return g.dict(depth)
	case 7:
		return g.boolean(depth)
	case 8:
		return "(" + g.expr(depth-1) + ") if " + g.boolean(depth-1) + g.pick("", " else "+g.expr(depth-1))
	case 9:
		return g.access(depth)
	case 10:
		return g.anyFilter(depth)
	}
	return g.atom()
}

// wrongType sometimes makes an expression of any type.
func (g *generator) wrongType(depth int) (string, bool) {
	if g.chance(1, 25) {
		return "(" + g.expr(depth-1) + ")", true
	}
	if g.chance(1, 12) {
		return g.anyLocal(), true
	}
	return "", false
}

func (g *generator) atom() string {
	switch g.intn(9) {
	case 0:
		return g.pick("nope", "missing_name", "x", "y")
	case 1:
		return g.pick("true", "false", "none", "True", "None")
	case 2:
		return g.literalStr()
	case 3:
		return g.pick("0", "1", "2", "-1", "10", "3.5", "1e3", "0.1", "1_000", "0x1F", "0b101", "1e400", "5",
			"9999999999999999999999")
	}
	return g.anyLocal()
}

func (g *generator) literalStr() string {
	return g.pick("''", "'a'", `"x"`, "'abc'", "'a b'", `'it\'s'`, `"\n"`, `"tab\t"`, "'<b>'", "'%s'", "'{}'", "'é'",
		`"\u00e9"`, `"\x41"`, "'a' 'b'", `'\d'`, "'A1'", "'name'", `"\é"`)
}

func (g *generator) integer(depth int) string {
	if s, ok := g.wrongType(depth); ok || depth <= 0 {
		if ok {
			return s
		}
		return g.pick("i", "j", "1", "2", "3", "0", "-2", "f", "b", "10")
	}
	a, b := g.integer(depth-1), g.integer(depth-1)
	switch g.intn(14) {
	case 0, 1:
		return "(" + a + " " + g.pick("+", "-", "*") + " " + b + ")"
	case 2:
		return "(" + a + " " + g.pick("//", "%", "/") + " " + b + ")"
	case 3:
		return g.pick("i", "2", "3", "j", "-2", "f") + " ** " + g.pick("0", "1", "2", "3", "-1", "j", "2.0")
	case 4:
		return "-" + a
	case 5:
		return g.list(depth-1) + "|" + g.pick("length", "sum", "count", "first", "last", "max", "min")
	case 6:
		return g.str(depth-1) + "|" + g.pick("int", "length", "wordcount", "float", "int(5)", "int(0, 16)",
			"int(base=2)", "float(1.5)")
	case 7:
		return "(" + a + ")|" + g.pick("abs", "int", "float", "round", "round(1)", "round(-1)", "round(2, 'floor')",
			"round(1, 'ceil')", "filesizeformat", "filesizeformat(true)", "string", "round(method='floor')")
	case 8:
		return "(" + g.list(depth-1) + ")[" + g.integer(depth-1) + "]"
	case 9:
		return "(" + g.str(depth-1) + ")." +
			g.pick("find('a')", "count('a')", "rfind('b', 1)", "index('a')", "find('', 2)", "count('')", "count('a', 1, -1)")
	case 10:
		return "+" + a
	case 11:
		return "(" + a + ")." + g.pick("real", "bit_length()", "imag", "numerator", "is_integer()", "conjugate()",
			"denominator", "as_integer_ratio()", "nope", "__class__", "hex()", "_x")
	case 12:
		return "not " + a
	}
	return a
}

func (g *generator) str(depth int) string {
	if s, ok := g.wrongType(depth); ok || depth <= 0 {
		if ok {
			return s
		}
		return g.pick("s", "t", "h", "u", "'a,b'", "'Hello'", g.literalStr(), "ls|first")
	}
	a := g.str(depth - 1)
	switch g.intn(16) {
	case 0:
		return "(" + a + " ~ " + g.expr(depth-1) + ")"
	case 1:
		return "(" + a + " + " + g.str(depth-1) + ")"
	case 2, 3, 4:
		return "(" + a + ")|" + g.textFilter(depth)
	case 5, 6, 7:
		return "(" + a + ")." + g.strMethod(depth)
	case 8:
		return "(" + a + ")[" + g.slice() + "]"
	case 9:
		return g.list(depth-1) + "|join(" + g.pick("", "','", "' '", "s", "attribute='name'", "d='<br>'", "'-', 0") + ")"
	case 10:
		return g.percent(depth)
	case 11:
		return g.strFormat(depth)
	case 12:
		return "(" + a + " * " + g.pick("0", "2", "3", "-1", "j") + ")"
	case 13:
		return "(" + g.expr(depth-1) + ")|" +
			g.pick("string", "tojson", "pprint", "tojson(2)", "e", "urlencode", "forceescape", "safe",
				"tojson(indent=1)", "xmlattr")
	case 14:
		return g.macroCall()
	}
	return a
}

func (g *generator) textFilter(depth int) string {
	return g.pick("upper", "lower", "title", "capitalize", "trim", "trim('a')", "replace('a', 'x')", "replace('a', s, 1)",
		"replace('', '-')", "center(10)", "indent",
		"indent(2, true)", "indent('> ', blank=true)", "indent(width=1, first=true)", "truncate(5)", "truncate(5, true)",
		"truncate(4, true, '…', 0)", "truncate(7, false, '..', 0)", "wordwrap(5)", "wordwrap(4, false)",
		"wordwrap(6, true, '|')",
		"wordwrap(7, break_on_hyphens=false)", "striptags", "urlencode", "urlize", "urlize(5, true)",
		"urlize(target='_blank', rel='x')", "reverse", "list", "first", "last", "escape", "e|e", "safe", "default('d')",
		"d('x', true)", "format(1, 2)", "format(s)",
		"format(a=1)", "wordcount", "string", "length", "upper|lower", "safe|upper", "safe|replace('a', '<')", "sort",
		"unique|list", "batch(2)|list", "count", "attr('upper') is callable", "attr('nope')", "map('upper')|join",
		"select|list", "slice(2)|list", "xmlattr", "dictsort", "center(width=7)", "trim(chars='a ')", "tojson",
		"items|list", "int", "max", "min", "nosuch", "urlize(extra_schemes=['x:'])", "filesizeformat")
}

func (g *generator) strMethod(depth int) string {
	return g.pick("upper()", "lower()", "title()", "capitalize()", "swapcase()", "strip()", "lstrip()", "rstrip('b')",
		"strip('ab')", "replace('a', 'b')", "replace('a', 'b', 1)",
		"split()", "split(',')", "split('a', 1)", "rsplit(' ', 1)", "rsplit()", "splitlines()", "splitlines(true)",
		"join(ls)", "join(l)", "join('xyz')", "startswith('a')", "endswith(('b', 'c'))", "startswith('b', 1)",
		"zfill(6)", "center(8)", "center(8, '*')", "ljust(5)", "rjust(5, '.')", "expandtabs(4)", "partition('b')",
		"rpartition(' ')", "isdigit()", "isalpha()", "isalnum()", "isspace()", "islower()", "isupper()",
		"istitle()", "isnumeric()", "isdecimal()", "isidentifier()", "isprintable()", "isascii()", "casefold()",
		"encode().decode()", "encode('ascii', 'replace').hex()", "removeprefix('a')", "removesuffix('c')", "format(1, a=2)",
		"format(*l)", "format(**d)", "format_map(d)",
		"upper is callable", "nope", "__class__", "translate({97: 'z'})", "upper(1)", "split(sep='b', maxsplit=1)",
		"find(i)", "__len__", "join(1)", "replace(1, 2)", "zfill('x')", "maketrans('a', 'b')", "count(i)", "split('')")
}

func (g *generator) percent(depth int) string {
	return "'" + g.pick("%s", "%d", "%5s|", "%-5s|", "%05d", "%.2f", "%x", "%r", "%s-%s", "%(a)s", "%%", "%+d",
		"%e", "%g", "%c", "%5.1f",
		"%#x", "%o", "%i", "%*d", "%.3s", "%a", "%(a)s %(b)r", "% d", "%G", "%X", "%z", "%", "%(a", "%.0f",
		"%08.3f", "%s%%") + "'" +
		" % " + g.pick("i", "s", "(i, s)", "d", "(s,)", "f", "l", "x", "(1, 2, 3)", "{'a': i, 'b': s}", "none",
		"u", "(5, i)", "nope", "h")
}

func (g *generator) strFormat(depth int) string {
	return "'" + g.pick("{}", "{0}", "{a}", "{:>5}", "{:05d}", "{:.2f}", "{:x}", "{0[0]}", "{0.name}", "{!r}", "{:,}",
		"{:_}", "{{}}", "{} {}", "{1} {0}", "{:^7}", "{:*<6}", "{:+}", "{:e}", "{:g}", "{:%}", "{:#x}", "{:b}", "{:s}",
		"{:c}", "{0}{}", "{", "}", "{:{}}", "{0:{1}}", "{!s:>4}", "{:.3}", "{a[b]}", "{x.y}", "{:010,}", "{0.__class__}",
		"{:=+7}", "{:<3}", "{: }", "{:d}", "{:,.2f}", "{:>08}", "{:n}", "{:o}") + "'.format(" +
		g.pick("i", "s", "f", "i, s", "l", "d", "a=i", "s, i", "x", "a=d", "1234567", "-5", "**d", "*l", "f, 3",
			"3.14159, 8", "none", "b", "u") + ")"
}

func (g *generator) slice() string {
	return g.pick("1:", ":2", "::2", "::-1", "-2:", "1:3", "i:", ":j", ":", "0", "-1", "3:1", "1:5:2", "-1:0:-1", "i",
		"'a'", "1:2:0", "none:", "s:")
}

func (g *generator) list(depth int) string {
	if s, ok := g.wrongType(depth); ok || depth <= 0 {
		if ok {
			return s
		}
		return g.pick("l", "ls", "lx", "ld", "tp", "[]", "[1, 2]", "['a', 'B', 'b']", "nest", "range(4)", "(1,)", "()")
	}
	a := g.list(depth - 1)
	switch g.intn(16) {
	case 0:
		var items []string
		for range g.intn(4) {
			items = append(items, g.expr(depth-1))
		}
		return "[" + strings.Join(items, ", ") + "]"
	case 1:
		return "(" + a + " + " + g.list(depth-1) + ")"
	case 2, 3, 4, 5:
		return "(" + a + ")|" + g.listFilter(depth)
	case 6:
		return "(" + a + ")[" + g.slice() + "]"
	case 7:
		return "range(" + g.pick("3", "1, 4", "0, 10, 3", "5, 0, -2", "j", "j, 5", "0", "1, 2, 0", "'a'", "200000") + ")"
	case 8:
		return g.dict(depth-1) + "|" + g.pick("list", "dictsort", "items|list", "dictsort(true)", "dictsort(by='value')",
			"dictsort(reverse=true)", "length", "sort", "first", "join(',')", "dictsort(false, 'value')")
	case 9:
		return "(" + g.dict(depth-1) + ")." + g.pick("keys()", "values()", "items()", "keys()|list", "items()|sort",
			"copy()", "get('a', 1)", "keys()|sort(case_sensitive=true)")
	case 10:
		return "(" + g.expr(depth-1) + ", " + g.expr(depth-1) + ")"
	case 11:
		return g.str(depth-1) + "|list"
	case 12:
		return "(" + a + " * 2)"
	case 13:
		return "(" + a + ")." + g.pick("index(1)", "count(1)", "copy()", "append(1)", "pop()", "nope", "0", "1",
			"insert(0, 1)", "index('a')", "__class__", "sort()", "extend(l)")
	}
	return a
}

func (g *generator) listFilter(depth int) string {
	return g.pick("list", "sort", "sort(reverse=true)", "sort(attribute='name')", "sort(attribute='age,name')",
		"sort(case_sensitive=true)", "unique|list", "unique(attribute='name')|list", "reverse|list", "first", "last",
		"map('upper')|list", "map(attribute='name')|list", "map(attribute='age', default=0)|list", "map('int')|sum",
		"map('default', 'x')|list", "select|list", "select('odd')|list", "select('>', 1)|list", "select('string')|list",
		"reject('none')|list", "reject|list",
		"selectattr('age')|list", "selectattr('age', '>', 1)|list", "rejectattr('city', 'defined')|list",
		"selectattr('name', 'equalto', 'ann')|map(attribute='age')|list", "batch(2)|list", "batch(3, 0)|list",
		"slice(2)|list", "slice(3, 'x')|list", "groupby('city')|list", "groupby('age')|map('first')|list",
		"groupby('city', default='-')|list", "groupby('name', case_sensitive=true)|list", "sum", "sum(attribute='age')",
		"sum(start=10)", "max", "min", "max(attribute='age')", "min(case_sensitive=true)", "join", "join(', ')", "length",
		"tojson", "pprint", "string", "map('length')|list", "map('nosuch')|list", "map()|list",
		"select('nosuch')|list", "map(attribute='sub.a')|list", "map('join', '-')|list", "map('batch', 2)|map('list')|list",
		"map", "select", "batch(2)", "unique", "reverse", "list|last", "sort|first", "sum(start=[])",
		"sort(attribute='sub.a')", "dictsort", "items", "map(nope)|list", "groupby('sub.b')|length", "sort(attribute=0)",
		"map(attribute=0)|list", "xmlattr", "urlencode", "slice(0)|list", "batch(0)|list", "select('in', [1, 2, 'a'])|list",
		"select('divisibleby', 2)|list", "count", "filesizeformat")
}

func (g *generator) dict(depth int) string {
	if s, ok := g.wrongType(depth); ok || depth <= 0 {
		if ok {
			return s
		}
		return g.pick("d", "dd", "{}", "{'a': 1}", "{1: 'x', 'b': l}", "dict(a=1, b=s)", "ld[0]", "ld|first")
	}
	switch g.intn(5) {
	case 0:
		var items []string
		for range g.intn(4) {
			items = append(items, g.pick("'a'", "'b'", "1", "s", "'name'", "none", "(1, 2)", "x", "true", "1.0",
				"'é'")+": "+g.expr(depth-1))
		}
		return "{" + strings.Join(items, ", ") + "}"
	case 1:
		return "dict(" + g.pick("d", "d, z=1", "a=i, b=s", "[('p', 1), ('q', 2)]", "l", "**d", "x", "ls", "",
			"(('a', 1),)", "[[1, 2]]") + ")"
	case 2:
		return "(" + g.dict(depth-1) + ").copy()"
	}
	return g.pick("d", "dd", "{'k': "+g.expr(depth-1)+"}")
}

func (g *generator) boolean(depth int) string {
	if s, ok := g.wrongType(depth); ok || depth <= 0 {
		if ok {
			return s
		}
		return g.pick("b", "true", "i > 1", "s", "l", "x is defined", "not b", "i")
	}
	switch g.intn(9) {
	case 0, 1:
		return "(" + g.expr(depth-1) + " " + g.pick("==", "!=", "<", ">", "<=", ">=") + " " + g.expr(depth-1) + ")"
	case 2:
		return "(" + g.expr(depth-1) + g.pick(" in ", " not in ") + g.pick(g.list(depth-1),
			g.dict(depth-1), g.str(depth-1)) + ")"
	case 3, 4:
		return g.atomOrParen(depth-1) + " is " + g.pick("", "", "not ") + g.test(depth)
	case 5:
		return "(" + g.boolean(depth-1) + g.pick(" and ", " or ") + g.boolean(depth-1) + ")"
	case 6:
		return "not " + g.boolean(depth-1)
	case 7:
		return "(" + g.integer(depth-1) + " < " + g.integer(depth-1) + " <= " + g.integer(depth-1) + ")"
	}
	return g.str(depth-1) + g.pick(" == ", " != ", " < ", " in ") + g.str(depth-1)
}

func (g *generator) atomOrParen(depth int) string {
	if g.chance(1, 2) {
		return g.atom()
	}
	return "(" + g.expr(depth) + ")"
}

func (g *generator) test(depth int) string {
	return g.pick("defined", "undefined", "none", "string", "number", "integer", "float", "boolean",
		"mapping", "sequence", "iterable",
		"callable", "odd", "even", "divisibleby(3)", "divisibleby 2", "true", "false", "lower", "upper",
		"sameas(none)", "sameas true",
		"eq(1)", "ne 2", "gt(1)", "ge 1", "lt(i)", "le(2)", "equalto('a')", "greaterthan(0)", "lessthan 5", "in l",
		"in('abc')", "escaped", "filter", "test", "nosuch", "in [1, 2]", "divisibleby(0)", "eq i", "odd and b", "filter or b")
}

func (g *generator) access(depth int) string {
	switch g.intn(6) {
	case 0:
		return "d." + g.pick("a", "b", "name", "items()|list", "nope", "keys is callable", "Key", "__class__", "_x", "get(1)")
	case 1:
		return "d[" + g.pick("'a'", "'b'", "1", "i", "s", "'x y'", "none", "l", "(1, 'x')", "true",
			"'__class__'", "'Key'") + "]"
	case 2:
		return "(" + g.list(depth-1) + ")[" + g.pick("0", "-1", "i", "'a'", "99", "none", "1.0", "true") + "]"
	case 3:
		return g.pick("x", "nope", "s", "n", "ld", "lx") + "." +
			g.pick("a", "b.c", "name", "0", "0.name", "upper is callable", "a['b']", "__init__", "_a")
	case 4:
		return "ld[" + g.pick("0", "1", "i") + "]." + g.pick("name", "age", "city", "sub.a", "nope", "nope.x")
	}
	return g.pick("cycler(1, 2).next()", "joiner('-')()", "joiner()", "namespace(a=1).a", "range", "cycler", "self",
		"caller", "seen('i')", "'s'|seen", "fail('x')", "cycler('a').current", "nope()", "s()", "dict.fromkeys(ls)",
		"namespace({'a': 1})", "cycler()", "loop", "range(3)|list", "m", "varargs", "super()", "joiner",
		"loop.index", "range(5)[1:3]",
		"range(3) == range(3)", "self.head", "dict(a=1).a", "none.x", "i.x", "(1).x", "1.5.x", "none[0]",
		"5[1:2]", "(5)[1:2]|upper")
}

func (g *generator) anyFilter(depth int) string {
	return "(" + g.expr(depth-1) + ")|" +
		g.pick(g.textFilter(depth), g.listFilter(depth), "default("+g.expr(0)+")", "d(1, true)", "string", "length", "list",
			"tojson", "e", "abs", "int", "float", "round", "upper", "first", "last", "pprint",
			"attr('x')", "items|list", "safe|e")
}

func (g *generator) iterable(depth int) string {
	return g.pick(g.list(depth), g.list(depth), "l", "ls", "range(3)", "d", "d.items()", g.str(1), "ld", "x", "nest")
}

func (g *generator) pairs() string {
	return g.pick("d.items()", "d|dictsort", "[(1, 2), (3, 4)]", "[[1, 2]]", "dict(a=1).items()",
		"['ab', 'cd']", "d|items",
		"ld|groupby('city')", "l|batch(2)", "[1]", "ls", "dd.items()")
}

func (g *generator) pairOf() string {
	return g.pick("1, 2", "(1, s)", "[i, j]", "'ab'", "l", "d", fmt.Sprintf("(%s, %s)", g.expr(1), g.expr(1)), "1")
}
