package method

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func strPredicates() {
	check := func(name string, f func(s string) bool) {
		addStr(name, "/", false, func(fr *value.Frame, s string, _ []any) any { return f(s) })
	}
	all := func(f func(r rune) bool) func(s string) bool {
		return func(s string) bool {
			for _, r := range s {
				if !f(r) {
					return false
				}
			}
			return s != ""
		}
	}
	check("isalpha", all(unicode.IsLetter))
	check("isdigit", all(pystr.IsDigit))
	check("isdecimal", all(func(r rune) bool { return unicode.Is(unicode.Nd, r) }))
	check("isnumeric", all(pystr.IsNumeric))
	check("isalnum", all(func(r rune) bool { return unicode.IsLetter(r) || pystr.IsNumeric(r) }))
	check("isspace", all(pystr.IsSpace))
	check("isascii", pystr.IsASCII)
	check("islower", pystr.IsLower)
	check("isupper", pystr.IsUpper)
	check("istitle", pystr.IsTitle)
	check("isidentifier", pystr.IsIdentifier)
	check("isprintable", func(s string) bool {
		for _, r := range s {
			if !pystr.IsPrintable(r) {
				return false
			}
		}
		return true
	})
	strMethods.addRaw("encode", func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
		s, _ := value.AsStr(recv)
		a := value.Bind(encodeSpec, args, kw)
		return encode(fr, s, a[0], a[1])
	})
	strMethods.Add("unescape", "/", func(fr *value.Frame, recv any, _ []any) any {
		s, _ := value.AsStr(recv)
		return pystr.Unescape(s)
	})
	strMethods.Add("striptags", "/", func(fr *value.Frame, recv any, _ []any) any {
		s, _ := value.AsStr(recv)
		return pystr.StripTags(s)
	})
	strMethods.Add("escape", "/s", func(fr *value.Frame, _ any, a []any) any { return value.Escape(fr, a[0]) })
	for _, name := range []string{"unescape", "striptags", "escape"} {
		strMethods[name].Bound = true
	}
	strMethods.Add("maketrans", "/x y=None z=None", func(fr *value.Frame, _ any, a []any) any { return makeTrans(fr, a) })
	addStr("translate", "/table", true, translate)
}

// makeTrans is str.maketrans.
func makeTrans(fr *value.Frame, a []any) any {
	d := value.NewDictSize(0)
	if a[1] == value.Missing {
		table, ok := a[0].(*value.Dict)
		if !ok {
			raise.Type("if you give only one argument to maketrans it must be a dict")
		}
		for k, v := range table.All() {
			if s, ok := value.AsStr(k); ok {
				if pystr.Len(s) != 1 {
					raise.Value("string keys in translate table must be of length 1")
				}
				r, _ := utf8.DecodeRuneInString(s)
				k = int64(r)
			} else if _, _, ok := value.AsInt(k); !ok {
				raise.Type("keys in translate table must be strings or integers")
			}
			d.Put(fr, k, v)
		}
		return d
	}
	from, to := []rune(value.StrArg(a[0], "maketrans() argument 1")), []rune(value.StrArg(a[1], "maketrans() argument 2"))
	if len(from) != len(to) {
		raise.Value("the first two maketrans arguments must have equal length")
	}
	for i := range from {
		d.Put(fr, int64(from[i]), int64(to[i]))
	}
	if a[2] != value.Missing {
		for _, r := range value.StrArg(a[2], "maketrans() argument 3") {
			d.Put(fr, int64(r), nil)
		}
	}
	return d
}

// translate is str.translate.
func translate(fr *value.Frame, s string, a []any) any {
	var b strings.Builder
	fr.Work(len(s))
	for _, r := range s {
		var v any
		if fr.Try(func() { v = value.Subscript(fr, a[0], int64(r)) }, "LookupError") != nil {
			b.WriteRune(r)
			continue
		}
		switch v := v.(type) {
		case nil:
		case int64:
			if v < 0 || v > unicode.MaxRune {
				raise.Value("character mapping must be in range(0x110000)")
			}
			b.WriteRune(rune(v))
		case string:
			fr.Alloc(len(v))
			b.WriteString(v)
		case value.Markup:
			b.WriteString(string(v))
		default:
			raise.Type("character mapping must return integer, None or str")
		}
	}
	fr.Alloc(b.Len())
	return b.String()
}
