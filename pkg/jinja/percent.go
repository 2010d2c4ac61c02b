package jinja

import (
	"math"
	"math/big"
	"strings"
	"unicode/utf8"
)

// percentFormat is format % arg. For Markup, text that goes in is escaped.
func percentFormat(fr *vframe, format string, arg any, markup bool) string {
	p := &percent{fr: fr, s: format, markup: markup}
	if t, ok := asTuple(arg); ok {
		p.args, p.tuple = t, true
	} else {
		p.args = []any{arg}
		switch arg.(type) {
		case string, Markup:
		case *Undefined, *Dict, *List, *rangeValue, bytesValue:
			p.mapping = arg
		default:
			if indexed(arg) != nil {
				p.mapping = arg
			}
		}
	}
	p.run()
	if p.next < len(p.args) && p.mapping == nil {
		raiseType("not all arguments converted during string formatting")
	}
	return p.b.String()
}

type percent struct {
	fr      *vframe
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
		raiseType("not enough arguments for format string")
	}
	p.next++
	return p.args[p.next-1]
}

func (p *percent) run() {
	s := p.s
	p.fr.alloc(len(s))
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

// conversion formats one value; it returns what follows the specification.
func (p *percent) conversion(s string) string {
	incomplete := func() {
		if s == "" {
			raiseValue("incomplete format")
		}
	}
	incomplete()
	keyed := false
	var key any
	if s[0] == '(' {
		depth, end := 0, -1
		for i := range len(s) {
			switch s[i] {
			case '(':
				depth++
			case ')':
				depth--
			}
			if depth == 0 {
				end = i
				break
			}
		}
		if p.mapping == nil {
			raiseType("format requires a mapping")
		}
		if end < 0 {
			raiseValue("incomplete format key")
		}
		keyed, key = true, s[1:end]
		s = s[end+1:]
	}
	f := formatSpec{fill: " ", precision: -1}
	left, zero := false, false
flags:
	for {
		incomplete()
		switch s[0] {
		case '-':
			left = true
		case '+':
			f.sign = '+'
		case ' ':
			if f.sign == 0 {
				f.sign = ' '
			}
		case '#':
			f.alternate = true
		case '0':
			zero = true
		default:
			break flags
		}
		s = s[1:]
	}
	if keyed {
		// The value is looked up before a * can take one.
		v := subscript(p.fr, p.mapping, key)
		p.args, p.next = []any{v}, 0
	}
	f.width, s = p.number(s, &left, false)
	incomplete()
	if s[0] == '.' {
		s = s[1:]
		incomplete()
		var neg bool
		f.precision, s = p.number(s, &neg, true)
		if neg || f.precision < 0 {
			f.precision = 0
		}
	}
	incomplete()
	if strings.IndexByte("hlL", s[0]) >= 0 {
		s = s[1:]
	}
	incomplete()
	r, size := utf8.DecodeRuneInString(s)
	if r == '%' {
		p.b.WriteByte('%')
		if keyed {
			p.next = 1
		}
		return s[1:]
	}
	v := p.arg()
	text, numeric := p.format(v, r, f)
	f.align, f.fill = '>', " "
	if left {
		f.align = '<'
	} else if zero && numeric {
		f.align, f.fill = '=', "0"
	}
	if f.align == '=' {
		text = zeroPad(p.fr, text, f.width)
	} else {
		text = padSpec(p.fr, text, f, '>')
	}
	p.fr.alloc(len(text))
	p.b.WriteString(text)
	return s[size:]
}

// zeroPad puts zeros between the sign or prefix of a number and its digits.
func zeroPad(fr *vframe, s string, width int) string {
	n := width - len(s)
	if n <= 0 {
		return s
	}
	fr.alloc(n)
	i := 0
	if s != "" && (s[0] == '-' || s[0] == '+' || s[0] == ' ') {
		i = 1
	}
	if len(s) > i+1 && s[i] == '0' && strings.IndexByte("xXo", s[i+1]) >= 0 {
		i += 2
	}
	return s[:i] + strings.Repeat("0", n) + s[i:]
}

func (p *percent) number(s string, negative *bool, precision bool) (int, string) {
	if s != "" && s[0] == '*' {
		v := p.arg()
		x, large, ok := asInt(v)
		if !ok {
			raiseType("* wants int")
		}
		if large != nil || precision && (x > math.MaxInt32 || x < math.MinInt32) || x == math.MinInt64 {
			raiseKind(KindRuntime, "OverflowError", "Python int too large to convert to C int")
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
			raiseValue("width too big")
		}
		n = n*10 + digit
		s = s[1:]
	}
	return n, s
}

// format converts one value; numeric ones may be padded with zeros.
func (p *percent) format(v any, conv rune, f formatSpec) (text string, numeric bool) {
	fr := p.fr
	switch conv {
	case 's', 'r', 'a':
		return p.text(v, conv, f.precision), false
	case 'd', 'i', 'u', 'o', 'x', 'X':
		return p.integer(v, byte(conv), f), true
	case 'e', 'E', 'f', 'F', 'g', 'G':
		x := percentFloat(fr, v)
		if f.precision < 0 {
			f.precision = 6
		}
		fr.alloc(f.precision)
		s := formatFixed(fr, math.Abs(x), byte(conv)|0x20, f.precision, f.alternate)
		if conv < 'a' {
			s = strings.ToUpper(s)
		}
		return signOf(math.Signbit(x) && !math.IsNaN(x), f.sign) + s, true
	case 'c':
		return p.char(v), false
	}
	raiseValue("unsupported format character '%c' (0x%x) at index %d", conv, conv, strings.IndexRune(p.s, conv))
	return "", false
}

func (p *percent) text(v any, conv rune, precision int) string {
	var s string
	switch {
	case conv == 's' && p.markup:
		s = string(escape(p.fr, v))
	case conv == 's':
		s = str(p.fr, v)
	default:
		s = reprIn(p.fr, v)
		if p.markup {
			s = string(escape(p.fr, s))
		}
		if conv == 'a' {
			s = asciiRepr(s)
		}
	}
	if precision >= 0 && precision < runeLen(s) {
		s = sliceString(s, 0, 1, int64(precision))
	}
	return s
}

func asciiRepr(s string) string {
	if isASCII(s) {
		return s
	}
	return mapRunes(s, func(b *strings.Builder, _ int, r rune) {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
			return
		}
		b.WriteString(asciiEscape(r))
	})
}

