package builtin

import (
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// code is template code with the built-in filters and tests.
type code struct{ autoescape bool }

func (code) UndefinedMode() value.UndefinedMode            { return value.Default }
func (c code) Autoescape() bool                            { return c.autoescape }
func (code) Filters() map[string]*value.Callable           { return Filters }
func (code) Tests() map[string]*value.Callable             { return Tests }
func (code) LocalContext(loop, block bool) value.Variables { return nil }

func newFrame(autoescape bool) *value.Frame {
	limits := value.Limits{}.WithDefaults()
	thread := value.NewThread(&limits, nil)
	return &value.Frame{Thread: &thread, Code: code{autoescape}}
}

// result is the repr of what f returns, or the class of the exception that it
// raises. Generators are shown as lists.
func result(fr *value.Frame, f func() any) string {
	var v any
	if e := fr.Try(func() {
		v = f()
		if g, ok := v.(*value.IterObject); ok {
			v = &value.List{Items: value.Collect(fr, g)}
		}
	}, "Exception", "LimitError", "OverflowError"); e != nil {
		return e.Class
	}
	return value.Repr(v)
}

// TestFilters compares the results and errors of filters with those of Jinja2.
func TestFilters(t *testing.T) {
	fr := newFrame(false)
	people := []any{
		map[string]any{"name": "ann", "city": "NY"}, map[string]any{"name": "Bob",
			"city": "CA"}, map[string]any{"name": "cid", "city": "NY"},
	}
	for _, c := range []struct {
		filter string
		args   []any
		kw     []value.Keyword
		want   string
	}{
		{"upper", []any{"straße"}, nil, "'STRASSE'"},
		{"trim", []any{" a "}, nil, "'a'"},
		{"replace", []any{"aaa", "a", "b", 2}, nil, "'bba'"},
		{"indent", []any{"a\n\nb", 2}, nil, "'a\\n\\n  b'"},
		{"truncate", []any{"one two three four", 12}, []value.Keyword{{Name: "leeway", Value: int64(0)}}, "'one two...'"},
		{"wordwrap", []any{"one two three", 8}, nil, "'one two\\nthree'"},
		{"default", []any{value.NewUndefined(value.Default, "no"), "x"}, nil, "'x'"},
		{"default", []any{"", "x"}, nil, "''"},
		{"default", []any{"", "x", true}, nil, "'x'"},
		{"length", []any{"aéb"}, nil, "3"},
		{"length", []any{1}, nil, "TypeError"},
		{"join", []any{[]int{1, 2}, "-"}, nil, "'1-2'"},
		{"join", []any{people, ",", "name"}, nil, "'ann,Bob,cid'"},
		{"sort", []any{[]string{"b", "A", "c"}}, nil, "['A', 'b', 'c']"},
		{"sort", []any{[]any{1, "a"}}, nil, "TypeError"},
		{"unique", []any{[]string{"a", "A", "b"}}, nil, "['a', 'b']"},
		{"map", []any{people}, []value.Keyword{{Name: "attribute", Value: "city"}}, "['NY', 'CA', 'NY']"},
		{"map", []any{[]string{"a"}, "nosuch"}, nil, "TemplateRuntimeError"},
		{"select", []any{[]int{1, 2, 3}, "odd"}, nil, "[1, 3]"},
		{"rejectattr", []any{people, "city", "eq", "NY"}, nil, "[{'city': 'CA', 'name': 'Bob'}]"},
		{"groupby", []any{people, "city"}, nil, "[('CA', [{'city': 'CA', 'name': 'Bob'}]), ('NY', [{'city': 'NY', 'name': 'ann'}, {'city': 'NY', 'name': 'cid'}])]"},
		{"batch", []any{[]int{1, 2, 3}, 2, 0}, nil, "[[1, 2], [3, 0]]"},
		{"slice", []any{[]int{1, 2, 3}, 2}, nil, "[[1, 2], [3]]"},
		{"sum", []any{[]any{1, 2.5}}, nil, "3.5"},
		{"reverse", []any{"aéb"}, nil, "'béa'"},
		{"first", []any{[]int{}}, nil, "Undefined"},
		{"dictsort", []any{map[string]int{"b": 1, "A": 2}}, nil, "[('A', 2), ('b', 1)]"},
		{"int", []any{"0x1f", 0, 16}, nil, "31"},
		{"int", []any{"x", 7}, nil, "7"},
		{"float", []any{"1_0.5"}, nil, "10.5"},
		{"round", []any{2.675, 2}, nil, "2.67"},
		{"round", []any{2.1, 0, "ceil"}, nil, "3.0"},
		{"filesizeformat", []any{1536, true}, nil, "'1.5 KiB'"},
		{"tojson", []any{map[string]any{"b": "<&'>", "a": []any{nil, 1.0}}}, nil,
			`Markup('{"a": [null, 1.0], "b": "\\u003c\\u0026\\u0027\\u003e"}')`},
		{"tojson", []any{value.Tuple{&value.Range{Stop: 1, Step: 1}}}, nil, "TypeError"},
		{"urlencode", []any{"a b/é"}, nil, "'a%20b/%C3%A9'"},
		{"urlencode", []any{map[string]string{"a": "b c"}}, nil, "'a=b+c'"},
		{"xmlattr", []any{map[string]any{"a": "<", "b": nil}}, nil, `' a="&lt;"'`},
		{"urlize", []any{"see www.example.org."}, nil,
			`'see <a href="https://www.example.org" rel="noopener">www.example.org</a>.'`},
		{"striptags", []any{"<b>a</b>  b"}, nil, "'a b'"},
		{"pprint", []any{map[string]int{"a": 1}}, nil, `"{'a': 1}"`},
		{"format", []any{"%s-%s", "a", 1}, nil, "'a-1'"},
	} {
		f := Filters[c.filter]
		if f == nil {
			t.Errorf("no filter %s", c.filter)
			continue
		}
		args := make([]any, len(c.args))
		for i, a := range c.args {
			args[i] = value.Convert(a)
		}
		if got := result(fr, func() any { return f.Call(fr, args, c.kw) }); got != c.want {
			t.Errorf("%s(%v): got %s, want %s", c.filter, c.args, got, c.want)
		}
	}
}

// TestEscaping applies filters in templates whose output is escaped.
func TestEscaping(t *testing.T) {
	fr := newFrame(true)
	for _, c := range []struct {
		filter string
		args   []any
		want   string
	}{
		{"join", []any{[]any{"<", value.Markup("<b>")}, ", "}, "Markup('&lt;, <b>')"},
		{"replace", []any{value.Markup("<b>"), "b", "<"}, "Markup('<&lt;>')"},
		{"escape", []any{"<"}, "Markup('&lt;')"},
		{"forceescape", []any{value.Markup("<")}, "Markup('&lt;')"},
		{"safe", []any{"<"}, "Markup('<')"},
		{"xmlattr", []any{map[string]any{"a": "<"}}, `Markup(' a="&lt;"')`},
	} {
		args := make([]any, len(c.args))
		for i, a := range c.args {
			args[i] = value.Convert(a)
		}
		if got := result(fr, func() any { return Filters[c.filter].Call(fr, args, nil) }); got != c.want {
			t.Errorf("%s(%v): got %s, want %s", c.filter, c.args, got, c.want)
		}
	}
}

// TestTests applies the built-in tests.
func TestTests(t *testing.T) {
	fr := newFrame(false)
	undefined := value.NewUndefined(value.Default, "no")
	for _, c := range []struct {
		test string
		args []any
		want string
	}{
		{"odd", []any{3}, "True"},
		{"divisibleby", []any{4, 0}, "ZeroDivisionError"},
		{"defined", []any{undefined}, "False"},
		{"none", []any{nil}, "True"},
		{"integer", []any{true}, "False"},
		{"number", []any{true}, "True"},
		{"string", []any{value.Markup("a")}, "True"},
		{"mapping", []any{map[string]int{}}, "True"},
		{"sequence", []any{&value.Range{}}, "True"},
		{"iterable", []any{1}, "False"},
		{"callable", []any{Globals["range"]}, "True"},
		{"in", []any{"b", "abc"}, "True"},
		{"sameas", []any{1, true}, "False"},
		{"eq", []any{1, 1.0}, "True"},
		{"lessthan", []any{1, "a"}, "TypeError"},
		{"filter", []any{"upper"}, "True"},
		{"test", []any{"nosuch"}, "False"},
	} {
		args := make([]any, len(c.args))
		for i, a := range c.args {
			args[i] = value.Convert(a)
		}
		if got := result(fr, func() any { return Tests[c.test].Call(fr, args, nil) }); got != c.want {
			t.Errorf("%v is %s: got %s, want %s", c.args, c.test, got, c.want)
		}
	}
}

// TestGlobals calls the built-in globals.
func TestGlobals(t *testing.T) {
	fr := newFrame(false)
	call := func(name string, args ...any) string {
		for i, a := range args {
			args[i] = value.Convert(a)
		}
		return result(fr, func() any { return value.Invoke(fr, Globals[name], args, nil, false, false) })
	}
	for _, c := range []struct{ got, want string }{
		{call("range", 1, 5), "range(1, 5)"},
		{call("range", 1_000_000), "OverflowError"},
		{call("range", 1, 5, 0), "ValueError"},
		{call("dict", []any{[]any{"a", 1}}), "{'a': 1}"},
		{call("namespace", map[string]int{"a": 1}), "<Namespace {'a': 1}>"},
		{call("cycler"), "RuntimeError"},
		{call("nosuch"), "TypeError"},
	} {
		if c.got != c.want {
			t.Errorf("got %s, want %s", c.got, c.want)
		}
	}
}
