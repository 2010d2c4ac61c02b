package value

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// ToInt is int(v) for values other than strings.
func ToInt(v any) any {
	if x, large, ok := AsInt(v); ok {
		return NormInt(ToBig(x, large))
	}
	switch v := v.(type) {
	case float64:
		return NormInt(ToBigInt(v))
	case *Undefined:
		RaiseUndefined(v)
	}
	raise.Type("int() argument must be a string, a bytes-like object or a real number, not '%s'", TypeName(v))
	return nil
}

// ToFloat is float(v).
func ToFloat(v any) float64 {
	if f, ok := AsFloat(v); ok {
		return f
	}
	if s, ok := AsStr(v); ok {
		t := strings.ToLower(pystr.ASCIIDigits(strings.TrimFunc(s, pystr.IsSpace)))
		bad := strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") || strings.Contains(t, "__") ||
			strings.ContainsAny(t, "xp")
		for i := 1; i+1 < len(t) && !bad; i++ {
			bad = t[i] == '_' && (t[i-1] < '0' || t[i-1] > '9' || t[i+1] < '0' || t[i+1] > '9')
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
		if ne, ok := err.(*strconv.NumError); ok && ne.Err == strconv.ErrRange {
			err = nil
		}
		if bad || err != nil {
			raise.Value("could not convert string to float: %s", reprStart(s))
		}
		return f
	}
	if u, ok := v.(*Undefined); ok {
		RaiseUndefined(u)
	}
	raise.Type("float() argument must be a string or a real number, not '%s'", TypeName(v))
	return 0
}

func newBigFrom(s string, base int) (any, bool) {
	b, ok := new(big.Int).SetString(s, base)
	if !ok {
		return nil, false
	}
	return NormInt(b), true
}

// reprStart returns the repr of a string, shortened if it is long.
func reprStart(s string) string {
	const most = 200
	if len(s) > 4*most {
		s = s[:4*most]
	}
	r := []rune(Repr(s))
	if len(r) > most {
		r = r[:most]
	}
	return string(r)
}

// ParseInt is int(s, base).
func ParseInt(s string, base int) any {
	raw := s
	bad := func() { raise.Value("invalid literal for int() with base %d: %s", base, reprStart(raw)) }
	if base != 0 && (base < 2 || base > 36) {
		raise.Value("int() base must be >= 2 and <= 36, or 0")
	}
	s = strings.TrimFunc(s, pystr.IsSpace)
	s = pystr.ASCIIDigits(s)
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	actual := base
	if len(s) > 1 && s[0] == '0' {
		prefix := map[byte]int{'x': 16, 'o': 8, 'b': 2}[s[1]|0x20]
		if prefix != 0 && (base == 0 || base == prefix) {
			actual = prefix
			s = s[2:]
			s = strings.TrimPrefix(s, "_")
		} else if base == 0 && strings.Trim(s, "0_") != "" {
			bad()
		}
	}
	if actual == 0 {
		actual = 10
	}
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") || s[0] == '-' || s[0] == '+' {
		bad()
	}
	s = strings.ReplaceAll(s, "_", "")
	if actual&(actual-1) != 0 && len(s) > pystr.MaxIntDigits {
		raise.Value("Exceeds the limit (%d digits) for integer string conversion: value has %d digits; "+
			"use sys.set_int_max_str_digits() to increase the limit", pystr.MaxIntDigits, len(s))
	}
	if neg {
		s = "-" + s
	}
	if n, err := strconv.ParseInt(s, actual, 64); err == nil {
		return n
	}
	v, ok := newBigFrom(s, actual)
	if !ok {
		bad()
	}
	return v
}

// NormInt returns an integer as int64 if it fits, else as *big.Int.
func NormInt(b *big.Int) any {
	if b.IsInt64() {
		return b.Int64()
	}
	return b
}

// AsInt returns an int or a bool: in large if it needs more than 64 bits, else in
// small.
func AsInt(v any) (small int64, large *big.Int, ok bool) {
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

// ToBig joins the two results of AsInt.
func ToBig(small int64, large *big.Int) *big.Int {
	if large != nil {
		return large
	}
	return big.NewInt(small)
}

// BigToFloat is float(b). It raises OverflowError if b is too large.
func BigToFloat(b *big.Int) float64 {
	f, _ := new(big.Float).SetInt(b).Float64()
	if math.IsInf(f, 0) {
		raise.Named("OverflowError", "int too large to convert to float")
	}
	return f
}

// AsFloat returns any number as a float.
func AsFloat(v any) (float64, bool) {
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
		return BigToFloat(v), true
	}
	return 0, false
}

// IsNumber reports whether v is a number or a bool.
func IsNumber(v any) bool {
	switch v.(type) {
	case int64, bool, float64, *big.Int:
		return true
	}
	return false
}

// IsFloat reports whether v is a float.
func IsFloat(v any) bool { _, ok := v.(float64); return ok }

// Abs64 returns the absolute value; that of the smallest integer is negative.
func Abs64(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

// ToBigInt is int(x).
func ToBigInt(x float64) *big.Int {
	if math.IsNaN(x) {
		raise.Value("cannot convert float NaN to integer")
	}
	if math.IsInf(x, 0) {
		raise.Named("OverflowError", "cannot convert float infinity to integer")
	}
	b, _ := big.NewFloat(x).Int(nil)
	return b
}

// BigString returns the decimal digits. Python refuses to write more than 4,300.
func BigString(b *big.Int) string {
	if b.BitLen() > 14285 {
		raise.Value("Exceeds the limit (%d digits) for integer string conversion", pystr.MaxIntDigits)
	}
	s := b.String()
	if len(s) > pystr.MaxIntDigits && len(strings.TrimPrefix(s, "-")) > pystr.MaxIntDigits {
		raise.Value("Exceeds the limit (%d digits) for integer string conversion", pystr.MaxIntDigits)
	}
	return s
}
