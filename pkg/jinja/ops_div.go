package jinja

import (
	"math"
	"math/big"
)

func zeroDivision(msg string) { raiseKind(KindRuntime, "ZeroDivisionError", "%s", msg) }

func divide(fr *vframe, a, b any) any {
	if !isNumber(a) || !isNumber(b) {
		unsupported("/", a, b)
	}
	if x, bx, ok := asInt(a); ok {
		if y, by, ok := asInt(b); ok {
			if bx == nil && by == nil && abs64(x) < 1<<53 && abs64(y) < 1<<53 && x != math.MinInt64 && y != math.MinInt64 {
				if y == 0 {
					zeroDivision("division by zero")
				}
				return float64(x) / float64(y)
			}
			p, q := toBig(x, bx), toBig(y, by)
			if q.Sign() == 0 {
				zeroDivision("division by zero")
			}
			fr.work(p.BitLen() / 64 * (1 + q.BitLen()/64) / 16)
			f := quotient(p, q)
			if math.IsInf(f, 0) {
				raiseKind(KindRuntime, "OverflowError", "integer division result too large for a float")
			}
			return f
		}
	}
	x, _ := asFloat(a)
	y, _ := asFloat(b)
	if y == 0 {
		zeroDivision("float division by zero")
	}
	return x / y
}

// quotient is p / q, rounded once. A fraction of big.Rat would be reduced first,
// which takes far longer than the division.
func quotient(p, q *big.Int) float64 {
	if p.Sign() == 0 {
		return 0
	}
	// 66 bits or more of the quotient decide how it rounds, with one that says
	// whether anything was left.
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

func floorDivide(fr *vframe, a, b any) any {
	if !isNumber(a) || !isNumber(b) {
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
		q, _ := bigDivmod(x, y)
		return q
	})
	return r
}

func checkZeroInt(v any, msg string) {
	if x, large, ok := asInt(v); ok && large == nil && x == 0 {
		zeroDivision(msg)
	}
}

// bigDivmod divides with the quotient rounded down.
func bigDivmod(x, y *big.Int) (q, r *big.Int) {
	q, r = new(big.Int).QuoRem(x, y, new(big.Int))
	if r.Sign() != 0 && (r.Sign() < 0) != (y.Sign() < 0) {
		q.Sub(q, big.NewInt(1))
		r.Add(r, y)
	}
	return q, r
}

// floatDivmod is Python's divmod for floats.
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

func modulo(fr *vframe, a, b any) any {
	switch x := a.(type) {
	case string:
		fr.scan(len(x))
		return percentFormat(fr, x, b, false)
	case Markup:
		fr.scan(len(x))
		return Markup(percentFormat(fr, string(x), b, true))
	}
	if !isNumber(a) || !isNumber(b) {
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
		_, r := bigDivmod(x, y)
		return r
	})
	return r
}

func power(fr *vframe, a, b any) any {
	if !isNumber(a) || !isNumber(b) {
		unsupported("** or pow()", a, b)
	}
	x, bx, intA := asInt(a)
	y, by, intB := asInt(b)
	if intA && intB {
		exp := toBig(y, by)
		if exp.Sign() >= 0 {
			return intPower(fr, toBig(x, bx), exp)
		}
	}
	f, _ := asFloat(a)
	g, _ := asFloat(b)
	if f == 0 && g < 0 {
		zeroDivision("0.0 cannot be raised to a negative power")
	}
	if f < 0 && !math.IsInf(f, 0) && g != math.Trunc(g) && !math.IsInf(g, 0) {
		raiseKind(KindRuntime, "TypeError", "a negative number to a fractional power is complex, which is not supported")
	}
	fr.work(64)
	r := floatPower(f, g)
	if math.IsInf(r, 0) && !math.IsInf(f, 0) && !math.IsInf(g, 0) {
		raiseKind(KindRuntime, "OverflowError", "(34, 'Numerical result out of range')")
	}
	return r
}

func intPower(fr *vframe, base, exp *big.Int) any {
	if base.IsInt64() && abs64(base.Int64()) <= 1 {
		switch {
		case base.Sign() == 0 && exp.Sign() != 0:
			return int64(0)
		case base.Sign() < 0 && exp.Bit(0) == 1:
			return int64(-1)
		}
		return int64(1)
	}
	if !exp.IsInt64() || exp.Int64() > int64(maxIntBits/max(base.BitLen()-1, 1)) {
		raiseLimit("integer of more than %d bits", maxIntBits)
	}
	size := base.BitLen() * int(exp.Int64())
	fr.alloc(16 + size/8)
	fr.work(size / 64 * (1 + size/64) / 64)
	return normBig(new(big.Int).Exp(base, exp, nil))
}

func negate(fr *vframe, v any) any {
	switch v := v.(type) {
	case float64:
		return -v
	case *Undefined:
		raiseUndefined(v)
	}
	x, large, ok := asInt(v)
	if !ok {
		raiseType("bad operand type for unary -: '%s'", typeName(v))
	}
	if large == nil && x != math.MinInt64 {
		return -x
	}
	return normBig(new(big.Int).Neg(toBig(x, large)))
}

func positive(fr *vframe, v any) any {
	switch v := v.(type) {
	case float64:
		return v
	case *Undefined:
		raiseUndefined(v)
	}
	x, large, ok := asInt(v)
	if !ok {
		raiseType("bad operand type for unary +: '%s'", typeName(v))
	}
	return normBig(toBig(x, large))
}
