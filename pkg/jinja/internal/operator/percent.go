package operator

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// percentFormat is format % arg. For Markup, the texts inserted are escaped.
func percentFormat(fr *value.Frame, format string, arg any, markup bool) string {
	p := &percent{fr: fr, s: format, markup: markup}
	if t, ok := value.AsTuple(arg); ok {
		p.args, p.tuple = t, true
	} else {
		p.args = []any{arg}
		switch arg.(type) {
		case string, value.Markup:
		case *value.Undefined, *value.Dict, *value.List, *value.Range, value.Bytes:
			p.mapping = arg
		default:
			if value.Indexed(arg) != nil {
				p.mapping = arg
			}
		}
	}
	p.run()
	if p.next < len(p.args) && p.mapping == nil {
		raise.Type("not all arguments converted during string formatting")
	}
	return p.b.String()
}

// percent is one formatting by %.
type percent struct {
	fr      *value.Frame
	s       string
	b       strings.Builder
	args    []any
	next    int
	tuple   bool
	mapping any
	markup  bool
}

func (p *percent) arg() any {
	if p.next >= len(p.args) {
		raise.Type("not enough arguments for format string")
	}
	p.next++
	return p.args[p.next-1]
}

func (p *percent) run() {
	s := p.s
	p.fr.Alloc(len(s))
	for {
		i := strings.IndexByte(s, '%')
		if i < 0 {
			p.b.WriteString(s)
			return
		}
		p.b.WriteString(s[:i])
		s = p.conversion(s[i+1:])
	}
}

// conversion formats one value. s begins after the percent sign; what follows the
// conversion is returned.
func (p *percent) conversion(s string) string {
	requireMore(s)
	keyed := s[0] == '('
	var key string
	if keyed {
		key, s = p.key(s)
	}
	flags, s := percentFlagsOf(s)
	if keyed {
		// The value is looked up before a * takes one.
		v := value.Subscript(p.fr, p.mapping, key)
		p.args, p.next = []any{v}, 0
	}
	spec := formatSpec{fill: " ", precision: -1, sign: flags.sign, alternate: flags.alternate}
	spec.width, s = p.number(s, &flags.leftAligned, false)
	requireMore(s)
	if s[0] == '.' {
		s = s[1:]
		requireMore(s)
		var negative bool
		spec.precision, s = p.number(s, &negative, true)
		if negative || spec.precision < 0 {
			spec.precision = 0
		}
	}
	requireMore(s)
	if strings.IndexByte("hlL", s[0]) >= 0 {
		s = s[1:]
	}
	requireMore(s)
	r, size := utf8.DecodeRuneInString(s)
	if r == '%' {
		p.b.WriteByte('%')
		if keyed {
			p.next = 1
		}
		return s[1:]
	}
	text, numeric := p.format(p.arg(), r, spec)
	switch {
	case flags.leftAligned:
		spec.align = '<'
		text = padSpec(p.fr, text, spec, '>')
	case flags.zero && numeric:
		text = zeroPad(p.fr, text, spec.width)
	default:
		text = padSpec(p.fr, text, spec, '>')
	}
	p.fr.Alloc(len(text))
	p.b.WriteString(text)
	return s[size:]
}

// requireMore raises an error if a conversion ends too early.
func requireMore(s string) {
	if s == "" {
		raise.Value("incomplete format")
	}
}

// key reads a key in parentheses, which may contain others. It returns what follows it, too.
func (p *percent) key(s string) (key, rest string) {
	depth, end := 0, -1
	for i := 0; i < len(s) && end < 0; i++ {
		switch s[i] {
		case '(':
			depth++
		case ')':
			if depth--; depth == 0 {
				end = i
			}
		}
	}
	if p.mapping == nil {
		raise.Type("format requires a mapping")
	}
	if end < 0 {
		raise.Value("incomplete format key")
	}
	return s[1:end], s[end+1:]
}

// percentFlags are the flags of a conversion.
type percentFlags struct {
	leftAligned, alternate, zero bool
	sign                         byte // +, space or 0
}

// percentFlagsOf reads the flags of a conversion, and returns what follows them, too.
func percentFlagsOf(s string) (f percentFlags, rest string) {
	for {
		requireMore(s)
		switch s[0] {
		case '-':
			f.leftAligned = true
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		case '#':
			f.alternate = true
		case '0':
			f.zero = true
		default:
			return f, s
		}
		s = s[1:]
	}
}

// zeroPad inserts zeros between the sign or prefix of a number and its digits.
func zeroPad(fr *value.Frame, s string, width int) string {
	n := width - len(s)
	if n <= 0 {
		return s
	}
	fr.Alloc(n)
	i := 0
	if s != "" && (s[0] == '-' || s[0] == '+' || s[0] == ' ') {
		i = 1
	}
	if len(s) > i+1 && s[i] == '0' && strings.IndexByte("xXo", s[i+1]) >= 0 {
		i += 2
	}
	return s[:i] + strings.Repeat("0", n) + s[i:]
}

