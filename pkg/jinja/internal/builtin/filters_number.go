package builtin

import (
	"math"
	"math/big"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func numberFilters() {
	Filters["abs"] = value.NewBuiltin("abs", "x", func(fr *value.Frame, a []any) any {
		if f, ok := a[0].(float64); ok {
			return math.Abs(f)
		}
		x, large, ok := value.AsInt(a[0])
		if !ok {
			raise.Type("bad operand type for abs(): '%s'", value.TypeName(a[0]))
		}
		if large != nil || x == math.MinInt64 {
			return value.NormInt(new(big.Int).Abs(value.ToBig(x, large)))
		}
		return value.Abs64(x)
	})
	addFilter("int", "value default=0 base=10", func(fr *value.Frame, a []any) any {
		var v any
		if fr.Try(func() {
			if s, ok := value.AsStr(a[0]); ok {
				base, large, isInt := value.AsInt(value.Or(a[2], int64(10)))
				if !isInt {
					raise.Type("'%s' object cannot be interpreted as an integer", value.TypeName(a[2]))
				}
				if large != nil {
					raise.Value("int() base must be >= 2 and <= 36, or 0")
				}
				v = value.ParseInt(s, int(base))
				return
			}
			v = value.ToInt(a[0])
		}, "TypeError", "ValueError") == nil {
			return v
		}
		if fr.Try(func() { v = value.NormInt(value.ToBigInt(value.ToFloat(a[0]))) }, "TypeError", "ValueError") == nil {
			return v
		}
		return value.Or(a[1], int64(0))
	})
	addFilter("float", "value default=0.0", func(fr *value.Frame, a []any) any {
		var v any
		if fr.Try(func() { v = value.ToFloat(a[0]) }, "TypeError", "ValueError") == nil {
			return v
		}
		return value.Or(a[1], 0.0)
	})
	addFilter("round", "value precision=0 method='common'", roundFilter)
	addFilter("filesizeformat", "value binary=False", fileSize)
}

func fileSize(fr *value.Frame, a []any) any {
	n := value.ToFloat(a[0])
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if value.OrBool(a[1], false) {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case n == 1:
		return "1 Byte"
	case n < base:
		return value.Str(fr, value.NormInt(value.ToBigInt(n))) + " Bytes"
	}
	unit := base
	for i, name := range units {
		unit *= base
		if n < unit || i == len(units)-1 {
			return operator.FixedPoint(fr, base*n/unit, 1) + " " + name
		}
	}
	return nil
}
