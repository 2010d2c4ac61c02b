package operator

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// FormatValue is format(v, spec).
func FormatValue(fr *value.Frame, v any, s string) string {
	switch v := v.(type) {
	case string:
		if s == "" {
			return v
		}
		return formatText(fr, v, parseFormatSpec(fr, s, "str"))
	case value.Markup:
		if s == "" {
			return string(v)
		}
		return formatText(fr, string(v), parseFormatSpec(fr, s, "Markup"))
	case bool:
		if s == "" {
			return value.Str(fr, v)
		}
		return formatInt(fr, v, parseFormatSpec(fr, s, "bool"))
	case int64, *big.Int:
		if s == "" {
			return value.Str(fr, v)
		}
		return formatInt(fr, v, parseFormatSpec(fr, s, "int"))
	case float64:
		if s == "" {
			return pystr.FloatRepr(v)
		}
		return formatFloat(fr, v, parseFormatSpec(fr, s, "float"), "float")
	}
	if s != "" {
		raise.Type("unsupported format string passed to %s.__format__", value.TypeName(v))
	}
	return value.Str(fr, v)
}

func formatText(fr *value.Frame, s string, spec formatSpec) string {
	if spec.typ != 0 && spec.typ != 's' {
		raise.Value("Unknown format code '%c' for object of type 'str'", spec.typ)
	}
	switch {
	case spec.sign == ' ':
		raise.Value("Space not allowed in string format specifier")
	case spec.sign != 0:
		raise.Value("Sign not allowed in string format specifier")
	case spec.zeroNeg:
		raise.Value("Negative zero coercion (z) not allowed in string format specifier")
	case spec.alternate:
		raise.Value("Alternate form (#) not allowed in string format specifier")
	case spec.grouping != 0:
		raise.Value("Cannot specify '%c' with 's'.", spec.grouping)
	case spec.align == '=':
		// A zero before the width means this alignment for numbers only.
		if spec.fill != "0" {
			raise.Value("'=' alignment not allowed in string format specifier")
		}
		spec.align = '<'
	}
	if spec.precision >= 0 && spec.precision < pystr.Len(s) {
		s = pystr.Slice(s, 0, 1, int64(spec.precision))
	}
	return padSpec(fr, s, spec, '<')
}

// padSpec pads a string; the caller has handled the alignment '='.
func padSpec(fr *value.Frame, s string, f formatSpec, otherwise byte) string {
	n := f.width - pystr.Len(s)
	if n <= 0 {
		return s
	}
	fr.Alloc(n*len(f.fill) + len(s))
	left := 0
	switch align := f.align; {
	case align == '>' || align == 0 && otherwise == '>' || align == '=':
		left = n
	case align == '^':
		left = n / 2
	}
	return strings.Repeat(f.fill, left) + s + strings.Repeat(f.fill, n-left)
}

func formatInt(fr *value.Frame, v any, spec formatSpec) string {
	x, large, _ := value.AsInt(v)
	number := value.ToBig(x, large)
	name := value.TypeName(v)
	var digits, prefix string
	abs := new(big.Int).Abs(number)
	fr.Alloc(number.BitLen())
	switch spec.typ {
	case 0, 'd', 'n':
		digits = value.BigString(abs)
	case 'b':
		digits, prefix = abs.Text(2), "0b"
	case 'o':
		digits, prefix = abs.Text(8), "0o"
	case 'x':
		digits, prefix = abs.Text(16), "0x"
	case 'X':
		digits, prefix = strings.ToUpper(abs.Text(16)), "0X"
	case 'c':
		if spec.sign != 0 {
			raise.Value("Sign not allowed with integer format specifier 'c'")
		}
		if spec.alternate {
			raise.Value("Alternate form (#) not allowed with integer format specifier 'c'")
		}
		if spec.precision >= 0 {
			raise.Value("Precision not allowed in integer format specifier")
		}
		if !number.IsInt64() || number.Sign() < 0 || number.Int64() > 0x10ffff {
			raise.Named("OverflowError", "%%c arg not in range(0x110000)")
		}
		return padSpec(fr, string(rune(number.Int64())), spec, '>')
	case 'e', 'E', 'f', 'F', 'g', 'G', '%':
		return formatFloat(fr, value.BigToFloat(number), spec, name)
	default:
		raise.Value("Unknown format code '%c' for object of type '%s'", spec.typ, name)
	}
	if spec.precision >= 0 {
		raise.Value("Precision not allowed in integer format specifier")
	}
	if spec.zeroNeg {
		raise.Value("Negative zero coercion (z) not allowed in integer format specifier")
	}
	if !spec.alternate {
		prefix = ""
	}
	groupSize := 3
	if spec.typ == 'b' || spec.typ == 'o' || spec.typ == 'x' || spec.typ == 'X' {
		groupSize = 4
	}
	return assemble(fr, signOf(number.Sign() < 0, spec.sign), prefix, digits, "", spec, groupSize)
}

// signOf returns the sign that a number is written with.
func signOf(negative bool, mode byte) string {
	switch {
	case negative:
		return "-"
	case mode == '+':
		return "+"
	case mode == ' ':
		return " "
	}
	return ""
}