// number reads a width or a precision: digits, or a * that takes an argument.
func (p *percent) number(s string, negative *bool, precision bool) (int, string) {
	if s != "" && s[0] == '*' {
		v := p.arg()
		x, large, ok := value.AsInt(v)
		if !ok {
			raise.Type("* wants int")
		}
		if large != nil || precision && (x > math.MaxInt32 || x < math.MinInt32) || x == math.MinInt64 {
			raise.Named("OverflowError", "Python int too large to convert to C int")
		}
		if x < 0 {
			*negative = true
			x = -x
		}
		return int(x), s[1:]
	}
	n := 0
	for s != "" && s[0] >= '0' && s[0] <= '9' {
		digit := int(s[0] - '0')
		if n > (math.MaxInt-digit)/10 || precision && n > (math.MaxInt32-digit)/10 {
			raise.Value("width too big")
		}
		n = n*10 + digit
		s = s[1:]
	}
	return n, s
}

// format converts one value; numeric means that it may be padded with zeros.
func (p *percent) format(v any, conv rune, f formatSpec) (text string, numeric bool) {
	fr := p.fr
	switch conv {
	case 's', 'r', 'a':
		return p.text(v, conv, f.precision), false
	case 'd', 'i', 'u', 'o', 'x', 'X':
		return p.integer(v, byte(conv), f), true
	case 'e', 'E', 'f', 'F', 'g', 'G':
		x := percentFloat(v)
		if f.precision < 0 {
			f.precision = 6
		}
		fr.Alloc(f.precision)
		s := formatFixed(fr, math.Abs(x), byte(conv)|0x20, f.precision, f.alternate)
		if conv < 'a' {
			s = strings.ToUpper(s)
		}
		return signOf(math.Signbit(x) && !math.IsNaN(x), f.sign) + s, true
	case 'c':
		return p.char(v), false
	}
	raise.Value("unsupported format character '%c' (0x%x) at index %d", conv, conv, strings.IndexRune(p.s, conv))
	return "", false
}

func (p *percent) text(v any, conv rune, precision int) string {
	var s string
	switch {
	case conv == 's' && p.markup:
		s = string(value.Escape(p.fr, v))
	case conv == 's':
		s = value.Str(p.fr, v)
	default:
		s = value.ReprIn(p.fr, v)
		if p.markup {
			s = string(value.Escape(p.fr, s))
		}
		if conv == 'a' {
			s = pystr.ASCIIRepr(s)
		}
	}
	if precision >= 0 && precision < pystr.Len(s) {
		s = pystr.Slice(s, 0, 1, int64(precision))
	}
	return s
}

// integer formats %d, %x and the like.
func (p *percent) integer(v any, conv byte, spec formatSpec) string {
	var number *big.Int
	hex := conv == 'o' || conv == 'x' || conv == 'X'
	if x, large, ok := value.AsInt(v); ok {
		if p.markup && hex {
			raise.Type("%%%c format: an integer is required, not _MarkupEscapeHelper", conv)
		}
		number = value.ToBig(x, large)
	} else if hex {
		raise.Type("%%%c format: an integer is required, not %s", conv, value.TypeName(v))
	} else if x, ok := v.(float64); ok {
		number = value.ToBigInt(x)
	} else if u, ok := v.(*value.Undefined); ok {
		value.RaiseUndefined(u)
	} else if s, ok := value.AsStr(v); ok && p.markup {
		n, large, _ := value.AsInt(value.ParseInt(s, 10))
		number = value.ToBig(n, large)
	} else {
		raise.Type("%%%c format: a real number is required, not %s", conv, value.TypeName(v))
	}
	abs := new(big.Int).Abs(number)
	p.fr.Alloc(number.BitLen())
	var digits string
	prefix := ""
	switch conv {
	case 'o':
		digits, prefix = abs.Text(8), "0o"
	case 'x':
		digits, prefix = abs.Text(16), "0x"
	case 'X':
		digits, prefix = strings.ToUpper(abs.Text(16)), "0X"
	default:
		digits = value.BigString(abs)
	}
	if !spec.alternate {
		prefix = ""
	}
	if n := spec.precision - len(digits); n > 0 {
		p.fr.Alloc(n)
		digits = strings.Repeat("0", n) + digits
	}
	return signOf(number.Sign() < 0, spec.sign) + prefix + digits
}

// percentFloat returns the argument of %f and the like.
func percentFloat(v any) float64 {
	if x, ok := value.AsFloat(v); ok {
		return x
	}
	if u, ok := v.(*value.Undefined); ok {
		value.RaiseUndefined(u)
	}
	raise.Type("must be real number, not %s", value.TypeName(v))
	return 0
}

// char formats %c.
func (p *percent) char(v any) string {
	if p.markup {
		raise.Type("%%c requires int or char")
	}
	if s, ok := value.AsStr(v); ok {
		if pystr.Len(s) != 1 {
			raise.Type("%%c requires int or char")
		}
		return s
	}
	x, large, ok := value.AsInt(v)
	if !ok {
		raise.Type("%%c requires int or char")
	}
	if large != nil || x < 0 || x > utf8.MaxRune {
		raise.Named("OverflowError", "%%c arg not in range(0x110000)")
	}
	return string(rune(x))
}
