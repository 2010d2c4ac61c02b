package jinja

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// attributeSubjects are the values whose attributes are compared, by their name in
// oracle.py.
var attributeSubjects = map[string]string{
	"str": "'a b'", "Markup": "('a<b'|escape)", "bytes": "'aB\\té \\x1c1\\n\\x0bx'.encode()",
	"list": "[2, 1, 3]", "tuple": "(1, 'a')",
	"dict": "{'a': 1, 2: 'b'}", "int": "70000", "bool": "true", "float": "1.5", "none": "none", "range": "range(1, 9, 3)",
	"keys": "{'a': 1}.keys()", "values": "{'a': 1}.values()", "items": "{'a': 1}.items()",
	"set":       "({'a': 1, 'b': 2, 3: 4}.keys() - ['b'])",
	"generator": "([1, 2]|batch(1))", "reversed": "([1, 2]|reverse)", "macro": "m", "module": "mod", "dict class": "dict",
	"cycler": "cycler(1, 2)", "joiner": "joiner()", "namespace": "namespace(a=1)",
	"undefined": "nope", "function": "range",
}

// TestAttributes takes all attributes of all types from the original and compares
// which of them a template gets, which the sandbox refuses and which are undefined.
// Methods are called with many kinds of arguments.
func TestAttributes(t *testing.T) {
	testenv.Slow(t)
	o := startOracle(t)
	dirs := o.ask(t, map[string]any{"dirs": true}).Dirs
	args := []string{"", "1", "0", "2", "30", "-1", "'a'", "'a', 'b'", "'a'.encode()", "'a'.encode(), 'x'.encode()",
		"5, '-'", "5, '-'.encode()", "none", "none, 1",
		"[1, 'a']", "['a', 'b']", "[66, 67]", "['a'.encode(), 'b'.encode()]", "('a', 'b')", "('a'.encode(), 'b'.encode())",
		"{'a': 5}", "{'a': 5}, 'b'", "'0x1.8p3'", "'41 42'",
		"4, 'big'", "4, 'little'", "1, 'big'", "3, 'middle'", "'ab'.encode(), 'little'", "8, byteorder='big', signed=true",
		"' '", "none, 2", "'b', 1, 3",
		"true", "x=1", "key=none", "'utf-8', 'ignore'", "'ascii', 'replace'", "'latin-1'", "'-', 2", "'-', -3", "1.5",
		"dict(a=1), 2", "'a', 'b', 1", "{97: 'X', 98: none}"}
	// An ordinary run compares a part, make fuzz-jinja all.
	next, call, every, calls := 0, 0, 5, 29
	if os.Getenv("JINJA_FUZZ_N") != "" {
		every, calls = 1, 1
	}
	compared := 0
	for _, name := range slices.Sorted(maps.Keys(attributeSubjects)) {
		subject, attrs := attributeSubjects[name], dirs[name]
		if len(attrs) == 0 {
			t.Errorf("the original has no attributes of %s", name)
		}
		for _, attr := range attrs {
			exprs := []string{"(v." + attr + ") is defined"}
			if name != "dict class" { // dict['x'] is a type of Python's
				exprs = append(exprs, "v['"+attr+"']|string|length > 0")
			}
			shown := "[v.%s(%s), v]|pprint"
			if name == "set" { // the order of its members differs
				shown = "[v.%s(%s), v]|string|length"
			}
			if !strings.HasPrefix(attr, "_") {
				exprs = append(exprs, "v."+attr+" is callable", "(v|attr('"+attr+"')) is defined")
				for _, a := range args {
					if call++; call%calls == 0 {
						exprs = append(exprs, fmt.Sprintf(shown, attr, a))
					}
				}
			}
			for _, e := range exprs {
				if next++; next%every != 0 && !strings.HasSuffix(e, "|pprint") {
					continue
				}
				req := &request{Main: "main", vars: map[string]any{}, Templates: map[string]string{
					"lib": "{% macro m(a, b=1) %}x{% endmacro %}",
					"main": fmt.Sprintf("{%% macro m(a) %%}y{%% endmacro %%}{%% import 'lib' as mod %%}{%% set v = %s %%}{{ %s }}",
						subject, e),
				}}
				compared++
				if diff := o.compare(t, req); diff != "" {
					t.Errorf("%s: %s", e, diff)
				}
			}
		}
	}
	t.Logf("%d uses of attributes compared", compared)
}
