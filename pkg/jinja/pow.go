package jinja

import (
	"math"
	"math/big"
)

// floatPower is x ** y for floats, rounded correctly: the C library that Python
// calls is that exact nearly always, and math.Pow is not.
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
	// The fraction is a sum of powers of 1/2: as many square roots.
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
