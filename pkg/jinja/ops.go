package jinja

import (
	"math"
	"math/big"
	"math/bits"
	"strings"
)

// normBig makes an int64 of a big integer that fits.
func normBig(b *big.Int) any {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// asInt returns an int's or a bool's value, as one of two forms.
func asInt(v any) (small int64, large *big.Int, ok bool) {
	switch v := v.(type) {
	case int64:
		return v, nil, true
	case bool:
		if v {
			return 1, nil, true
		}
		return 0, nil, true
	case *big.Int:
		return 0, v, true
	}
	return 0, nil, false
}

func toBig(small int64, large *big.Int) *big.Int {
	if large != nil {
		return large
	}
	return big.NewInt(small)
}

// bigToFloat converts, or raises OverflowError.
func bigToFloat(b *big.Int) float64 {
	f, _ := new(big.Float).SetInt(b).Float64()
	if math.IsInf(f, 0) {
		raiseKind(KindRuntime, "OverflowError", "int too large to convert to float")
	}
	return f
}

// asFloat returns any number as a float.
func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case float64:
		return v, true
	case int64:
		return float64(v), true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case *big.Int:
		return bigToFloat(v), true
	}
	return 0, false
}

func isNumber(v any) bool {
	switch v.(type) {
	case int64, bool, float64, *big.Int:
		return true
	}
	return false
}

func isFloat(v any) bool { _, ok := v.(float64); return ok }

// checkUndefined raises for an undefined operand: every operator of it does.
func checkUndefined(a, b any) {
	if u, ok := a.(*Undefined); ok {
		raiseUndefined(u)
	}
	if u, ok := b.(*Undefined); ok {
		raiseUndefined(u)
	}
}

func unsupported(op string, a, b any) {
	checkUndefined(a, b)
	raiseType("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
}

// intOp applies an operation on integers, fast when both are small.
func intOp(fr *vframe, a, b any, small func(x, y int64) (int64, bool), large func(x, y *big.Int) *big.Int) (any, bool) {
	x, bx, ok := asInt(a)
	if !ok {
		return nil, false
	}
	y, by, ok := asInt(b)
	if !ok {
		return nil, false
	}
	if bx == nil && by == nil {
		if r, ok := small(x, y); ok {
			return r, true
		}
	}
	p, q := toBig(x, bx), toBig(y, by)
	fr.alloc(16 + (p.BitLen()+q.BitLen())/4)
	fr.work(p.BitLen() / 64 * (1 + q.BitLen()/64) / 16)
	r := large(p, q)
	if r.BitLen() > maxIntBits {
		raiseLimit("integer of more than %d bits", maxIntBits)
	}
	return normBig(r), true
}

func add(fr *vframe, a, b any) any {
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
			fr.alloc(len(x) + len(y))
			return x + y
		case Markup:
			fr.alloc(len(x) + len(y))
			return Markup(escapeString(x)) + y
		}
	case Markup:
		if s, ok := markupOperand(fr, b); ok {
			fr.alloc(len(x) + len(s))
			return x + s
		}
	case *List:
		if y, ok := b.(*List); ok {
			fr.allocN(len(x.Items)+len(y.Items), 16)
			items := make([]any, 0, len(x.Items)+len(y.Items))
			return &List{Items: append(append(items, x.Items...), y.Items...)}
		}
		if _, ok := b.(*Undefined); !ok {
			raiseType(`can only concatenate list (not "%s") to list`, typeName(b))
		}
	case Tuple:
		if y, ok := asTuple(b); ok {
			fr.allocN(len(x)+len(y), 16)
			return append(append(make(Tuple, 0, len(x)+len(y)), x...), y...)
		}
	case *Undefined:
		raiseUndefined(x)
	case *groupTuple:
		return add(fr, x.tuple(), b)
	case bytesValue:
		if y, ok := b.(bytesValue); ok {
			fr.alloc(len(x) + len(y))
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
	if y, ok := b.(Markup); ok {
		if s, ok := markupOperand(fr, a); ok {
			return s + y
		}
	}
	checkUndefined(a, b)
	if s, ok := a.(string); ok {
		_ = s
		raiseType(`can only concatenate str (not "%s") to str`, typeName(b))
	}
	unsupported("+", a, b)
	return nil
}

// markupOperand escapes what may be added to Markup: text, or what has a form for HTML.
func markupOperand(fr *vframe, v any) (Markup, bool) {
	switch v := v.(type) {
	case string:
		return Markup(escapeString(v)), true
	case Markup:
		return v, true
	case object:
		if c := v.Class(); c.text != nil {
			return Markup(c.text(v)), true
		}
	case *Undefined:
		if v.Mode() == Chainable {
			return "", true
		}
	}
	return "", false
}

func asTuple(v any) (Tuple, bool) {
	switch v := v.(type) {
	case Tuple:
		return v, true
	case *groupTuple:
		return v.tuple(), true
	}
	return nil, false
}

// floats converts two numbers of which one is a float.
func floats(a, b any) (x, y float64, ok bool) {
	if !isFloat(a) && !isFloat(b) || !isNumber(a) || !isNumber(b) {
		return 0, 0, false
	}
	x, _ = asFloat(a)
	y, _ = asFloat(b)
	return x, y, true
}

func subtract(fr *vframe, a, b any) any {
	if r, ok := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		s := x - y
		return s, (s < x) == (y > 0)
	}, func(x, y *big.Int) *big.Int { return new(big.Int).Sub(x, y) }); ok {
		return r
	}
	if x, y, ok := floats(a, b); ok {
		return x - y
	}
	if s, ok := setDifference(fr, a, b); ok {
		return s
	}
	unsupported("-", a, b)
	return nil
}

