package jinja

import (
	"math"
	"math/big"
	"strconv"
	"strings"
)

func numberFilters() {
	builtinFilters["abs"] = positional("abs", "x", func(fr *vframe, a []any) any {
		if f, ok := a[0].(float64); ok {
			return math.Abs(f)
		}
		x, large, ok := asInt(a[0])
		if !ok {
			raiseType("bad operand type for abs(): '%s'", typeName(a[0]))
		}
		if large != nil || x == math.MinInt64 {
			return normBig(new(big.Int).Abs(toBig(x, large)))
		}
		return abs64(x)
	})
	addFilter("int", "value default=0 base=10", func(fr *vframe, a []any) any {
		var v any
		if fr.try(func() {
			if s, ok := asStr(a[0]); ok {
				base, large, isInt := asInt(opt(a[2], int64(10)))
				if !isInt {
					raiseType("'%s' object cannot be interpreted as an integer", typeName(a[2]))
				}
				if large != nil {
					raiseValue("int() base must be >= 2 and <= 36, or 0")
				}
				v = parseInt(s, int(base))
				return
			}
			v = toInt(a[0])
		}, "TypeError", "ValueError") == nil {
			return v
		}
		if fr.try(func() { v = normBig(toBigInt(toFloat(a[0]))) }, "TypeError", "ValueError") == nil {
			return v
		}
		return opt(a[1], int64(0))
	})
	addFilter("float", "value default=0.0", func(fr *vframe, a []any) any {
		var v any
		if fr.try(func() { v = toFloat(a[0]) }, "TypeError", "ValueError") == nil {
			return v
		}
		return opt(a[1], 0.0)
	})
	addFilter("round", "value precision=0 method='common'", roundFilter)
	addFilter("filesizeformat", "value binary=False", fileSize)
}

// toInt is int(v) for what is not text.
func toInt(v any) any {
	if x, large, ok := asInt(v); ok {
		return normBig(toBig(x, large))
	}
	switch v := v.(type) {
	case float64:
		return normBig(toBigInt(v))
	case *Undefined:
		raiseUndefined(v)
	}
	raiseType("int() argument must be a string, a bytes-like object or a real number, not '%s'", typeName(v))
	return nil
}