// assemble joins and pads the parts of a number. digits are grouped; rest follows
// them.
func assemble(fr *value.Frame, sign, prefix, digits, rest string, f formatSpec, groupSize int) string {
	fixed := len(sign) + len(prefix) + len(rest)
	if f.grouping != 0 {
		minLen := 0
		if f.align == '=' && f.fill == "0" {
			minLen = f.width - fixed
		}
		digits = group(digits, f.grouping, groupSize, minLen)
	}
	s := sign + prefix + digits + rest
	if f.align == '=' {
		if n := f.width - pystr.Len(s); n > 0 {
			fr.Alloc(n * len(f.fill))
			return sign + prefix + strings.Repeat(f.fill, n) + digits + rest
		}
		return s
	}
	return padSpec(fr, s, f, '>')
}

// group inserts separators into digits, after zeros up to a minimum length.
func group(digits string, sep byte, groupSize, minLen int) string {
	var parts []string
	length := 0
	for {
		n := min(groupSize, len(digits))
		part := digits[len(digits)-n:]
		digits = digits[:len(digits)-n]
		if len(parts) > 0 {
			length++
		}
		if digits == "" {
			// Zeros fill up to the length, with separators between them.
			need := minLen - length - len(part)
			for need > 0 && len(part) < groupSize {
				part = "0" + part
				need--
			}
			parts = append(parts, part)
			length += len(part)
			for minLen > length {
				k := min(groupSize, max(1, minLen-length-1))
				parts = append(parts, strings.Repeat("0", k))
				length += k + 1
			}
			break
		}
		parts = append(parts, part)
		length += len(part)
	}
	var b strings.Builder
	for i := len(parts) - 1; i >= 0; i-- {
		b.WriteString(parts[i])
		if i > 0 {
			b.WriteByte(sep)
		}
	}
	return b.String()
}

func formatFloat(fr *value.Frame, x float64, spec formatSpec, name string) string {
	var text string
	precision := spec.precision
	if precision > 1<<20 {
		fr.Alloc(precision)
	}
	if spec.precision > math.MaxInt32 {
		raise.Value("precision too big")
	}
	typ := spec.typ
	suffix := ""
	switch typ {
	case 0:
		if precision < 0 {
			text = pystr.FloatRepr(math.Abs(x))
			if spec.alternate && !strings.ContainsAny(text, ".en") {
				text += "."
			}
		} else {
			text = formatG(math.Abs(x), max(precision, 1), spec.alternate, true)
		}
	case 'e', 'E', 'f', 'F', '%', 'g', 'G', 'n':
		if precision < 0 {
			precision = 6
		}
		a := math.Abs(x)
		if typ == '%' {
			a, suffix = a*100, "%"
		}
		text = formatFixed(fr, a, typ|0x20, precision, spec.alternate)
	default:
		raise.Value("Unknown format code '%c' for object of type '%s'", typ, name)
	}
	if typ == 'E' || typ == 'F' || typ == 'G' {
		text = strings.ToUpper(text)
	}
	negative := math.Signbit(x) && !math.IsNaN(x)
	if negative && spec.zeroNeg && strings.Trim(text, "0.e+-") == "" {
		negative = false
	}
	digits, rest := text, ""
	if i := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
		digits, rest = text[:i], text[i:]
	}
	return assemble(fr, signOf(negative, spec.sign), "", digits, rest+suffix, spec, 3)
}

// formatFixed formats a non-negative number in the style e, f, g or %.
func formatFixed(fr *value.Frame, a float64, typ byte, precision int, alternate bool) string {
	if math.IsInf(a, 0) || math.IsNaN(a) {
		return pystr.FloatRepr(a)
	}
	fr.Alloc(precision + 330)
	switch typ {
	case 'e':
		s := strconv.FormatFloat(a, 'e', precision, 64)
		if alternate && precision == 0 {
			s = strings.Replace(s, "e", ".e", 1)
		}
		return s
	case 'g', 'n':
		return formatG(a, max(precision, 1), alternate, false)
	}
	s := strconv.FormatFloat(a, 'f', precision, 64)
	if alternate && precision == 0 {
		s += "."
	}
	return s
}

// formatG formats a non-negative number in the style g. With reprLike a digit follows
// the point.
func formatG(a float64, precision int, alternate, reprLike bool) string {
	if math.IsInf(a, 0) || math.IsNaN(a) {
		return pystr.FloatRepr(a)
	}
	e := strconv.FormatFloat(a, 'e', precision-1, 64)
	mantissa, expText, _ := strings.Cut(e, "e")
	exp, _ := strconv.Atoi(expText)
	limit := precision
	if reprLike {
		limit = precision - 1
	}
	if exp < -4 || exp >= max(limit, 0) && !(reprLike && exp < limit) && exp >= limit {
		if !alternate && strings.Contains(mantissa, ".") {
			mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
		}
		if alternate && !strings.Contains(mantissa, ".") {
			mantissa += "."
		}
		return mantissa + "e" + expText
	}
	s := strconv.FormatFloat(a, 'f', max(precision-1-exp, 0), 64)
	if !alternate && strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if reprLike && !strings.Contains(s, ".") {
		s += ".0"
	} else if alternate && !strings.Contains(s, ".") {
		s += "."
	}
	return s
}

// FixedPoint formats a number with the given number of digits after the point.
func FixedPoint(fr *value.Frame, x float64, precision int) string {
	return formatFloat(fr, x, formatSpec{fill: " ", precision: precision, typ: 'f'}, "float")
}