func multiply(fr *vframe, a, b any) any {
	if r, ok := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		hi, lo := bits.Mul64(uint64(abs64(x)), uint64(abs64(y)))
		return x * y, hi == 0 && lo < 1<<63 && x != math.MinInt64 && y != math.MinInt64
	}, func(x, y *big.Int) *big.Int { return new(big.Int).Mul(x, y) }); ok {
		return r
	}
	if x, y, ok := floats(a, b); ok {
		return x * y
	}
	checkUndefined(a, b)
	if r, ok := repeat(fr, a, b); ok {
		return r
	}
	if r, ok := repeat(fr, b, a); ok {
		return r
	}
	if isSequence(a) {
		raiseType("can't multiply sequence by non-int of type '%s'", typeName(b))
	}
	if isSequence(b) {
		raiseType("can't multiply sequence by non-int of type '%s'", typeName(a))
	}
	unsupported("*", a, b)
	return nil
}

func abs64(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

func isSequence(v any) bool {
	switch v.(type) {
	case string, Markup, *List, Tuple, *groupTuple, bytesValue:
		return true
	}
	return false
}

// repeat is sequence * count.
func repeat(fr *vframe, seq, count any) (any, bool) {
	n, large, ok := asInt(count)
	if !ok || !isSequence(seq) {
		return nil, false
	}
	if large != nil {
		raiseKind(KindRuntime, "OverflowError", "cannot fit 'int' into an index-sized integer")
	}
	n = max(n, 0)
	times := func(size, unit int) int {
		if size > 0 && n > int64(fr.limits.Memory/unit/size) {
			fr.alloc(fr.limits.Memory + 1)
		}
		if size == 0 {
			return 0
		}
		fr.allocN(size*int(n), unit)
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
	case Markup:
		return Markup(strings.Repeat(string(s), times(len(s), 1))), true
	case bytesValue:
		return bytesValue(strings.Repeat(string(s), times(len(s), 1))), true
	case *List:
		return &List{Items: items(s.Items)}, true
	case Tuple:
		return Tuple(items(s)), true
	case *groupTuple:
		return Tuple(items(s.tuple())), true
	}
	return nil, false
}
