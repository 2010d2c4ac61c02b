package builtin

import (
	"math"
	"math/big"
	"strconv"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func roundFilter(fr *value.Frame, a []any) any {
	method := value.Or(a[2], "common")
	value.HashKey(fr, method)
	m, _ := value.AsStr(method)
	if m != "common" && m != "ceil" && m != "floor" {
		raise.FilterArgument("method must be common, ceil or floor")
	}
	precision := value.Or(a[1], int64(0))
	if m == "common" {
		if x, ok := a[0].(*big.Int); ok {
			fr.Work(x.BitLen() / 64 * (1 + x.BitLen()/64) / 16)
		}
		return roundNumber(a[0], precision)
	}
	scale := operator.Power(fr, int64(10), precision)
	fr.Work(16)
	scaled := operator.Multiply(fr, a[0], scale)
	var whole any
	if f, ok := scaled.(float64); ok {
		if m == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		whole = value.NormInt(value.ToBigInt(f))
	} else if _, _, ok := value.AsInt(scaled); ok {
		whole = scaled
	} else {
		raise.Type("must be real number, not %s", value.TypeName(scaled))
	}
	return operator.Divide(fr, whole, operator.Power(fr, int64(10), precision))
}

// roundNumber is round(v, n).
func roundNumber(v, n any) any {
	if !value.IsNumber(v) {
		if u, ok := v.(*value.Undefined); ok {
			raise.Type("type %s doesn't define __round__ method", value.TypeName(u))
		}
		raise.Type("type %s doesn't define __round__ method", value.TypeName(v))
	}
	f, isF := v.(float64)
	if n == nil {
		if isF {
			return value.NormInt(value.ToBigInt(math.RoundToEven(f)))
		}
		return operator.Positive(nil, v)
	}
	digits, large, ok := value.AsInt(n)
	if !ok {
		raise.Type("'%s' object cannot be interpreted as an integer", value.TypeName(n))
	}
	if !isF {
		x, b, _ := value.AsInt(v)
		if large != nil {
			if large.Sign() > 0 {
				return v
			}
			raise.Limit("round() to more digits than there can be")
		}
		return roundInt(value.ToBig(x, b), digits, operator.Positive(nil, v))
	}
	switch {
	case large != nil:
		raise.Named("OverflowError", "Python int too large to convert to C ssize_t")
	case math.IsNaN(f) || math.IsInf(f, 0) || f == 0:
		return f
	case digits > 400:
		return f
	case digits < -400:
		return math.Copysign(0, f)
	case digits >= 0:
		r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
		if err != nil {
			raise.Named("OverflowError", "rounded value too large to represent")
		}
		return r
	}
	return roundTens(f, -digits)
}

// roundTens rounds a float exactly to a multiple of a power of ten, halves to even.
func roundTens(f float64, n int64) any {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil)
	q := new(big.Rat).Quo(new(big.Rat).SetFloat64(f), new(big.Rat).SetInt(unit))
	whole := roundRat(q)
	r, _ := new(big.Rat).SetInt(whole.Mul(whole, unit)).Float64()
	if math.IsInf(r, 0) {
		raise.Named("OverflowError", "rounded value too large to represent")
	}
	if r == 0 {
		return math.Copysign(0, f)
	}
	return r
}

// roundRat rounds to an integer, halves to even.
func roundRat(q *big.Rat) *big.Int {
	two := big.NewInt(2)
	// floor(q + 1/2), minus one if q + 1/2 is an odd integer.
	sum := new(big.Rat).Add(q, big.NewRat(1, 2))
	whole, rem := new(big.Int).DivMod(sum.Num(), sum.Denom(), new(big.Int))
	if rem.Sign() == 0 && new(big.Int).Mod(whole, two).Sign() != 0 {
		whole.Sub(whole, big.NewInt(1))
	}
	return whole
}

// roundInt is round(x, digits). unrounded is x as a value.
func roundInt(x *big.Int, digits int64, unrounded any) any {
	if digits >= 0 {
		return unrounded
	}
	if -digits > int64(x.BitLen())/3+2 {
		return int64(0) // x is less than half of that power of ten
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(-digits), nil)
	whole, rest := operator.BigDivmod(x, unit)
	switch c := rest.Lsh(rest, 1).Cmp(unit); {
	case c > 0, c == 0 && whole.Bit(0) == 1:
		whole.Add(whole, big.NewInt(1))
	}
	return value.NormInt(whole.Mul(whole, unit))
}
