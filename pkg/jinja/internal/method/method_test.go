package method

import (
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// code is template code with the default settings.
type code struct{}

func (code) UndefinedMode() value.UndefinedMode            { return value.Default }
func (code) Autoescape() bool                              { return false }
func (code) Filters() map[string]*value.Callable           { return nil }
func (code) Tests() map[string]*value.Callable             { return nil }
func (code) LocalContext(loop, block bool) value.Variables { return nil }

func newFrame() *value.Frame {
	limits := value.Limits{}.WithDefaults()
	thread := value.NewThread(&limits, nil)
	return &value.Frame{Thread: &thread, Code: code{}}
}

// result is the repr of what f returns, or the class of the exception that it raises.
func result(fr *value.Frame, f func() any) string {
	var v any
	if e := fr.Try(func() { v = f() }, "Exception", "LimitError"); e != nil {
		return e.Class
	}
	return value.Repr(v)
}

func dict(entries ...any) *value.Dict {
	d := value.NewDict()
	for i := 0; i < len(entries); i += 2 {
		d.Set(entries[i], entries[i+1])
	}
	return d
}

// TestMethods compares calls of methods, and their effects on the value, with Python.
func TestMethods(t *testing.T) {
	fr := newFrame()
	for _, c := range []struct {
		value any
		name  string
		args  []any
		want  string
		after string // "" if the value does not change
	}{
		{"a,b,,c", "split", []any{","}, "['a', 'b', '', 'c']", ""},
		{"a,b,c", "rsplit", []any{",", int64(1)}, "['a,b', 'c']", ""},
		{"a", "split", []any{""}, "ValueError", ""},
		{"aéa", "replace", []any{"a", "bb", int64(1)}, "'bbéa'", ""},
		{"aéb", "find", []any{"b"}, "2", ""},
		{"aéb", "index", []any{"x"}, "ValueError", ""},
		{"abcb", "count", []any{"b", int64(2)}, "1", ""},
		{"abc", "startswith", []any{value.Tuple{"x", "ab"}}, "True", ""},
		{"a", "center", []any{int64(4), "*"}, "'*a**'", ""},
		{"-5", "zfill", []any{int64(4)}, "'-005'", ""},
		{"a\tb", "expandtabs", []any{int64(4)}, "'a   b'", ""},
		{"a=b=c", "partition", []any{"="}, "('a', '=', 'b=c')", ""},
		{", ", "join", []any{[]string{"a", "b"}}, "'a, b'", ""},
		{", ", "join", []any{[]any{"a", 1}}, "TypeError", ""},
		{value.Markup("<b>"), "join", []any{[]string{"<", ">"}}, "Markup('&lt;<b>&gt;')", ""},
		{"é", "encode", nil, `b'\xc3\xa9'`, ""},
		{"é", "encode", []any{"ascii"}, "UnicodeError", ""},
		{value.Bytes("\xc3\xa9"), "decode", nil, "'é'", ""},
		{value.Bytes("aB\xc3"), "upper", nil, `b'AB\xc3'`, ""},
		{"{0.real} {a[k]} {!r:>4}", "format", []any{int64(1)}, "KeyError", ""},
		{"{0.real} {0:>3}", "format", []any{int64(1)}, "'1   1'", ""},
		{"{0.__class__}", "format", []any{int64(1)}, "''", ""},
		{"{", "format", nil, "ValueError", ""},
		{value.NewList(int64(3), int64(1)), "sort", nil, "None", "[1, 3]"},
		{value.NewList(int64(1)), "append", []any{int64(2)}, "None", "[1, 2]"},
		{value.NewList(int64(1), int64(2)), "pop", []any{int64(0)}, "1", "[2]"},
		{value.NewList(), "pop", nil, "IndexError", ""},
		{value.NewList(int64(1)), "insert", []any{int64(-9), int64(0)}, "None", "[0, 1]"},
		{dict("a", 1), "get", []any{"b", int64(2)}, "2", ""},
		{dict("a", 1), "items", nil, "dict_items([('a', 1)])", ""},
		{dict("a", 1), "setdefault", []any{"b"}, "None", "{'a': 1, 'b': None}"},
		{dict("a", 1, "b", 2), "popitem", nil, "('b', 2)", "{'a': 1}"},
		{dict("a", 1), "pop", []any{"b"}, "KeyError", ""},
		{int64(5), "bit_length", nil, "3", ""},
		{int64(-1), "to_bytes", []any{int64(2), "little"}, "OverflowError", ""},
		{1.5, "as_integer_ratio", nil, "(3, 2)", ""},
		{1.5, "hex", nil, "'0x1.8000000000000p+0'", ""},
		{&value.Range{Start: 1, Stop: 9, Step: 3}, "index", []any{int64(4)}, "1", ""},
	} {
		before := value.Repr(c.value)
		m := Find(c.value, c.name)
		if m == nil {
			t.Errorf("%s has no method %s", before, c.name)
			continue
		}
		args := make([]any, len(c.args))
		for i, a := range c.args {
			args[i] = a
			if _, isBytes := a.(value.Bytes); !isBytes {
				args[i] = value.Convert(a)
			}
		}
		if got := result(fr, func() any { return m.Call(fr, c.value, args, nil) }); got != c.want {
			t.Errorf("%s.%s(%v): got %s, want %s", before, c.name, c.args, got, c.want)
		}
		after := c.after
		if after == "" {
			after = before
		}
		if got := value.Repr(c.value); got != after {
			t.Errorf("%s.%s(%v) leaves %s, want %s", before, c.name, c.args, got, after)
		}
	}
}

// TestAttributes looks up attributes and items as templates do, and checks the message
// of undefined ones.
func TestAttributes(t *testing.T) {
	fr := newFrame()
	d := dict("name", 1, "items", 2)
	for _, c := range []struct {
		value any
		attr  string
		attrs string // v.attr: its repr, or the message of an undefined value
		items string // v['attr']
		hint  string
	}{
		{d, "name", "1", "1", ""},
		{d, "items", "<built-in method items of dict object at 0x7f", "2", ""},
		{d, "nmae", "'dict object' has no attribute 'nmae'", "'dict object' has no attribute 'nmae'", `"name"`},
		{d, "__class__", "access to attribute '__class__' of 'dict' object is unsafe.",
			"access to attribute '__class__' of 'dict' object is unsafe.", ""},
		{"a", "uper", "'str object' has no attribute 'uper'", "'str object' has no attribute 'uper'", `"upper"`},
		{"a", "upper", "<built-in method upper of str object at 0x7f", "<built-in method upper of str object at 0x7f", ""},
		{nil, "x", "'None' has no attribute 'x'", "'None' has no attribute 'x'", ""},
		{int64(3), "denominator", "1", "1", ""},
		{&value.Namespace{Attrs: d}, "name", "1", "1", ""},
	} {
		show := func(v any) (string, string) {
			if u, ok := v.(*value.Undefined); ok {
				return u.Message(), SuggestElement(u)
			}
			return value.Repr(v), ""
		}
		got, hint := show(Getattr(fr, c.value, c.attr))
		if !strings.HasPrefix(got, c.attrs) || !strings.Contains(hint, c.hint) {
			t.Errorf("%s.%s: got %s (%s), want %s (%s)", value.Repr(c.value), c.attr, got, hint, c.attrs, c.hint)
		}
		if got, _ := show(Getitem(fr, c.value, c.attr)); !strings.HasPrefix(got, c.items) {
			t.Errorf("%s[%q]: got %s, want %s", value.Repr(c.value), c.attr, got, c.items)
		}
	}
}
