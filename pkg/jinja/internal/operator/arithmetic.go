package operator

import (
	"math"
	"math/big"
	"math/bits"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// unsupported raises the error of operands that an operator does not accept.
func unsupported(op string, a, b any) {
	value.CheckUndefined(a, b)
	raise.Type("unsupported operand type(s) for %s: '%s' and '%s'", op, value.TypeName(a), value.TypeName(b))
}

// intOp applies an operation to integers, without big.Int if both and the result are
// small.
func intOp(fr *value.Frame, a, b any, small func(x, y int64) (int64, bool), large func(x, y *big.Int) *big.Int) (
	any, bool) {
	x, bx, ok := value.AsInt(a)
	if !ok {
		return nil, false
	}
	y, by, ok := value.AsInt(b)
	if !ok {
		return nil, false
	}
	if bx == nil && by == nil {
		if r, ok := small(x, y); ok {
			return r, true
		}
	}
	p, q := value.ToBig(x, bx), value.ToBig(y, by)
	fr.Alloc(16 + (p.BitLen()+q.BitLen())/4)
	fr.Work(p.BitLen() / 64 * (1 + q.BitLen()/64) / 16)
	r := large(p, q)
	if r.BitLen() > value.MaxIntBits {
		raise.Limit("integer of more than %d bits", value.MaxIntBits)
	}
	return value.NormInt(r), true
}

// Add is a + b.
func Add(fr *value.Frame, a, b any) any {
	switch x := a.(type) {
	case int64:
		if y, ok := b.(int64); ok {
			if s := x + y; (s > x) == (y > 0) {
				return s
			}
		}
	case string:
		switch y := b.(type) {
		case string:
			fr.Alloc(len(x) + len(y))
			return x + y
		case value.Markup:
			fr.Alloc(len(x) + len(y))
			return value.Markup(pystr.Escape(x)) + y
		}
	case value.Markup:
		if s, ok := markupOperand(b); ok {
			fr.Alloc(len(x) + len(s))
			return x + s
		}
	case *value.List:
		if y, ok := b.(*value.List); ok {
			fr.AllocN(len(x.Items)+len(y.Items), 16)
			items := make([]any, 0, len(x.Items)+len(y.Items))
			return &value.List{Items: append(append(items, x.Items...), y.Items...)}
		}
		if _, ok := b.(*value.Undefined); !ok {
			raise.Type(`can only concatenate list (not "%s") to list`, value.TypeName(b))
		}
	case value.Tuple:
		if y, ok := value.AsTuple(b); ok {
			fr.AllocN(len(x)+len(y), 16)
			return append(append(make(value.Tuple, 0, len(x)+len(y)), x...), y...)
		}
	case *value.Undefined:
		value.RaiseUndefined(x)
	case *value.GroupTuple:
		return Add(fr, x.Tuple(), b)
	case value.Bytes:
		if y, ok := b.(value.Bytes); ok {
			fr.Alloc(len(x) + len(y))
			return x + y
		}
	}
	if r, ok := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		s := x + y
		return s, (s > x) == (y > 0)
	}, func(x, y *big.Int) *big.Int { return new(big.Int).Add(x, y) }); ok {
		return r
	}
	if x, y, ok := floats(a, b); ok {
		return x + y
	}
	if y, ok := b.(value.Markup); ok {
		if s, ok := markupOperand(a); ok {
			return s + y
		}
	}
	value.CheckUndefined(a, b)
	if _, ok := a.(string); ok {
		raise.Type(`can only concatenate str (not "%s") to str`, value.TypeName(b))
	}
	unsupported("+", a, b)
	return nil
}

// markupOperand returns an operand of Markup's +, escaped: a string, or a value with a
// text for HTML.
func markupOperand(v any) (value.Markup, bool) {
	switch v := v.(type) {
	case string:
		return value.Markup(pystr.Escape(v)), true
	case value.Markup:
		return v, true
	case value.Object:
		if c := v.Class(); c.Text != nil {
			return value.Markup(c.Text(v)), true
		}
	case *value.Undefined:
		if v.Mode() == value.Chainable {
			return "", true
		}
	}
	return "", false
}

// floats returns two numbers as floats if one of them is a float.
func floats(a, b any) (x, y float64, ok bool) {
	if !value.IsFloat(a) && !value.IsFloat(b) || !value.IsNumber(a) || !value.IsNumber(b) {
		return 0, 0, false
	}
	x, _ = value.AsFloat(a)
	y, _ = value.AsFloat(b)
	return x, y, true
}

// Subtract is a - b.
func Subtract(fr *value.Frame, a, b any) any {
	if r, ok := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		s := x - y
		return s, (s < x) == (y > 0)
	}, func(x, y *big.Int) *big.Int { return new(big.Int).Sub(x, y) }); ok {
		return r
	}
	if x, y, ok := floats(a, b); ok {
		return x - y
	}
	if s, ok := value.SetDifference(fr, a, b); ok {
		return s
	}
	unsupported("-", a, b)
	return nil
}

// Multiply is a * b.
func Multiply(fr *value.Frame, a, b any) any {
	if r, ok := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		hi, lo := bits.Mul64(uint64(value.Abs64(x)), uint64(value.Abs64(y)))
		return x * y, hi == 0 && lo < 1<<63 && x != math.MinInt64 && y != math.MinInt64
	}, func(x, y *big.Int) *big.Int { return new(big.Int).Mul(x, y) }); ok {
		return r
	}
	if x, y, ok := floats(a, b); ok {
		return x * y
	}
	value.CheckUndefined(a, b)
	if r, ok := Repeat(fr, a, b); ok {
		return r
	}
	if r, ok := Repeat(fr, b, a); ok {
		return r
	}
	if value.IsSequence(a) {
		raise.Type("can't multiply sequence by non-int of type '%s'", value.TypeName(b))
	}
	if value.IsSequence(b) {
		raise.Type("can't multiply sequence by non-int of type '%s'", value.TypeName(a))
	}
	unsupported("*", a, b)
	return nil
}

// Repeat is seq * count; ok is false for other operands.
func Repeat(fr *value.Frame, seq, count any) (any, bool) {
	n, large, ok := value.AsInt(count)
	if !ok || !value.IsSequence(seq) {
		return nil, false
	}
	if large != nil {
		raise.Named("OverflowError", "cannot fit 'int' into an index-sized integer")
	}
	n = max(n, 0)
	times := func(size, unit int) int {
		if size > 0 && n > int64(fr.Limits.Memory/unit/size) {
			fr.Alloc(fr.Limits.Memory + 1)
		}
		if size == 0 {
			return 0
		}
		fr.AllocN(size*int(n), unit)
		return int(n)
	}
	items := func(list []any) []any {
		k := times(len(list), 16)
		out := make([]any, 0, len(list)*k)
		for range k {
			out = append(out, list...)
		}
		return out
	}
	switch s := seq.(type) {
	case string:
		return strings.Repeat(s, times(len(s), 1)), true
	case value.Markup:
		return value.Markup(strings.Repeat(string(s), times(len(s), 1))), true
	case value.Bytes:
		return value.Bytes(strings.Repeat(string(s), times(len(s), 1))), true
	case *value.List:
		return &value.List{Items: items(s.Items)}, true
	case value.Tuple:
		return value.Tuple(items(s)), true
	case *value.GroupTuple:
		return value.Tuple(items(s.Tuple())), true
	}
	return nil, false
}
