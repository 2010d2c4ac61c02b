package jinja

import (
	"fmt"
	"strconv"
	"strings"
)

// strFormat adds str.format and str.format_map, within the sandbox.
func strFormat() {
	strMethods.addRaw("format", func(fr *vframe, recv any, args []any, kw []kwArg) any {
		d := newDict(len(kw))
		for _, k := range kw {
			d.setStr(k.name, k.val)
		}
		return formatString(fr, recv, args, d)
	})
	strMethods.addRaw("format_map", func(fr *vframe, recv any, args []any, kw []kwArg) any {
		if len(kw) > 0 {
			raiseType("format_map() takes no keyword arguments")
		}
		if len(args) != 1 {
			raiseType("format_map() takes exactly one argument (%d given)", len(args))
		}
		return formatString(fr, recv, nil, args[0])
	})
}

func formatString(fr *vframe, recv any, args []any, kwargs any) any {
	s, _ := asStr(recv)
	_, markup := recv.(Markup)
	f := &formatter{fr: fr, args: args, kwargs: kwargs, markup: markup}
	return like(recv, f.format(s, 2))
}

type formatter struct {
	fr     *vframe
	args   []any
	kwargs any
	markup bool
	auto   int  // the next automatic index
	manual bool // an explicit index was used
}

func (f *formatter) format(s string, depth int) string {
	if depth < 0 {
		raiseValue("Max string recursion exceeded")
	}
	var b strings.Builder
	for s != "" {
		i := strings.IndexAny(s, "{}")
		if i < 0 {
			b.WriteString(s)
			break
		}
		b.WriteString(s[:i])
		c := s[i]
		s = s[i+1:]
		if s != "" && s[0] == c {
			b.WriteByte(c)
			s = s[1:]
			continue
		}
		if c == '}' {
			raiseValue("Single '}' encountered in format string")
		}
		if s == "" {
			raiseValue("Single '{' encountered in format string")
		}
		var text string
		text, s = f.field(s, depth)
		f.fr.alloc(len(text))
		b.WriteString(text)
	}
	f.fr.alloc(b.Len())
	return b.String()
}

// field formats one replacement field; s begins after its brace.
func (f *formatter) field(s string, depth int) (text, rest string) {
	// The field ends at its matching brace; brackets hide what they hold.
	name, i := "", 0
	bracket := false
scan:
	for i < len(s) {
		switch c := s[i]; {
		case c == '[':
			bracket = true
		case c == ']':
			bracket = false
		case c == '{' && !bracket:
			raiseValue("unexpected '{' in field name")
		case (c == '}' || c == ':' || c == '!') && !bracket:
			break scan
		}
		i++
	}
	if i == len(s) {
		raiseValue("expected '}' before end of string")
	}
	name, s = s[:i], s[i:]
	conv := byte(0)
	if s[0] == '!' {
		if len(s) < 2 {
			raiseValue("end of string while looking for conversion specifier")
		}
		conv = s[1]
		s = s[2:]
		if conv == '}' {
			raiseValue("unmatched '{' in format spec")
		}
		if s == "" {
			raiseValue("unmatched '{' in format spec")
		}
		if s[0] != ':' && s[0] != '}' {
			raiseValue("expected ':' after conversion specifier")
		}
	}
	spec := ""
	if s[0] == ':' {
		level, j := 1, 1
		for ; j < len(s) && level > 0; j++ {
			switch s[j] {
			case '{':
				level++
			case '}':
				level--
			}
		}
		if level > 0 {
			raiseValue("unmatched '{' in format spec")
		}
		spec, s = s[1:j-1], s[j-1:]
	}
	s = s[1:]
	v := f.value(name)
	switch conv {
	case 0:
	case 's':
		v = str(f.fr, v)
	case 'r':
		v = reprIn(f.fr, v)
	case 'a':
		v = asciiRepr(reprIn(f.fr, v))
	default:
		raiseValue("Unknown conversion specifier %c", conv)
	}
	if spec != "" {
		spec = f.format(spec, depth-1)
	}
	if f.markup {
		return f.markupField(v, spec), s
	}
	return formatValue(f.fr, v, spec), s
}

// markupField formats for Markup.format: what goes in is escaped.
func (f *formatter) markupField(v any, spec string) string {
	if _, ok := v.(Markup); !ok && hasHTML(v) {
		if spec != "" {
			raiseValue("Format specifier %s given, but %s does not define __html_format__.", spec, typeName(v))
		}
		return string(escape(f.fr, v))
	}
	if m, ok := v.(Markup); ok {
		if spec != "" {
			raiseValue("Unsupported format specification for Markup.")
		}
		return string(m)
	}
	return escapeString(formatValue(f.fr, v, spec))
}

// value finds what a field name means: an argument, then its attributes and items.
func (f *formatter) value(name string) any {
	end := strings.IndexAny(name, ".[")
	first, rest := name, ""
	if end >= 0 {
		first, rest = name[:end], name[end:]
	}
	switch {
	case name == "":
		if f.manual {
			raiseValue("cannot switch from manual field specification to automatic field numbering")
		}
		first = strconv.Itoa(f.auto)
		f.auto++
	case isDecimal(name):
		if f.auto > 0 {
			raiseValue("cannot switch from manual field specification to automatic field numbering")
		}
		f.manual = true
	}
	var v any
	if isDecimal(first) {
		n, err := strconv.Atoi(first)
		if err != nil {
			raiseValue("Too many decimal digits in format string")
		}
		if n >= len(f.args) {
			// The sandbox's formatter takes it from the tuple itself.
			raiseKind(KindRuntime, "IndexError", "tuple index out of range")
		}
		v = f.args[n]
	} else {
		v = subscript(f.fr, f.kwargs, first)
	}
	for rest != "" {
		if rest[0] == '.' {
			end := strings.IndexAny(rest[1:], ".[")
			attr := rest[1:]
			rest = ""
			if end >= 0 {
				attr, rest = attr[:end], attr[end:]
			}
			if attr == "" {
				raiseValue("Empty attribute in format string")
			}
			v = getattr(f.fr, v, attr)
			continue
		}
		if rest[0] != '[' {
			raiseValue("Only '.' or '[' may follow ']' in format field specifier")
		}
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			raiseValue("Missing ']' in format string")
		}
		key := rest[1:end]
		rest = rest[end+1:]
		if key == "" {
			raiseValue("Empty attribute in format string")
		}
		if n, err := strconv.ParseInt(key, 10, 64); err == nil && isDecimal(key) {
			v = getitem(f.fr, v, n)
		} else {
			v = getitem(f.fr, v, key)
		}
	}
	return v
}

func isDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// asciiEscape is how ascii() writes a character.
func asciiEscape(r rune) string {
	switch {
	case r < 0x100:
		return fmt.Sprintf(`\x%02x`, r)
	case r < 0x10000:
		return fmt.Sprintf(`\u%04x`, r)
	}
	return fmt.Sprintf(`\U%08x`, r)
}
