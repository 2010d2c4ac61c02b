package operator

import (
	"math"
	"math/big"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func zeroDivision(msg string) { raise.Named("ZeroDivisionError", "%s", msg) }

// isExactFloat reports whether a float64 has the value of x and of its neighbours.
func isExactFloat(x int64) bool { return x != math.MinInt64 && value.Abs64(x) < 1<<53 }

// Divide is a / b.
func Divide(fr *value.Frame, a, b any) any {
	if !value.IsNumber(a) || !value.IsNumber(b) {
		unsupported("/", a, b)
	}
	if x, bx, ok := value.AsInt(a); ok {
		if y, by, ok := value.AsInt(b); ok {
			if bx == nil && by == nil && isExactFloat(x) && isExactFloat(y) {
				if y == 0 {
					zeroDivision("division by zero")
				}
				return float64(x) / float64(y)
			}
			p, q := value.ToBig(x, bx), value.ToBig(y, by)
			if q.Sign() == 0 {
				zeroDivision("division by zero")
			}
			fr.Work(p.BitLen() / 64 * (1 + q.BitLen()/64) / 16)
			f := quotient(p, q)
			if math.IsInf(f, 0) {
				raise.Named("OverflowError", "integer division result too large for a float")
			}
			return f
		}
	}
	x, _ := value.AsFloat(a)
	y, _ := value.AsFloat(b)
	if y == 0 {
		zeroDivision("float division by zero")
	}
	return x / y
}

// quotient returns p / q, rounded once. A big.Rat would reduce the fraction first,
// which takes far longer than the division.
func quotient(p, q *big.Int) float64 {
	if p.Sign() == 0 {
		return 0
	}
	// Rounding depends on 66 bits of the quotient, and on whether there is a
	// remainder.
	shift := 66 + q.BitLen() - p.BitLen()
	x, y := new(big.Int).Abs(p), new(big.Int).Abs(q)
	if shift >= 0 {
		x.Lsh(x, uint(shift))
	} else {
		y.Lsh(y, uint(-shift))
	}
	whole, rest := x.QuoRem(x, y, new(big.Int))
	if rest.Sign() != 0 {
		whole.SetBit(whole, 0, 1)
	}
	f := new(big.Float).SetInt(whole)
	r, _ := f.SetMantExp(f, -shift).Float64()
	if p.Sign() != q.Sign() {
		return -r
	}
	return r
}

// FloorDivide is a // b.
func FloorDivide(fr *value.Frame, a, b any) any {
	if !value.IsNumber(a) || !value.IsNumber(b) {
		unsupported("//", a, b)
	}
	if x, y, ok := floats(a, b); ok {
		if y == 0 {
			zeroDivision("float floor division by zero")
		}
		q, _ := floatDivmod(x, y)
		return q
	}
	checkZeroInt(b, "integer division or modulo by zero")
	r, _ := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		if x == math.MinInt64 && y == -1 {
			return 0, false
		}
		q := x / y
		if (x%y != 0) && ((x < 0) != (y < 0)) {
			q--
		}
		return q, true
	}, func(x, y *big.Int) *big.Int {
		q, _ := BigDivmod(x, y)
		return q
	})
	return r
}

func checkZeroInt(v any, msg string) {
	if x, large, ok := value.AsInt(v); ok && large == nil && x == 0 {
		zeroDivision(msg)
	}
}

// BigDivmod is divmod(x, y) for integers: the quotient is rounded down.
func BigDivmod(x, y *big.Int) (q, r *big.Int) {
	q, r = new(big.Int).QuoRem(x, y, new(big.Int))
	if r.Sign() != 0 && (r.Sign() < 0) != (y.Sign() < 0) {
		q.Sub(q, big.NewInt(1))
		r.Add(r, y)
	}
	return q, r
}

// floatDivmod is divmod(x, y) for floats.
func floatDivmod(x, y float64) (q, r float64) {
	r = math.Mod(x, y)
	div := (x - r) / y
	if r != 0 {
		if (y < 0) != (r < 0) {
			r += y
			div--
		}
	} else {
		r = math.Copysign(0, y)
	}
	if div != 0 {
		q = math.Floor(div)
		if div-q > 0.5 {
			q++
		}
	} else {
		q = math.Copysign(0, x/y)
	}
	return q, r
}

// Modulo is a % b, which formats strings.
func Modulo(fr *value.Frame, a, b any) any {
	switch x := a.(type) {
	case string:
		fr.Scan(len(x))
		return percentFormat(fr, x, b, false)
	case value.Markup:
		fr.Scan(len(x))
		return value.Markup(percentFormat(fr, string(x), b, true))
	}
	if !value.IsNumber(a) || !value.IsNumber(b) {
		unsupported("%", a, b)
	}
	if x, y, ok := floats(a, b); ok {
		if y == 0 {
			zeroDivision("float modulo")
		}
		_, r := floatDivmod(x, y)
		return r
	}
	checkZeroInt(b, "integer modulo by zero")
	r, _ := intOp(fr, a, b, func(x, y int64) (int64, bool) {
		if y == -1 {
			return 0, true
		}
		r := x % y
		if r != 0 && (r < 0) != (y < 0) {
			r += y
		}
		return r, true
	}, func(x, y *big.Int) *big.Int {
		_, r := BigDivmod(x, y)
		return r
	})
	return r
}

// Negate is -v.
func Negate(fr *value.Frame, v any) any {
	switch v := v.(type) {
	case float64:
		return -v
	case *value.Undefined:
		value.RaiseUndefined(v)
	}
	x, large, ok := value.AsInt(v)
	if !ok {
		raise.Type("bad operand type for unary -: '%s'", value.TypeName(v))
	}
	if large == nil && x != math.MinInt64 {
		return -x
	}
	return value.NormInt(new(big.Int).Neg(value.ToBig(x, large)))
}

// Positive is +v.
func Positive(fr *value.Frame, v any) any {
	switch v := v.(type) {
	case float64:
		return v
	case *value.Undefined:
		value.RaiseUndefined(v)
	}
	x, large, ok := value.AsInt(v)
	if !ok {
		raise.Type("bad operand type for unary +: '%s'", value.TypeName(v))
	}
	return value.NormInt(value.ToBig(x, large))
}
