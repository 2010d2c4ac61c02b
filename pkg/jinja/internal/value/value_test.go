package value

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

func newFrame(limits Limits) *Frame {
	limits = limits.WithDefaults()
	thread := NewThread(&limits, nil)
	return &Frame{Thread: &thread}
}

func dict(entries ...any) *Dict {
	d := NewDict()
	for i := 0; i < len(entries); i += 2 {
		d.Put(nil, entries[i], entries[i+1])
	}
	return d
}

var large = new(big.Int).Lsh(big.NewInt(1), 70)

// TestRepr compares reprs with Python's, and the conversion of Go values.
func TestRepr(t *testing.T) {
	cycle := NewList(int64(1))
	cycle.Items = append(cycle.Items, cycle)
	for _, c := range []struct {
		value any
		want  string
	}{
		{nil, "None"},
		{true, "True"},
		{uint8(7), "7"},
		{float32(0.5), "0.5"},
		{large, "1180591620717411303424"},
		{Markup("<b>"), "Markup('<b>')"},
		{[]any{1, "a", nil}, "[1, 'a', None]"},
		{Tuple{1}, "(1,)"},
		{map[string]any{"b": []int{1}, "a": map[int]bool{2: true}}, "{'a': {2: True}, 'b': [1]}"},
		{cycle, "[1, [...]]"},
		{&Range{0, 5, 1}, "range(0, 5)"},
		{&Set{dict("a", nil)}, "{'a'}"},
		{&DictView{dict("a", int64(1)), ViewItems}, "dict_items([('a', 1)])"},
		{&Namespace{dict("a", int64(1))}, "<Namespace {'a': 1}>"},
		{NewUndefined(Default, "no"), "Undefined"},
		{&Callable{Name: "dict", Kind: ClassObject}, "<class 'dict'>"},
	} {
		if got := Repr(Convert(c.value)); got != c.want {
			t.Errorf("%#v: got %s, want %s", c.value, got, c.want)
		}
	}
	if got := Repr(Bytes("a'\x00é")); got != `b"a'\x00\xc3\xa9"` {
		t.Errorf("bytes: %s", got)
	}
}

// TestCompare compares values with each other, as Python does: == < <= > >=.
func TestCompare(t *testing.T) {
	fr := newFrame(Limits{})
	for _, c := range []struct {
		a, b  any
		equal bool
		order string // the sign of a - b, "" without an order, "nan" if no comparison holds
	}{
		{int64(1), true, true, "0"},
		{int64(1), 1.0, true, "0"},
		{int64(1 << 53), float64(1<<53) + 2, false, "-"},
		{large, 1e30, false, "-"},
		{math.NaN(), math.NaN(), false, "nan"},
		{"a", Markup("a"), true, "0"},
		{"a", "b", false, "-"},
		{"a", int64(1), false, ""},
		{NewList(int64(1), int64(2)), NewList(int64(1), int64(3)), false, "-"},
		{Tuple{int64(1)}, &GroupTuple{int64(1), NewList()}, false, "-"},
		{dict("a", 1.0), dict("a", int64(1)), true, ""},
		{&Range{0, 3, 2}, &Range{0, 4, 2}, true, ""},
		{&Set{dict("a", nil)}, &DictView{dict("a", nil, "b", nil), ViewKeys}, false, "-"},
		{nil, nil, true, ""},
		{NewUndefined(Default, "x"), NewUndefined(Default, "y"), true, ""},
	} {
		if Equal(fr, c.a, c.b) != c.equal || Equal(fr, c.b, c.a) != c.equal {
			t.Errorf("%s == %s is %t", Repr(c.a), Repr(c.b), !c.equal)
		}
		for _, op := range []string{"<", "<=", ">", ">="} {
			var got bool
			raised := fr.Try(func() { got = Compare(fr, c.a, c.b, op) }, "TypeError", "UndefinedError")
			if (raised != nil) != (c.order == "") {
				t.Errorf("%s %s %s raises %v", Repr(c.a), op, Repr(c.b), raised)
				continue
			}
			want := c.order == "-" && op[0] == '<' || c.order == "0" && len(op) == 2
			if raised == nil && got != want {
				t.Errorf("%s %s %s is %t", Repr(c.a), op, Repr(c.b), got)
			}
		}
	}
}

