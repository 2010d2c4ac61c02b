package resolve

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
)

func parse(t *testing.T, source string) *syntax.Template {
	t.Helper()
	tree, err := syntax.Parse("t", source, &syntax.Options{})
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return tree
}

// TestSymbols checks the names of a template's outermost scope, and the origin of each
// first value: from the context (?), from an outer scope (^) or not at all (-); ! marks
// names that the scope sets.
func TestSymbols(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"{{ a + b }}{{ a }}", "a? b?"},
		{"{% set a = b %}{{ a }}", "b? a-!"},
		{"{{ a }}{% set a = 1 %}", "a?!"},
		{"{% if a %}{% set b = 1 %}{% endif %}{{ b }}", "a? b?!"},
		{"{% if a %}{% set b = 1 %}{% elif c %}{% set b = 2 %}{% else %}{% set b = 3 %}{% endif %}", "a? b-! c?"},
		{"{% for x in a %}{{ x }}{{ b }}{% endfor %}", "a?"},
		{"{% macro m(x) %}{{ y }}{% endmacro %}", "m-!"},
		{"{% import 'l' as l %}{% from 'l' import a as b %}", "l-! b-!"},
		{"{% set ns.a = b %}", "b? ns?"},
		{"{% with x = a %}{{ x }}{% endwith %}", "a?"},
		{"{% set x %}{{ a }}{% endset %}", "x-!"},
		{"{% block b %}{{ a }}{% endblock %}", ""},
	} {
		work := 0
		s := New(nil, 0, &work)
		s.Analyze(parse(t, c.source))
		var got []string
		for _, e := range s.Entries {
			mark := [...]string{LoadParam: "=", LoadResolve: "?", LoadAlias: "^", loadUndef: "-"}[e.Load]
			if e.Stored {
				mark += "!"
			}
			got = append(got, e.Name+mark)
		}
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: got %q, want %q", c.source, text, c.want)
		}
	}
}

// TestLoopScope checks the names of a loop's scopes. The outer scope has set a.
func TestLoopScope(t *testing.T) {
	tree := parse(t, "{% set a = 1 %}{% for x, y in l if x > z %}{% set a = x %}{{ b }}{% else %}{{ a }}{% endfor %}")
	work := 0
	outer := New(nil, 0, &work)
	outer.Analyze(tree)
	loop := tree.Body[1].(*syntax.For)
	for part, want := range map[ForPart]string{ForBody: "x0 y0 a2 b1", ForElse: "", ForTest: "x0 y0 z1"} {
		s := New(outer, 1, &work)
		s.AnalyzeFor(loop, part)
		var got []string
		for _, e := range s.Entries {
			got = append(got, fmt.Sprint(e.Name, int(e.Load)))
		}
		if text := strings.Join(got, " "); text != want {
			t.Errorf("part %d: got %q, want %q", part, text, want)
		}
	}
	if id, ok := New(outer, 1, &work).FindRef("a"); !ok || id != (Ident{0, "a"}) {
		t.Errorf("a is %v, %t", id, ok)
	}
}

// TestUndeclared finds the names that are read before they are set.
func TestUndeclared(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"{{ self.a() }}", "self"},
		{"{% set loop = 1 %}{{ loop }}", ""},
		{"{{ loop }}{% set loop = 1 %}", "loop"},
		{"{% block b %}{{ self }}{% endblock %}", ""},
		{"{% for x in self %}{{ loop.index }}{% endfor %}", "loop self"},
	} {
		var got []string
		for name := range Undeclared(parse(t, c.source).Body, "self", "loop") {
			got = append(got, name)
		}
		slices.Sort(got)
		if text := strings.Join(got, " "); text != c.want {
			t.Errorf("%s: got %q, want %q", c.source, text, c.want)
		}
	}
}

// TestWorkLimit resolves too many names in too many if statements.
func TestWorkLimit(t *testing.T) {
	var b strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&b, "{%% set v%d = 1 %%}{%% if v%d %%}{%% set w%d = 1 %%}{%% endif %%}", i, i, i)
	}
	tree := parse(t, b.String())
	defer func() {
		if e, ok := recover().(*raise.Exception); !ok || e.Kind != raise.KindLimit {
			t.Errorf("raised %v", e)
		}
	}()
	work := maxNameWork / 2
	New(nil, 0, &work).Analyze(tree)
	t.Error("resolved all names")
}
