package method

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func numberMethods() {
	intOf := func(v any) *big.Int {
		x, large, _ := value.AsInt(v)
		return value.ToBig(x, large)
	}
	m := intMethods
	m.Add("bit_length", "/", func(fr *value.Frame, recv any, _ []any) any { return int64(intOf(recv).BitLen()) })
	m.Add("bit_count", "/", func(fr *value.Frame, recv any, _ []any) any {
		n := int64(0)
		for _, w := range new(big.Int).Abs(intOf(recv)).Bits() {
			for ; w != 0; w &= w - 1 {
				n++
			}
		}
		return n
	})
	m.Add("conjugate", "/", func(fr *value.Frame, recv any, _ []any) any { return operator.Positive(fr, recv) })
	m.Add("as_integer_ratio", "/", func(fr *value.Frame, recv any, _ []any) any {
		return value.Tuple{operator.Positive(fr, recv), int64(1)}
	})
	m.addRaw("to_bytes", intToBytes)
	m.addRaw("from_bytes", intFromBytes)
	f := floatMethods
	f.Add("fromhex", "/string", floatFromHex)
	f.Add("is_integer", "/", func(fr *value.Frame, recv any, _ []any) any {
		x := recv.(float64)
		return x == math.Trunc(x) && !math.IsInf(x, 0)
	})
	f.Add("conjugate", "/", func(fr *value.Frame, recv any, _ []any) any { return recv })
	f.Add("hex", "/", func(fr *value.Frame, recv any, _ []any) any { return floatHex(recv.(float64)) })
	f.Add("as_integer_ratio", "/", func(fr *value.Frame, recv any, _ []any) any {
		x := recv.(float64)
		if math.IsInf(x, 0) {
			raise.Named("OverflowError", "cannot convert Infinity to integer ratio")
		}
		if math.IsNaN(x) {
			raise.Value("cannot convert NaN to integer ratio")
		}
		r := new(big.Rat).SetFloat64(x)
		return value.Tuple{value.NormInt(r.Num()), value.NormInt(r.Denom())}
	})
}

// floatHex is float.hex.
func floatHex(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return pystr.FloatRepr(x)
	case x == 0:
		if math.Signbit(x) {
			return "-0x0.0p+0"
		}
		return "0x0.0p+0"
	}
	s := strconv.FormatFloat(x, 'x', 13, 64)
	mantissa, exp, _ := strings.Cut(s, "p")
	n, _ := strconv.Atoi(exp)
	return fmt.Sprintf("%sp%+d", mantissa, n)
}

// byteOrder reads the argument byteorder of to_bytes and from_bytes.
func byteOrder(v any) (little bool) {
	order := "big"
	if v != value.Missing {
		order = value.StrArg(v, "byteorder")
	}
	if order != "big" && order != "little" {
		raise.Value("byteorder must be either 'little' or 'big'")
	}
	return order == "little"
}

var (
	toBytesSpec   = &value.Callable{Name: "to_bytes", Params: []string{"length", "byteorder", "signed"}}
	fromBytesSpec = &value.Callable{Name: "from_bytes", Params: []string{"bytes", "byteorder", "signed"}, Required: 1}
)

// intToBytes is int.to_bytes.
func intToBytes(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
	if len(args) > 2 {
		raise.Type("to_bytes() takes at most 2 positional arguments (%d given)", len(args))
	}
	a := value.Bind(toBytesSpec, args, kw)
	n, signed := value.IntOr(a[0], 1), a[2] != value.Missing && value.Truth(a[2])
	little := byteOrder(a[1])
	if n < 0 {
		raise.Value("length argument must be non-negative")
	}
	small, large, _ := value.AsInt(recv)
	x := value.ToBig(small, large)
	if x.Sign() < 0 && !signed {
		raise.Named("OverflowError", "can't convert negative int to unsigned")
	}
	fr.Alloc(n)
	bits := x.BitLen()
	if signed {
		if bits++; x.Sign() < 0 && x.TrailingZeroBits() == uint(bits-2) {
			bits-- // -128 fits in a byte
		}
	}
	if (bits+7)/8 > n {
		raise.Named("OverflowError", "int too big to convert")
	}
	if x.Sign() < 0 {
		x = new(big.Int).Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	out := x.FillBytes(make([]byte, n))
	if little {
		reverseBytes(out)
	}
	return value.Bytes(out)
}

func reverseBytes(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

// intFromBytes is int.from_bytes.
func intFromBytes(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
	if len(args) > 2 {
		raise.Type("from_bytes() takes at most 2 positional arguments (%d given)", len(args))
	}
	a := value.Bind(fromBytesSpec, args, kw)
	little := byteOrder(a[1])
	var b []byte
	switch v := a[0].(type) {
	case value.Bytes:
		b = []byte(v)
	case string, value.Markup:
		raise.Type("cannot convert 'str' object to bytes")
	default:
		if value.IteratorOf(fr, v) == nil {
			raise.Type("cannot convert '%s' object to bytes", value.TypeName(v))
		}
		for _, item := range value.Collect(fr, v) {
			n := value.IntArg(item)
			if n < 0 || n > 255 {
				raise.Value("bytes must be in range(0, 256)")
			}
			b = append(b, byte(n))
		}
	}
	if len(b) > value.MaxIntBits/8 {
		raise.Limit("integer of more than %d bits", value.MaxIntBits)
	}
	fr.Alloc(2 * len(b))
	if little {
		b = append([]byte(nil), b...)
		reverseBytes(b)
	}
	x := new(big.Int).SetBytes(b)
	if a[2] != value.Missing && value.Truth(a[2]) && len(b) > 0 && b[0] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if _, isBool := recv.(bool); isBool {
		return x.Sign() != 0
	}
	return value.NormInt(x)
}

// floatFromHex is float.fromhex.
func floatFromHex(fr *value.Frame, _ any, a []any) any {
	raw := value.StrArg(a[0], "fromhex() argument")
	s := strings.ToLower(strings.TrimFunc(raw, pystr.IsSpace))
	sign := ""
	if s != "" && (s[0] == '-' || s[0] == '+') {
		sign, s = s[:1], s[1:]
	}
	switch s {
	case "inf", "infinity", "nan":
	default:
		s = "0x" + strings.TrimPrefix(s, "0x")
		if !strings.Contains(s, "p") {
			s += "p0"
		}
	}
	f, err := strconv.ParseFloat(sign+s, 64)
	if strings.Contains(s, "_") || err != nil && !math.IsInf(f, 0) {
		raise.Value("invalid hexadecimal floating-point string")
	}
	if err != nil {
		raise.Named("OverflowError", "hexadecimal value too large to represent as a float")
	}
	return f
}