// TestDictKeys stores values under keys, and finds them under equal keys only.
func TestDictKeys(t *testing.T) {
	for _, c := range []struct {
		key, other any
		same       bool
	}{
		{int64(1), true, true},
		{int64(1), 1.0, true},
		{int64(1), "1", false},
		{large, 0x1p70, true},
		{"a", Markup("a"), true},
		{"a", Bytes("a"), false},
		{Tuple{"a", int64(1)}, Tuple{Markup("a"), 1.0}, true},
		{Tuple{"a", "b"}, Tuple{"ab"}, false},
		{Tuple{Tuple{"a"}, "b"}, Tuple{Tuple{"a", "b"}}, false},
		{math.NaN(), math.NaN(), false},
		{nil, false, false},
	} {
		d := dict(c.key, "found")
		if _, ok := d.Lookup(nil, c.other); ok != c.same {
			t.Errorf("{%s: …}[%s] is found: %t", Repr(c.key), Repr(c.other), ok)
		}
	}
	fr := newFrame(Limits{})
	for _, key := range []any{NewList(), NewDict(), &Set{NewDict()}, Tuple{NewList()}} {
		if fr.Try(func() { HashKey(fr, key) }, "TypeError") == nil {
			t.Errorf("%s is hashable", Repr(key))
		}
	}
}

// FuzzDict compares dicts with a slice of their entries, through growth, removal
// and reuse.
func FuzzDict(f *testing.F) {
	f.Add([]byte("abcdefghijklmnopqrstuvwxyzABC"))
	f.Add([]byte(strings.Repeat("aA", 40) + "abcabcABC"))
	f.Fuzz(func(t *testing.T, ops []byte) {
		d := NewDict()
		var keys []string
		values := map[string]any{}
		remove := func(k string) {
			for i := range keys {
				if keys[i] == k {
					keys = append(keys[:i:i], keys[i+1:]...)
					break
				}
			}
			delete(values, k)
		}
		fr := newFrame(Limits{})
		for i, op := range ops {
			k := strings.ToLower(string(rune(op & 0x7f)))
			switch {
			case op >= 'A' && op <= 'Z':
				_, had := values[k]
				if _, ok := d.Remove(fr, k); ok != had {
					t.Fatalf("Remove(%q) is %t", k, ok)
				}
				remove(k)
			case op == 0xff:
				key, _, ok := d.PopLast(fr)
				if ok != (len(keys) > 0) || ok && key != keys[len(keys)-1] {
					t.Fatalf("PopLast is %v, %t", key, ok)
				}
				if ok {
					remove(keys[len(keys)-1])
				}
			case op == 0xfe:
				key, _, ok := d.PopFirst(fr)
				if ok != (len(keys) > 0) || ok && key != keys[0] {
					t.Fatalf("PopFirst is %v, %t", key, ok)
				}
				if ok {
					remove(keys[0])
				}
			default:
				if _, ok := values[k]; !ok {
					keys = append(keys, k)
				}
				values[k] = i
				d.SetStr(k, i)
			}
			if d.Len() != len(keys) {
				t.Fatalf("Len is %d, want %d", d.Len(), len(keys))
			}
		}
		if got, want := fmt.Sprint(d.Keys()), fmt.Sprint(keys); got != want {
			t.Fatalf("Keys are %s, want %s", got, want)
		}
		for _, k := range keys {
			if v, ok := d.GetStr(k); !ok || v != values[k] {
				t.Fatalf("value of %q is %v, %t", k, v, ok)
			}
		}
	})
}

