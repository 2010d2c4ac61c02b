package operator

import (
	"math"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// formatSpec is a format specification, as in f"{x:>10.2f}".
type formatSpec struct {
	fill      string
	align     byte // 0, <, >, = or ^
	sign      byte // 0, +, - or space
	zeroNeg   bool // z
	alternate bool
	width     int
	grouping  byte // 0, comma or underscore
	precision int  // -1 for none
	typ       byte
}

// parseFormatSpec parses a format specification for a value of a type.
func parseFormatSpec(fr *value.Frame, s, typeName string) formatSpec {
	spec := formatSpec{fill: " ", precision: -1}
	p := &specParser{rest: []rune(s)}
	fillGiven := p.alignment(&spec)
	if c := p.peek(); c == '+' || c == '-' || c == ' ' {
		spec.sign = byte(c)
		p.skip(c)
	}
	spec.zeroNeg = p.skip('z')
	spec.alternate = p.skip('#')
	if !fillGiven && p.skip('0') {
		spec.fill = "0"
		if spec.align == 0 {
			spec.align = '='
		}
	}
	spec.width = p.number()
	spec.grouping = p.grouping()
	if p.skip('.') {
		if c := p.peek(); c < '0' || c > '9' {
			raise.Value("Format specifier missing precision")
		}
		spec.precision = p.number()
	}
	if len(p.rest) > 1 {
		raise.Value("Invalid format specifier '%s' for object of type '%s'", s, typeName)
	}
	if len(p.rest) == 1 {
		if p.rest[0] > 127 {
			raise.Value("Unknown format code '\\x%x' for object of type '%s'", p.rest[0], typeName)
		}
		spec.typ = byte(p.rest[0])
	}
	spec.checkGrouping()
	fr.AllocN(spec.width, len(spec.fill))
	return spec
}

// checkGrouping raises an error for a type that has no groups of digits.
func (f *formatSpec) checkGrouping() {
	if f.grouping == 0 {
		return
	}
	switch f.typ {
	case 0, 'd', 'e', 'f', 'g', 'E', 'G', '%', 'F':
		return
	case 'b', 'o', 'x', 'X':
		if f.grouping == '_' {
			return
		}
	}
	raise.Value("Cannot specify '%c' with '%c'.", f.grouping, f.typ)
}

// specParser reads the parts of a format specification in their order.
type specParser struct{ rest []rune }

// peek returns the next character, 0 at the end.
func (p *specParser) peek() rune {
	if len(p.rest) == 0 {
		return 0
	}
	return p.rest[0]
}

// skip skips a character, and reports whether it was the next one.
func (p *specParser) skip(c rune) bool {
	if len(p.rest) == 0 || p.rest[0] != c {
		return false
	}
	p.rest = p.rest[1:]
	return true
}

// alignment reads the alignment with the character before it that fills the width. It
// reports whether there is that character.
func (p *specParser) alignment(spec *formatSpec) bool {
	isAlign := func(c rune) bool { return c == '<' || c == '>' || c == '=' || c == '^' }
	switch {
	case len(p.rest) > 1 && isAlign(p.rest[1]):
		spec.fill, spec.align = string(p.rest[0]), byte(p.rest[1])
		p.rest = p.rest[2:]
		return true
	case isAlign(p.peek()):
		spec.align = byte(p.rest[0])
		p.rest = p.rest[1:]
	}
	return false
}

func (p *specParser) number() int {
	n := 0
	for ; p.peek() >= '0' && p.peek() <= '9'; p.rest = p.rest[1:] {
		digit := int(p.peek() - '0')
		if n > (math.MaxInt-digit)/10 {
			raise.Value("Too many decimal digits in format string")
		}
		n = n*10 + digit
	}
	return n
}

// grouping returns the separator of groups of digits, 0 for none.
func (p *specParser) grouping() byte {
	var separator byte
	if p.skip(',') {
		separator = ','
	}
	if p.skip('_') {
		if separator != 0 {
			raise.Value("Cannot specify both ',' and '_'.")
		}
		separator = '_'
	}
	if p.peek() == ',' {
		if separator == ',' {
			raise.Value("Cannot specify ',' with ','.")
		}
		raise.Value("Cannot specify both ',' and '_'.")
	}
	return separator
}
