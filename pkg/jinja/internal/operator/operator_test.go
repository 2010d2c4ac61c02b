package operator

import (
	"math"
	"math/big"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func newFrame() *value.Frame {
	limits := value.Limits{}.WithDefaults()
	thread := value.NewThread(&limits, nil)
	return &value.Frame{Thread: &thread}
}

// result is the repr of what f returns, or the class of the exception that it raises.
func result(fr *value.Frame, f func() any) string {
	var v any
	if e := fr.Try(func() { v = f() }, "Exception", "LimitError"); e != nil {
		return e.Class
	}
	return value.Repr(v)
}

// TestArithmetic compares the results and errors of operations with those of Python.
func TestArithmetic(t *testing.T) {
	fr := newFrame()
	type operation = func(fr *value.Frame, a, b any) any
	large := new(big.Int).Lsh(big.NewInt(1), 70)
	list := value.NewList(int64(1))
	for _, c := range []struct {
		name string
		op   operation
		a, b any
		want string
	}{
		{"+", Add, int64(math.MaxInt64), int64(1), "9223372036854775808"},
		{"+", Add, true, 0.5, "1.5"},
		{"+", Add, "a", value.Markup("<b>"), "Markup('a<b>')"},
		{"+", Add, value.Markup("<b>"), "<", "Markup('<b>&lt;')"},
		{"+", Add, list, value.NewList(int64(2)), "[1, 2]"},
		{"+", Add, list, value.Tuple{}, "TypeError"},
		{"+", Add, value.NewUndefined(value.Default, "no"), int64(1), "UndefinedError"},
		{"-", Subtract, int64(math.MinInt64), int64(1), "-9223372036854775809"},
		{"-", Subtract, "a", "b", "TypeError"},
		{"*", Multiply, int64(math.MinInt64), int64(-1), "9223372036854775808"},
		{"*", Multiply, "ab", int64(2), "'abab'"},
		{"*", Multiply, int64(-1), list, "[]"},
		{"*", Multiply, "ab", int64(1 << 40), "LimitError"},
		{"*", Multiply, list, 1.0, "TypeError"},
		{"/", Divide, int64(1), int64(3), "0.3333333333333333"},
		{"/", Divide, large, large, "1.0"},
		{"/", Divide, int64(1), false, "ZeroDivisionError"},
		{"//", FloorDivide, int64(-7), int64(2), "-4"},
		{"//", FloorDivide, -7.5, int64(2), "-4.0"},
		{"//", FloorDivide, int64(math.MinInt64), int64(-1), "9223372036854775808"},
		{"%", Modulo, int64(-7), int64(2), "1"},
		{"%", Modulo, 5.5, int64(-2), "-0.5"},
		{"%", Modulo, int64(1), 0.0, "ZeroDivisionError"},
		{"**", Power, int64(2), int64(100), "1267650600228229401496703205376"},
		{"**", Power, int64(2), int64(-1), "0.5"},
		{"**", Power, int64(-8), 1.0 / 3, "TypeError"},
		{"**", Power, int64(0), int64(-1), "ZeroDivisionError"},
		{"**", Power, int64(10), int64(10_000_000), "LimitError"},
		{"**", Power, 1e200, int64(2), "OverflowError"},
	} {
		if got := result(fr, func() any { return c.op(fr, c.a, c.b) }); got != c.want {
			t.Errorf("%s %s %s: got %s, want %s", value.Repr(c.a), c.name, value.Repr(c.b), got, c.want)
		}
	}
}

// TestPercent compares the formatting of strings by % with Python's.
func TestPercent(t *testing.T) {
	fr := newFrame()
	d := value.NewDict()
	d.Set("a", 1)
	for _, c := range []struct {
		format any
		arg    any
		want   string
	}{
		{"%s %r", value.Tuple{"a", "a"}, "\"a 'a'\""},
		{"%5d|%-5d|%05d|%+d", value.Tuple{int64(42), int64(42), int64(42), int64(42)}, "'   42|42   |00042|+42'"},
		{"%.3f %e %g", value.Tuple{2.0 / 3, 12345.678, 1e-10}, "'0.667 1.234568e+04 1e-10'"},
		{"%#x %o %X", value.Tuple{int64(255), int64(8), int64(255)}, "'0xff 10 FF'"},
		{"%*.*f", value.Tuple{int64(8), int64(2), 3.14159}, "'    3.14'"},
		{"%(a)d%%", d, "'1%'"},
		{"%(b)d", d, "KeyError"},
		{"%c%c", value.Tuple{int64(233), "b"}, "'éb'"},
		{"%.2s", "aéb", "'aé'"},
		{value.Markup("<b>%s</b>"), "<", "Markup('<b>&lt;</b>')"},
		{"%d", "a", "TypeError"},
		{"%s", value.Tuple{}, "TypeError"},
		{"a", int64(1), "TypeError"},
		{"%", int64(1), "ValueError"},
		{"%99999999999d", int64(1), "LimitError"},
	} {
		if got := result(fr, func() any { return Modulo(fr, c.format, c.arg) }); got != c.want {
			t.Errorf("%s %% %s: got %s, want %s", value.Repr(c.format), value.Repr(c.arg), got, c.want)
		}
	}
}

// TestFormatValue compares format specifications with Python's.
func TestFormatValue(t *testing.T) {
	fr := newFrame()
	for _, c := range []struct {
		value any
		spec  string
		want  string
	}{
		{"a", ">3", "'  a'"},
		{"a", "é^4", "'éaéé'"},
		{"abc", ".2", "'ab'"},
		{"a", "=3", "ValueError"},
		{int64(-42), "06d", "'-00042'"},
		{int64(1234567), ",", "'1,234,567'"},
		{int64(255), "#_x", "'0xff'"},
		{int64(70000), "_b", "'1_0001_0001_0111_0000'"},
		{int64(65), "c", "'A'"},
		{int64(1), "012,d", "'0,000,000,001'"},
		{true, "d", "'1'"},
		{1234.5, ".2f", "'1234.50'"},
		{1234.5, "e", "'1.234500e+03'"},
		{1e22, "", "'1e+22'"},
		{0.256, ".1%", "'25.6%'"},
		{-0.0001, "z.2f", "'0.00'"},
		{100.0, ".3", "'1e+02'"},
		{100.0, "#.3g", "'100.'"},
		{nil, ">3", "TypeError"},
		{int64(1), "q", "ValueError"},
		{int64(1), ".2", "ValueError"},
	} {
		if got := result(fr, func() any { return FormatValue(fr, c.value, c.spec) }); got != c.want {
			t.Errorf("format(%s, %q): got %s, want %s", value.Repr(c.value), c.spec, got, c.want)
		}
	}
}