// TestSubscript reads items and slices.
func TestSubscript(t *testing.T) {
	fr := newFrame(Limits{})
	list := NewList(int64(0), int64(1), int64(2), int64(3))
	for _, c := range []struct {
		value, arg any
		want       string
	}{
		{list, int64(-1), "3"},
		{list, true, "1"},
		{list, int64(4), "IndexError"},
		{list, "a", "TypeError"},
		{"aéb", int64(1), "'é'"},
		{Markup("ab"), int64(0), "Markup('a')"},
		{Bytes("ab"), int64(0), "97"},
		{&Range{0, 10, 3}, int64(-1), "9"},
		{dict("a", int64(1)), "b", "KeyError"},
		{int64(1), int64(0), "TypeError"},
		{list, &Slice{int64(1), nil, nil}, "[1, 2, 3]"},
		{list, &Slice{nil, nil, int64(-2)}, "[3, 1]"},
		{list, &Slice{int64(-100), int64(100), large}, "[0]"},
		{list, &Slice{nil, nil, int64(0)}, "ValueError"},
		{"aéb", &Slice{nil, nil, int64(-1)}, "'béa'"},
		{&Range{0, 10, 3}, &Slice{int64(1), nil, nil}, "range(3, 12, 3)"},
	} {
		var got string
		if e := fr.Try(func() { got = Repr(Subscript(fr, c.value, c.arg)) }, "Exception"); e != nil {
			got = e.Class
		}
		if got != c.want {
			t.Errorf("%s[%v]: got %s, want %s", Repr(c.value), c.arg, got, c.want)
		}
	}
}

// TestBind shows the messages for wrong arguments.
func TestBind(t *testing.T) {
	fr := newFrame(Limits{})
	f := NewFunction("f", "a b=1", nil)
	builtin := NewBuiltin("len", "obj", nil)
	for _, c := range []struct {
		f     *Callable
		args  []any
		kw    []Keyword
		error string
	}{
		{f, []any{1}, nil, ""},
		{f, []any{1}, []Keyword{{"b", 2}}, ""},
		{f, nil, nil, "f() missing 1 required positional argument: 'a'"},
		{f, []any{1, 2, 3}, nil, "f() takes from 1 to 2 positional arguments but 3 were given"},
		{f, []any{1}, []Keyword{{"a", 2}}, "f() got multiple values for argument 'a'"},
		{f, []any{1}, []Keyword{{"c", 2}}, "f() got an unexpected keyword argument 'c'"},
		{builtin, nil, nil, "len() takes exactly one argument (0 given)"},
		{builtin, nil, []Keyword{{"obj", 1}}, "len() takes no keyword arguments"},
	} {
		message := ""
		if e := fr.Try(func() { Bind(c.f, c.args, c.kw) }, "TypeError"); e != nil {
			message = e.Message
		}
		if message != c.error {
			t.Errorf("%v %v: got %q, want %q", c.args, c.kw, message, c.error)
		}
	}
}

// TestLimits exceeds each limit.
func TestLimits(t *testing.T) {
	interrupted := errors.New("interrupted")
	for name, c := range map[string]struct {
		limits Limits
		kind   raise.Kind
		run    func(fr *Frame)
	}{
		"steps":  {Limits{Steps: 100}, raise.KindLimit, func(fr *Frame) { fr.Work(101) }},
		"memory": {Limits{Memory: 100}, raise.KindLimit, func(fr *Frame) { fr.AllocN(1<<40, 1<<40) }},
		"depth": {Limits{Depth: 10}, raise.KindLimit, func(fr *Frame) {
			for range 11 {
				fr.Push(fr)
			}
		}},
		"nesting": {Limits{Depth: 10}, raise.KindLimit, func(fr *Frame) {
			a, b := NewList(), NewList()
			for range 20 {
				a, b = NewList(a), NewList(b)
			}
			Equal(fr, a, b)
		}},
		"repr": {Limits{Memory: 100}, raise.KindLimit, func(fr *Frame) { ReprIn(fr, strings.Repeat("a", 200)) }},
		"context": {Limits{}, raise.KindCanceled, func(fr *Frame) {
			fr.interrupted = func() error { return interrupted }
			for range 10 * checkInterval {
				fr.Step()
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				e, ok := recover().(*raise.Exception)
				if !ok || e.Kind != c.kind {
					t.Errorf("raised %v, want kind %s", e, c.kind)
				}
			}()
			c.run(newFrame(c.limits))
		})
	}
}
