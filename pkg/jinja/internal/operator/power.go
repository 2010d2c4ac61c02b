package operator

import (
	"math"
	"math/big"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Power is a ** b.
func Power(fr *value.Frame, a, b any) any {
	if !value.IsNumber(a) || !value.IsNumber(b) {
		unsupported("** or pow()", a, b)
	}
	x, bx, intA := value.AsInt(a)
	y, by, intB := value.AsInt(b)
	if intA && intB {
		exp := value.ToBig(y, by)
		if exp.Sign() >= 0 {
			return intPower(fr, value.ToBig(x, bx), exp)
		}
	}
	f, _ := value.AsFloat(a)
	g, _ := value.AsFloat(b)
	if f == 0 && g < 0 {
		zeroDivision("0.0 cannot be raised to a negative power")
	}
	if f < 0 && !math.IsInf(f, 0) && g != math.Trunc(g) && !math.IsInf(g, 0) {
		raise.Named("TypeError", "a negative number to a fractional power is complex, which is not supported")
	}
	fr.Work(64)
	r := floatPower(f, g)
	if math.IsInf(r, 0) && !math.IsInf(f, 0) && !math.IsInf(g, 0) {
		raise.Named("OverflowError", "(34, 'Numerical result out of range')")
	}
	return r
}

func intPower(fr *value.Frame, base, exp *big.Int) any {
	if base.IsInt64() && value.Abs64(base.Int64()) <= 1 {
		switch {
		case base.Sign() == 0 && exp.Sign() != 0:
			return int64(0)
		case base.Sign() < 0 && exp.Bit(0) == 1:
			return int64(-1)
		}
		return int64(1)
	}
	if !exp.IsInt64() || exp.Int64() > int64(value.MaxIntBits/max(base.BitLen()-1, 1)) {
		raise.Limit("integer of more than %d bits", value.MaxIntBits)
	}
	size := base.BitLen() * int(exp.Int64())
	fr.Alloc(16 + size/8)
	fr.Work(size / 64 * (1 + size/64) / 64)
	return value.NormInt(new(big.Int).Exp(base, exp, nil))
}

// floatPower is x ** y, rounded correctly. The C library that Python calls is nearly
// always as exact; math.Pow is not.
func floatPower(x, y float64) float64 {
	plain := math.Pow(x, y)
	if math.IsNaN(x) || math.IsNaN(y) || math.IsInf(x, 0) || math.IsInf(y, 0) || x == 0 || y == 0 || x == 1 ||
		math.IsNaN(plain) || math.IsInf(plain, 0) || math.Abs(plain) < 1e-300 || math.Abs(y) < 1e-9 || math.Abs(y) > 1e15 {
		return plain
	}
	const prec = 256
	base := new(big.Float).SetPrec(prec).SetFloat64(math.Abs(x))
	whole, frac := math.Modf(math.Abs(y))
	result := big.NewFloat(1).SetPrec(prec)
	square := new(big.Float).SetPrec(prec).Set(base)
	for n := uint64(whole); n > 0; n >>= 1 {
		if n&1 == 1 {
			result.Mul(result, square)
		}
		square.Mul(square, square)
		if square.IsInf() {
			return plain
		}
	}
	// The fraction is a sum of powers of 1/2, each a repeated square root.
	root := base
	for range 100 {
		if frac == 0 {
			break
		}
		root = new(big.Float).SetPrec(prec).Sqrt(root)
		if frac *= 2; frac >= 1 {
			frac--
			result.Mul(result, root)
		}
	}
	if y < 0 {
		result.Quo(big.NewFloat(1).SetPrec(prec), result)
	}
	f, _ := result.Float64()
	return math.Copysign(f, plain)
}