// integer is %d and its kin.
func (p *percent) integer(v any, conv byte, f formatSpec) string {
	var b *big.Int
	hex := conv == 'o' || conv == 'x' || conv == 'X'
	if x, large, ok := asInt(v); ok {
		if p.markup && hex {
			raiseType("%%%c format: an integer is required, not _MarkupEscapeHelper", conv)
		}
		b = toBig(x, large)
	} else if hex {
		raiseType("%%%c format: an integer is required, not %s", conv, typeName(v))
	} else if x, ok := v.(float64); ok {
		b = toBigInt(x)
	} else if u, ok := v.(*Undefined); ok {
		raiseUndefined(u)
	} else if s, ok := asStr(v); ok && p.markup {
		n, large, _ := asInt(parseInt(s, 10))
		b = toBig(n, large)
	} else {
		raiseType("%%%c format: a real number is required, not %s", conv, typeName(v))
	}
	abs := new(big.Int).Abs(b)
	p.fr.alloc(b.BitLen())
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
		digits = bigString(abs)
	}
	if !f.alternate {
		prefix = ""
	}
	if n := f.precision - len(digits); n > 0 {
		p.fr.alloc(n)
		digits = strings.Repeat("0", n) + digits
	}
	return signOf(b.Sign() < 0, f.sign) + prefix + digits
}

// toBigInt is int(float).
func toBigInt(x float64) *big.Int {
	if math.IsNaN(x) {
		raiseValue("cannot convert float NaN to integer")
	}
	if math.IsInf(x, 0) {
		raiseKind(KindRuntime, "OverflowError", "cannot convert float infinity to integer")
	}
	b, _ := big.NewFloat(x).Int(nil)
	return b
}

// percentFloat is the value of a %f.
func percentFloat(fr *vframe, v any) float64 {
	if x, ok := asFloat(v); ok {
		return x
	}
	if u, ok := v.(*Undefined); ok {
		raiseUndefined(u)
	}
	raiseType("must be real number, not %s", typeName(v))
	return 0
}

func (p *percent) char(v any) string {
	if p.markup {
		raiseType("%%c requires int or char")
	}
	if s, ok := asStr(v); ok {
		if runeLen(s) != 1 {
			raiseType("%%c requires int or char")
		}
		return s
	}
	x, large, ok := asInt(v)
	if !ok {
		raiseType("%%c requires int or char")
	}
	if large != nil || x < 0 || x > utf8.MaxRune {
		raiseKind(KindRuntime, "OverflowError", "%%c arg not in range(0x110000)")
	}
	return string(rune(x))
}
