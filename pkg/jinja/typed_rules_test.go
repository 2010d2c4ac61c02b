package jinja

// The rules of the typed grammar: for each type the expressions that have it.

// constants are the types that have no variables.
var constants = map[string][]string{
	"nz":    {"1", "2", "3", "7", "-2", "10", "4"},
	"pos":   {"1", "2", "3", "5"},
	"exp":   {"0", "1", "2", "3", "5", "j"},
	"width": {"0", "3", "8", "12", "20", "j"},
	"slice": {"1:", ":2", "::2", "::-1", "-2:", "1:3", "j:", ":j", ":", "3:1", "1:5:2", "-1:0:-1", "i:",
		"none:", ":-1", "j:9:j"},
	"attr": {"name", "age"},
	"spec": {"5", "<8", ">8", "^9", "*^9", "05", "+", ",", "_", "x", "#x", "b", "#o", "e", ".2f", "10.3f", "g", "%",
		"=+7", "010,", " ", "n", "", ">12,.1f", "E"},
	"ispec": {"5d", "<8", ">8", "^9", "*^9", "05", "+d", ",", "_d", "x", "#x", "b", "#o", "X", "", "=+7", "c>4",
		" d", "n", "_b", "#010x"},
	"sspec": {"", "5", ">8", "<6", "^9", "*^9", ".3", "s", "-<7.2"},
	"fspec": {".2f", "10.3f", "g", "e", "%", "+.1f", ",.2f", "", ".3", "<9", "08.2f", "G", ".0f", "#.3g", "n", "_.1f"},
}

var typedLiterals = map[string][]string{
	"int":   {"0", "1", "2", "-1", "10", "42", "1_000", "0x1F", "0b101", "0o17", "9999999999999999999999", "7"},
	"small": {"2", "3", "10", "(j + 1)", "5"},
	"float": {"0.5", "3.5", "1e3", "0.1", "2.0", "1.5e-7", "1e22", "1e16", "123456.789", "-0.0", "1_0.2_5", "100.0"},
	"str": {"''", "'a'", `"x y"`, "'abc'", "'Hello World'", `'it\'s'`, `"a\nb"`, `"tab\there"`, "'<b>bold</b>'", "'é'",
		`"\u00e9\x41"`, "'a' 'b' \"c\"", `'\d'`,
		"'a,b,c'", "'  pad '", "'one two three four'", `"\N{BULLET}"`, `'\101\0'`, "'100%'", `"quote\"d"`, "'line one\\nline two\\n'", "'http://x.org/y'", `'back\\slash'`, "'MiXed'", `"\U0001F600"`},
	"bool": {"true", "false", "True", "False", "b", "c"},
	"ints": {"[]", "[1, 2]", "[3, 1, 2, 3]", "[10]", "range(4)|list", "[5, -5, 0]"},
	"strs": {"[]", "['a', 'B', 'b']", "['x']", "['one', 'two', 'three']", "'abc'|list", "['b', 'a', 'a']"},
	"recs": {"ld", "[{'name': 'zed', 'age': 3, 'city': 'LA', 'sub': {}}]",
		"[{'name': 'Amy', 'age': 1, 'sub': {'a': 2}}, {'name': 'bo', 'age': 7, 'city': 'NY', 'sub': {'b': 1}}]"},
	"dict": {"{'a': 1}", "{'b': 2, 'a': 1}", "dict(a=1, b=5)", "{'a': 3, 'c': -1, 'Zed': 0}"},
	"nest": {"[[1, [2, 3]], 4, []]", "[1, [2]]"},
	"tree": {"[{'name': 'r', 'kids': [{'name': 'k', 'kids': []}]}]"},
	"any": {"none", "nope|default('none')", "()", "(1,)", "{}", "[none, true]", "('a', 1)", "{1: 'x', none: 2.5}",
		"range(3)", "nil", "'a\\'b'", "[1.0, 'x', (2,)]", "gone is defined"},
}