// toFloat is float(v).
func toFloat(v any) float64 {
	if f, ok := asFloat(v); ok {
		return f
	}
	if s, ok := asStr(v); ok {
		t := strings.ToLower(asciiDigits(strings.TrimFunc(s, isSpace)))
		bad := strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") || strings.Contains(t, "__") || strings.ContainsAny(t, "xp")
		for i := 1; i+1 < len(t) && !bad; i++ {
			bad = t[i] == '_' && (t[i-1] < '0' || t[i-1] > '9' || t[i+1] < '0' || t[i+1] > '9')
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
		if ne, ok := err.(*strconv.NumError); ok && ne.Err == strconv.ErrRange {
			err = nil
		}
		if bad || err != nil {
			raiseValue("could not convert string to float: %s", reprStart(s))
		}
		return f
	}
	if u, ok := v.(*Undefined); ok {
		raiseUndefined(u)
	}
	raiseType("float() argument must be a string or a real number, not '%s'", typeName(v))
	return 0
}

func roundFilter(fr *vframe, a []any) any {
	method := opt(a[2], "common")
	hashKey(fr, method)
	m, _ := asStr(method)
	if m != "common" && m != "ceil" && m != "floor" {
		raiseFilterArg("method must be common, ceil or floor")
	}
	precision := opt(a[1], int64(0))
	if m == "common" {
		if x, ok := a[0].(*big.Int); ok {
			fr.work(x.BitLen() / 64 * (1 + x.BitLen()/64) / 16)
		}
		return roundNumber(a[0], precision)
	}
	scale := power(fr, int64(10), precision)
	fr.work(16)
	scaled := multiply(fr, a[0], scale)
	var whole any
	if f, ok := scaled.(float64); ok {
		if m == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		whole = normBig(toBigInt(f))
	} else if _, _, ok := asInt(scaled); ok {
		whole = scaled
	} else {
		raiseType("must be real number, not %s", typeName(scaled))
	}
	return divide(fr, whole, power(fr, int64(10), precision))
}

// roundNumber is round(v, n).
func roundNumber(v, n any) any {
	if !isNumber(v) {
		if u, ok := v.(*Undefined); ok {
			raiseType("type %s doesn't define __round__ method", typeName(u))
		}
		raiseType("type %s doesn't define __round__ method", typeName(v))
	}
	f, isF := v.(float64)
	if n == nil {
		if isF {
			return normBig(toBigInt(math.RoundToEven(f)))
		}
		return positive(nil, v)
	}
	digits, large, ok := asInt(n)
	if !ok {
		raiseType("'%s' object cannot be interpreted as an integer", typeName(n))
	}
	if !isF {
		x, b, _ := asInt(v)
		if large != nil {
			if large.Sign() > 0 {
				return v
			}
			raiseLimit("round() to more digits than there can be")
		}
		return roundInt(toBig(x, b), digits, positive(nil, v))
	}
	switch {
	case large != nil:
		raiseKind(KindRuntime, "OverflowError", "Python int too large to convert to C ssize_t")
	case math.IsNaN(f) || math.IsInf(f, 0) || f == 0:
		return f
	case digits > 400:
		return f
	case digits < -400:
		return math.Copysign(0, f)
	case digits >= 0:
		r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
		if err != nil {
			raiseKind(KindRuntime, "OverflowError", "rounded value too large to represent")
		}
		return r
	}
	return roundTens(f, -digits)
}

// roundTens rounds a float to a multiple of a power of ten, exactly, halves to even.
func roundTens(f float64, n int64) any {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil)
	q := new(big.Rat).Quo(new(big.Rat).SetFloat64(f), new(big.Rat).SetInt(unit))
	whole := roundRat(q)
	r, _ := new(big.Rat).SetInt(whole.Mul(whole, unit)).Float64()
	if math.IsInf(r, 0) {
		raiseKind(KindRuntime, "OverflowError", "rounded value too large to represent")
	}
	if r == 0 {
		return math.Copysign(0, f)
	}
	return r
}

// roundRat rounds to an integer, halves to even.
func roundRat(q *big.Rat) *big.Int {
	two := big.NewInt(2)
	// floor(q + 1/2), less one where q + 1/2 was odd and exact.
	sum := new(big.Rat).Add(q, big.NewRat(1, 2))
	whole, rem := new(big.Int).DivMod(sum.Num(), sum.Denom(), new(big.Int))
	if rem.Sign() == 0 && new(big.Int).Mod(whole, two).Sign() != 0 {
		whole.Sub(whole, big.NewInt(1))
	}
	return whole
}

func roundInt(x *big.Int, digits int64, same any) any {
	if digits >= 0 {
		return same
	}
	if -digits > int64(x.BitLen())/3+2 {
		return int64(0) // ten to that power is more than twice as large
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(-digits), nil)
	whole, rest := bigDivmod(x, unit)
	switch c := rest.Lsh(rest, 1).Cmp(unit); {
	case c > 0, c == 0 && whole.Bit(0) == 1:
		whole.Add(whole, big.NewInt(1))
	}
	return normBig(whole.Mul(whole, unit))
}

func fileSize(fr *vframe, a []any) any {
	n := toFloat(a[0])
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if optTrue(a[1], false) {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case n == 1:
		return "1 Byte"
	case n < base:
		return str(fr, normBig(toBigInt(n))) + " Bytes"
	}
	unit := base
	for i, name := range units {
		unit *= base
		if n < unit || i == len(units)-1 {
			return fixedPoint(fr, base*n/unit, 1) + " " + name
		}
	}
	return nil
}
