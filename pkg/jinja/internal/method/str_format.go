package method

import (
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// strFormat adds str.format and str.format_map as the sandbox has them.
func strFormat() {
	strMethods.addRaw("format", func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
		d := value.NewDictSize(len(kw))
		for _, k := range kw {
			d.SetStr(k.Name, k.Value)
		}
		return formatString(fr, recv, args, d)
	})
	strMethods.addRaw("format_map", func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
		if len(kw) > 0 {
			raise.Type("format_map() takes no keyword arguments")
		}
		if len(args) != 1 {
			raise.Type("format_map() takes exactly one argument (%d given)", len(args))
		}
		return formatString(fr, recv, nil, args[0])
	})
}

func formatString(fr *value.Frame, recv any, args []any, kwargs any) any {
	s, _ := value.AsStr(recv)
	_, markup := recv.(value.Markup)
	f := &formatter{fr: fr, args: args, kwargs: kwargs, markup: markup}
	return value.Like(recv, f.format(s, 2))
}

// formatter is one call of str.format.
type formatter struct {
	fr     *value.Frame
	args   []any
	kwargs any
	markup bool
	auto   int  // the next automatic index
	manual bool // an explicit index was used
}

// format formats a string; depth bounds nested fields.
func (f *formatter) format(s string, depth int) string {
	if depth < 0 {
		raise.Value("Max string recursion exceeded")
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
			raise.Value("Single '}' encountered in format string")
		}
		if s == "" {
			raise.Value("Single '{' encountered in format string")
		}
		var text string
		text, s = f.field(s, depth)
		f.fr.Alloc(len(text))
		b.WriteString(text)
	}
	f.fr.Alloc(b.Len())
	return b.String()
}

// field formats one replacement field. s begins after the brace; what follows the
// field is returned.
func (f *formatter) field(s string, depth int) (text, rest string) {
	// The field ends at its matching brace. Braces in brackets do not count.
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
			raise.Value("unexpected '{' in field name")
		case (c == '}' || c == ':' || c == '!') && !bracket:
			break scan
		}
		i++
	}
	if i == len(s) {
		raise.Value("expected '}' before end of string")
	}
	name, s = s[:i], s[i:]
	conv := byte(0)
	if s[0] == '!' {
		if len(s) < 2 {
			raise.Value("end of string while looking for conversion specifier")
		}
		conv = s[1]
		s = s[2:]
		if conv == '}' {
			raise.Value("unmatched '{' in format spec")
		}
		if s == "" {
			raise.Value("unmatched '{' in format spec")
		}
		if s[0] != ':' && s[0] != '}' {
			raise.Value("expected ':' after conversion specifier")
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
			raise.Value("unmatched '{' in format spec")
		}
		spec, s = s[1:j-1], s[j-1:]
	}
	s = s[1:]
	v := f.value(name)
	switch conv {
	case 0:
	case 's':
		v = value.Str(f.fr, v)
	case 'r':
		v = value.ReprIn(f.fr, v)
	case 'a':
		v = pystr.ASCIIRepr(value.ReprIn(f.fr, v))
	default:
		raise.Value("Unknown conversion specifier %c", conv)
	}
	if spec != "" {
		spec = f.format(spec, depth-1)
	}
	if f.markup {
		return f.markupField(v, spec), s
	}
	return operator.FormatValue(f.fr, v, spec), s
}

// markupField formats a field of Markup.format, which escapes the values.
func (f *formatter) markupField(v any, spec string) string {
	if _, ok := v.(value.Markup); !ok && value.HasHTML(v) {
		if spec != "" {
			raise.Value("Format specifier %s given, but %s does not define __html_format__.", spec, value.TypeName(v))
		}
		return string(value.Escape(f.fr, v))
	}
	if m, ok := v.(value.Markup); ok {
		if spec != "" {
			raise.Value("Unsupported format specification for Markup.")
		}
		return string(m)
	}
	return pystr.Escape(operator.FormatValue(f.fr, v, spec))
}

// value returns the value of a field name: an argument, or an attribute or item of
// one.
func (f *formatter) value(name string) any {
	end := strings.IndexAny(name, ".[")
	first, rest := name, ""
	if end >= 0 {
		first, rest = name[:end], name[end:]
	}
	switch {
	case name == "":
		if f.manual {
			raise.Value("cannot switch from manual field specification to automatic field numbering")
		}
		first = strconv.Itoa(f.auto)
		f.auto++
	case pystr.IsDecimal(name):
		if f.auto > 0 {
			raise.Value("cannot switch from manual field specification to automatic field numbering")
		}
		f.manual = true
	}
	var v any
	if pystr.IsDecimal(first) {
		n, err := strconv.Atoi(first)
		if err != nil {
			raise.Value("Too many decimal digits in format string")
		}
		if n >= len(f.args) {
			// The formatter of Jinja2's sandbox indexes the tuple of arguments.
			raise.Named("IndexError", "tuple index out of range")
		}
		v = f.args[n]
	} else {
		v = value.Subscript(f.fr, f.kwargs, first)
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
				raise.Value("Empty attribute in format string")
			}
			v = Getattr(f.fr, v, attr)
			continue
		}
		if rest[0] != '[' {
			raise.Value("Only '.' or '[' may follow ']' in format field specifier")
		}
		end := strings.IndexByte(rest, ']')
		if end < 0 {
			raise.Value("Missing ']' in format string")
		}
		key := rest[1:end]
		rest = rest[end+1:]
		if key == "" {
			raise.Value("Empty attribute in format string")
		}
		if n, err := strconv.ParseInt(key, 10, 64); err == nil && pystr.IsDecimal(key) {
			v = Getitem(f.fr, v, n)
		} else {
			v = Getitem(f.fr, v, key)
		}
	}
	return v
}