var typedRules = map[string][]string{
	"small": {"j", "2", "3"},
	"int": {
		"$Int + $Int", "$Int - $int", "$int * $Int", "$int // $nz", "$int % $nz", "-$int", "+$int", "$small ** $exp", "$small ** 3 ** 2", "-$small ** 2", "$ints|sum", "$ints|length", "$str|length", "$str|wordcount",
		"$str|int", "$str|int($Int)", "$str|int(0, 16)", "$str|int(base=8, default=-1)", "$int|abs", "$float|int", "$float|round|int", "$ints|first|default(0)", "$ints|max|default($Int)", "$ints|min|d(0)", "$ints|last|d(3)", "$ints[0]|d(1)", "$ints[-1]|default(2)",
		"$str.find($Str)", "$str.count('a')", "$str.rfind('b', 1)", "$ints.count($Int)", "$recs|sum(attribute='age')", "$recs|sum('age', 10)", "$recs|map(attribute='age')|sum", "$dict.a|default(0)", "$dict.get('a', 1)", "$dict['b']|d(2)", "$dict|length", "$dict|count",
		"$ints|select('odd')|list|length", "$dict.values()|sum", "$Int if $Bool else $Int", "($Int, $Int)[0]", "[$Int, $Int][-1]", "{'a': $Int}.a", "{'a': $Int, 2: 3}['a']", "$int.real", "$int.bit_length()", "namespace(a=$Int).a", "cycler($Int, $Int).next()", "cycler($Int, 4).current",
		"dict(q=$Int).q", "$ints|sum(start=10)", "$int|string|length", "($int, $int)|max", "9999999999999999999999 // $nz", "$int + $int * $int - $nz", "$int * $small ** 2 // $nz", "$int // $nz % 3", "$str.split()|length", "$recs|length", "$any|string|length", "$bool|int", "$int.numerator + $int.denominator",
		"$recs|groupby('age')|length", "$ints.copy()|length", "$int|default(3)", "$strs.index('zz') if 'zz' in $strs else -1", "$Int|int", "[$Int, $Int]|min", "('a', 'b').index('b')", "$int.__class__|string|length if 0 else 1", "$any|pprint|length", "'a' < 'b' and $Int or $Int",
	},
	"float": {
		"$float + $Float", "$int / $nz", "$float * 2", "$Float - $int", "$str|float", "$int|float", "$float|round(2)", "$float|round(1, 'ceil')", "$float|round(0, 'floor')", "$float|round(-1)", "$float|abs", "-$float", "$small ** -1", "$int * 0.5", "$float // 2.0", "$float % 3", "$float % -0.7", "[$Float, $Float]|max",
		"$ints|sum / 3", "$Float if $Bool else 1e3", "$str|float(2.5)", "$float.real", "$int|round(2)", "$int|round(precision=-1, method='floor')", "2 ** 0.5 * $float", "$float // -1.5", "$int - $Float", "1 / 3 + $float", "($float, 2.5)|min", "$float|round|abs", "$int // 1.0", "$float * $int",
	},
	"str": {
		"$Str ~ $Str", "$str ~ $any", "$int ~ $Str ~ $float", "$str + $str", "$str|upper", "$str|lower", "$str|title", "$str|capitalize", "$str|trim", "$str|trim('a')", "$str|trim(chars='a ')", "$str|replace('a', $Str)", "$str|replace('a', 'xy', 1)", "$str|center($width)", "$str|indent", "$str|indent(2, true)", "$str|indent('> ', blank=true)", "$str|indent(width=1, first=true)",
		"$str|truncate(5)", "$str|truncate(9, true)", "$str|truncate(4, true, '…', 0)", "$str|truncate(7, false, '..', 0)", "$str|truncate(length=6, end='')|upper", "$str|wordwrap(5)", "$str|wordwrap(4, false)", "$str|wordwrap(6, true, '|')", "$str|wordwrap(7, break_on_hyphens=false)", "$str|striptags", "$str|urlencode", "$str|urlize", "$str|urlize(5, true)", "$str|urlize(target='_blank', rel='x')",
		"$str|reverse", "$str|escape", "$str|e|e", "$str|safe", "$str|forceescape", "$str|default('d', true)", "$str|string", "$any|string", "$any|pprint", "$any|e", "$int|filesizeformat", "$float|filesizeformat(true)", "$str|first|default('')", "$str|last|d('-')", "$strs|first|default('none')", "$strs|last|d($Str)", "$str|sort|join", "$str|unique|join('.')", "$str|batch(3, '_')|map('join')|join('/')", "$str|list|join(' ')",
		"$str.upper()", "$str.lower()", "$str.title()", "$str.capitalize()", "$str.swapcase()", "$str.strip()", "$str.lstrip()", "$str.rstrip('b')", "$str.strip('ab')", "$str.replace('a', $Str)", "$str.replace('a', 'b', 1)", "$str.join($strs)", "','.join($strs)", "$str.zfill(6)", "$str.center(8)", "$str.center(9, '*')", "$str.ljust(5)", "$str.rjust(12, '.')", "$str.expandtabs(4)",
		"$str.casefold()", "$str.removeprefix('a')", "$str.removesuffix('c')", "$str.translate({97: 'z', 98: none})", "$str.encode().decode()", "$str.encode('ascii', 'replace').decode()", "$str.partition('a')[0]", "$str.rpartition(' ')[2]", "$str.split('a')[0]", "$str[$slice]", "$str[0]|default('')", "$str * $pos", "$strs|join", "$strs|join(', ')", "$strs|join($Str)", "$ints|join('-')", "$recs|join(', ', attribute='name')", "$recs|map(attribute='name')|join('+')", "$dict|join('/')",
		"'%s' % $str", "'%s-%s' % ($Any, $Any)", "'%5s|%-5s|' % ($Str, $Str)", "'%d' % $int", "'%05d %+d' % ($Int, $Int)", "'%x %o %X' % ($Int, $Int, $Int)", "'%.2f' % $float", "'%8.3f|%-9.1e|' % ($Float, $Float)", "'%g %G' % ($Float, $Int)", "'%r' % [$Any]", "'%(a)s and %(b)s' % {'a': $Any, 'b': $Any}", "'%(a)03d%%' % $dict if 'a' in $dict else '-'", "'%c%c' % ('x', 65)", "'%*d' % ($width, $Int)", "'%.3s|%a' % ($Str, $Str)", "'%s: %s'|format($Any, $Any)", "'%(k)s'|format(k=$Any)", "'%#x % d %i' % ($Int, $Int, $Int)", "'%s' % ($Any,)", "'%.*f' % ($pos, $Float)", "'%-+8.2f|' % $float", "'%e' % $int",
		"'{}'.format($Any)", "'{} {}'.format($Any, $Any)", "'{1} {0}'.format($Any, $Any)", "'{a}={b!r}'.format(a=$Any, b=$Any)", "'{:$ispec}'.format($Int)", "'{:$ispec} {:$ispec}'.format($Int, $Int)", "'{:$fspec}'.format($Float)", "'{:$sspec}|'.format($str|string)", "'{0[0]}{0[1]}'.format([$Any, $Any])", "'{d[a]}'.format(d={'a': $Any})", "'{!s:>4}'.format($Int)", "'{:{}}|'.format($Int, $width)", "'{0:{1}.{2}f}'.format($Float, $width, $pos)", "'{{}} {}'.format($Int)", "'{a}'.format(**$dict) if 'a' in $dict else ''", "'{:,}'.format($Int)", "'{a} {b}'.format_map({'a': 1, 'b': $Any})", "'{:$spec}'.format($Int) if 0 else 'n'", "'{!a}'.format($Str)",
		"$Str if $Bool else $Str", "$Bool and 'yes' or $Str", "$any|tojson if 0 else $Str", "$ints|tojson", "$strs|tojson", "$dict|tojson", "$dict|tojson(indent=2)", "$recs|tojson", "$str|tojson", "$float|tojson", "$dict|urlencode", "$dict|xmlattr", "{'id': $Int, 'class': $Str, 'no': none}|xmlattr", "{'a': $Str, 'b': $Str}|urlencode", "{'x': $Int}|xmlattr(false)", "$dict.get('nope', $Str)", "{'k': $Str}['k']", "{'k': $Str}.k", "[$Str, $Str][1]", "$str|attr('upper') is callable ~ ''", "(joiner($Str))() ~ $Str", "$float ~ ''", "$Str ~ ($Int)", "$any ~ $any", "$str|format", "$Str|upper|lower", "dict(a=$Str).a", "$str|map('upper')|join", "$strs|map('title')|join(' ')", "$ints|map('string')|map('center', 5)|join('|')",
		"$recs|groupby('city', default='-')|map('first')|join(',')", "$recs|groupby('age')|map('last')|map('map', attribute='name')|map('join', '+')|join(';')", "$strs|max|default('')", "$strs|min|default('')", "$str|wordcount ~ 'w'", "'<a>'|e ~ $str", "'<a>'|safe ~ $Str", "('<i>%s</i>'|safe) % $str", "('<i>{}</i>'|safe).format($Str)", "$str|e|replace('&', '&amp;')", "(mk + $str)", "mk.join($strs)", "mk.striptags()", "mk.unescape()", "mk ~ $Str", "mk|e", "mk[:3] ~ 'x'", "mk * 2", "mk|string|upper", "mk.split()|join($Str)",
	},
	"bool": {
		"$Int == $Int", "$Int != $Int", "$int < $int", "$int >= $float", "$int < $int <= $int", "0 < $int < 10 != 4", "$str == $str", "$str < $str", "$str in $str", "$str not in $strs", "$int in $ints", "'a' in $dict", "$any == $any", "$any != $any", "$any in [$Any, $Any]", "$Bool and $Bool", "$Bool or $Bool", "not $Bool", "not $int > 1", "$Bool and not $Bool or $Bool",
		"$any is defined", "nope is undefined", "nope is not defined", "$any is none", "$any is string", "$any is number", "$int is integer", "$any is float", "$any is boolean", "$any is mapping", "$any is sequence", "$any is iterable", "$any is callable", "$int is odd", "$int is even", "$int is divisibleby($nz)", "$int is divisibleby 3", "$bool is true", "$any is false", "$str is lower", "$str is upper", "$any is sameas(none)", "$any is sameas true",
		"$int is eq($Int)", "$int is ne 2", "$int is gt($Int)", "$int is ge 1", "$int is lt(5)", "$int is le(2)", "$str is equalto('a')", "$int is greaterthan(0)", "$int is lessthan 5", "$int is in $ints", "'a' is in($str)", "$any is escaped", "'upper' is filter", "'nosuch' is filter", "'odd' is test", "$str is test", "$int is not odd", "$any is not none", "$str is not in $strs", "$int is even and $bool", "$int is odd or b",
		"$str.startswith('a')", "$str.endswith(('b', 'c'))", "$str.isdigit()", "$str.isalpha()", "$str.isalnum()", "$str.isspace()", "$str.islower()", "$str.isupper()", "$str.istitle()", "$str.isnumeric()", "$str.isdecimal()", "$str.isidentifier()", "$str.isprintable()", "$str.isascii()", "$str", "$ints", "$dict", "$Int", "$any", "$ints == $ints", "$ints < $ints", "$dict == $dict", "$float.is_integer()", "$recs|selectattr('age', 'odd')|list", "$float == $int", "$Bool if $Bool else $Bool", "[$Any] == [$Any]", "($Int, $Str) < ($Int, $Str)", "$int not in $ints and $str in $strs", "none is none", "$bool == $int", "$ints is sequence and $str is string",
	},
	"ints": {
		"[$Int, $Int, $Int]", "[$Int]", "range(j)|list", "range(1, 9, $pos)|list", "range(5, 0, -2)|list", "range($small, 7)|list", "$ints|sort", "$ints|sort(reverse=true)", "$ints|map('abs')|list", "$ints|select('odd')|list", "$ints|reject('divisibleby', 3)|list", "$ints|select('>', $Int)|list", "$ints|select('in', $ints)|list", "$ints|reject('eq', $Int)|list", "$ints[$slice]", "$strs|map('length')|list", "$ints + $ints", "$ints * 2",
		"$ints|unique|list", "$ints|reverse|list", "$recs|map(attribute='age')|list", "$recs|map(attribute='sub.a', default=0)|list", "$dict.values()|list", "$strs|map('int')|list", "$strs|map('int', 3)|list", "$ints|batch(2)|map('sum')|list", "$ints|batch(3, 0)|map('first')|list", "$recs|groupby('age')|map('first')|list", "$ints|slice(2)|map('sum')|list", "$ints|slice(3, 0)|map('last')|list", "$ints.copy()", "$ints if $Bool else $ints", "$dict|dictsort|map('last')|list", "$dict|items|map('last')|list", "$ints|list", "($Int, $Int)|list", "$ints|map('string')|map('length')|list", "range(9)[2:5]|list", "range(3)|map('float')|map('int')|list", "$ints|select|list", "$ints|reject|list", "dict(a=$Ints).a", "[$ints, $ints]|sum(start=[])",
	},
	"strs": {
		"[$Str, $Str]", "[$Str]", "$str.split()", "$str.split(',')", "$str.split('a', 1)", "$str.rsplit(none, 1)", "$str.splitlines()", "$str.splitlines(true)", "$str|list", "$strs|sort", "$strs|sort(true)", "$strs|sort(case_sensitive=true)", "$strs|unique|list", "$strs|unique(true)|list", "$strs|map('upper')|list", "$strs|map('replace', 'a', 'b')|list", "$strs|map('truncate', 5)|list", "$strs|map('default', 'x', true)|list", "$strs|reject('equalto', $Str)|list", "$strs|select('string')|list", "$strs|select('in', $strs)|list", "$strs|reject('none')|list",
		"$strs + $strs", "$strs[$slice]", "$strs * 2", "$recs|map(attribute='name')|list", "$recs|map(attribute='city', default='?')|list", "$dict|list", "$dict.keys()|sort", "$ints|map('string')|list", "$strs|reverse|list", "$strs|select|list", "$strs|batch(2)|map('join', '-')|list", "$strs|batch(3, '.')|map('join')|list", "$strs|slice(2)|map('join')|list", "$recs|groupby('city', default='-')|map(attribute='grouper')|list", "$recs|groupby('name', case_sensitive=true)|map('first')|list", "$str.partition('a')|list", "$strs|map('trim')|map('title')|list", "$dict|dictsort|map('first')|list", "$dict.items()|map('join', '=')|list", "$strs if $Bool else [$Str]", "$strs|map('e')|list", "$strs|map('center', 7)|list", "$strs.copy()", "dict(k=$Strs).k", "$strs|map('reverse')|list", "$strs|map('format')|list if 0 else $strs", "$recs|map('length')|map('string')|list", "$strs|map('int')|map('string')|list", "$recs|xmlattr if 0 else ['q']",
	},
	"recs": {
		"$recs|sort(attribute='age,name')", "$recs|sort(attribute='name', reverse=true)", "$recs|sort(attribute='age')", "$recs|sort(case_sensitive=true, attribute='name')", "$recs|selectattr('age', '>', 1)|list", "$recs|rejectattr('city', 'defined')|list", "$recs|reverse|list", "$recs[:2]", "$recs[$slice]", "$recs|selectattr('name', 'in', ['ann', 'bob'])|list", "$recs|unique(attribute='age')|list", "$recs|unique(attribute='name')|list", "[{'name': $Str, 'age': $Int, 'city': 'NY', 'sub': $Dict}]", "$recs + $recs", "$recs|selectattr('name')|list", "$recs|rejectattr('age', 'odd')|list", "$recs|selectattr('sub.a', 'defined')|list", "$recs|rejectattr('sub')|list", "$recs|selectattr('city', 'defined')|selectattr('city', 'equalto', 'NY')|list", "$recs|batch(2)|first|default([])",
	},
	"dict": {
		"{'a': $Int, 'b': $Int}", "{'a': $Int, 'Z': $Int, 'c': 0}", "dict(a=$Int, b=$Int)", "dict($dict, z=$Int)", "$dict.copy()", "dict([('a', $Int), ['p', 2]])", "dict(**$dict)", "dict($dict.items())", "dict($dict|dictsort)", "$dict if $Bool else $dict", "{'x' ~ $int: $Int, 'a': 1}", "dict($recs|map(attribute='name')|map('list')|map('length')|map('string')|batch(1)|list) if 0 else {'a': 2}", "dict.fromkeys(['a', 'k'], $Int)", "dict({'a': 1}, **{'b': $Int})",
	},
	"any": {
		"$recs|groupby('city', default='-')|list", "$recs|groupby('age')|list", "$dict|dictsort", "$dict|dictsort(true)", "$dict|dictsort(by='value')", "$dict|dictsort(false, 'value', true)", "$dict|items|list", "$dict.items()|list", "$dict.keys()", "$dict.values()", "$dict.items()", "$ints|batch(2)|list", "$strs|slice(2)|list", "$strs|batch(3, 'x')|list", "$ints|tojson(1)", "[$Any, $Any]", "{'k': $Any, 1: $Any}", "($Any,)", "($Any, $Any)", "dd.a|default('no a')", "dd['x y']|d(0)", "dd.nope|default($Any)", "dd", "lx", "tp", "x", "nest", "tree", "$ints|first", "$strs|last", "$ints[9]|default('far')", "$any|default($Any)", "$any|d('-', true)", "nope|default($Any)", "gone|d($Any)", "$str.encode()", "$str.partition('a')", "$bool", "$Any if $Bool else $Any", "$Any if $Bool",
		"$Bool and $Any", "$Bool or $Any", "lx|first", "lx|length", "tp[0]|default('empty')", "tp|list", "lx + [1]", "tp + (1, 2)", "lx[$slice]", "tp[$slice]", "[lx, tp]|pprint", "dd|pprint", "dd|length", "dd.items()|list", "dd|list", "range(j)", "range(2, 9)[1:3]", "$float|round(1)", "$int.as_integer_ratio()", "$float.hex()", "$float.as_integer_ratio()", "$int.conjugate()", "seen('i')", "'s'|seen", "seen('v1')", "loop is defined", "varargs is defined", "$any|attr('nope')|default('x')", "$str|items|list if 0 else 1", "namespace(a=$Any, b=1).a", "cycler($Any, $Any).next()", "$recs|map(attribute='sub')|list", "$recs|map(attribute='city', default=none)|list", "$recs|first", "($recs|first|default({})).name|default('')", "ld[0].sub", "ld[0]['name']", "$recs|max(attribute='age')", "$recs|min(attribute='name')", "nil", "nil ~ ''", "{}|default('e', true)", "$any|string|list", "$any|pprint", "lx|select|list", "lx|reject('none')|list", "lx|map('string')|list", "tp|reverse|list", "lx|unique|list|length if 0 else ''", "lx|tojson|length if 0 else 2", "$dict.pop('a', none) if 0 else ''", "nest|string", "nest|tojson", "tree|tojson(indent=1)", "tree|map(attribute='name')|list", "[$Any, $Any]|length", "($Any, $Any) == ($Any, $Any)", "{'a': {'b': {'c': $Any}}}.a.b.c", "{'a': [$Any]}.a[0]", "[[$Any]][0][0]", "$bool + $int", "true + true", "$bool|string", "1.0 == 1", "[1, 1.0, true]|unique|list", "{1: 'a', 1.0: 'b', true: $Any}",
	},
}
