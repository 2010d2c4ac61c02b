package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

var builtinFilters = map[string]*callable{}

func addFilter(name, params string, fn func(fr *vframe, a []any) any) *callable {
	f := spec("do_"+name, params, fn)
	builtinFilters[name] = f
	return f
}

// opt is an optional argument.
func opt(v, otherwise any) any {
	if v == missing {
		return otherwise
	}
	return v
}

func optTrue(v any, otherwise bool) bool {
	if v == missing {
		return otherwise
	}
	return truth(v)
}

func init() {
	textFilters()
	numberFilters()
	sequenceFilters()
	orderFilters()
	mapFilters()
	markupFilters()
}

func textFilters() {
	soft := func(name string, f func(string) string) {
		addFilter(name, "s", func(fr *vframe, a []any) any {
			v := softStr(fr, a[0])
			s, _ := asStr(v)
			fr.alloc(len(s))
			return like(v, f(s))
		})
	}
	soft("upper", upper)
	soft("lower", lower)
	soft("capitalize", capitalize)
	addFilter("title", "s", func(fr *vframe, a []any) any {
		s, _ := asStr(softStr(fr, a[0]))
		fr.alloc(len(s))
		return titleFilter(s)
	})
	addFilter("trim", "value chars=None", func(fr *vframe, a []any) any {
		v := softStr(fr, a[0])
		s, _ := asStr(v)
		if _, ok := v.(Markup); ok {
			if c, ok := a[1].(string); ok {
				a[1] = escapeString(c)
			}
		}
		return like(v, stripChars(s, a[1], true, true))
	})
	addFilter("center", "value width=80", func(fr *vframe, a []any) any {
		v := softStr(fr, a[0])
		s, _ := asStr(v)
		return like(v, padText(fr, s, intArg(opt(a[1], int64(80))), " ", '^'))
	})
	addFilter("replace", "s old new count=None", replaceFilter)
	addFilter("indent", "s width=4 first=False blank=False", indentFilter)
	addFilter("truncate", "s length=255 killwords=False end='...' leeway=None", truncateFilter)
	addFilter("wordwrap", "s width=79 break_long_words=True wrapstring=None break_on_hyphens=True", wordwrapFilter)
	addFilter("wordcount", "s", func(fr *vframe, a []any) any {
		s, _ := asStr(softStr(fr, a[0]))
		return int64(len(strings.FieldsFunc(s, func(r rune) bool { return !isRegexWord(r) })))
	})
	f := &callable{name: "do_format", pure: true, raw: formatFilter}
	builtinFilters["format"] = f
	addFilter("string", "s", func(fr *vframe, a []any) any { return softStr(fr, a[0]) }).posOnly = true
	addFilter("pprint", "value", func(fr *vframe, a []any) any { return pformat(fr, a[0]) })
	addFilter("urlencode", "value", urlencode)
	addFilter("tojson", "value indent=None", tojson)
	addFilter("default", "value default_value='' boolean=False", func(fr *vframe, a []any) any {
		if IsUndefined(a[0]) || optTrue(a[2], false) && !truth(a[0]) {
			return opt(a[1], "")
		}
		return a[0]
	})
	builtinFilters["d"] = builtinFilters["default"]
	addFilter("attr", "obj name", func(fr *vframe, a []any) any {
		name, ok := asStr(a[1])
		if !ok {
			raiseType("attribute name must be string, not '%s'", typeName(a[1]))
		}
		if unsafeAttr(a[0], name) {
			return unsafeUndefined(fr, a[0], name)
		}
		if _, ok := attribute(fr, a[0], name); !ok {
			return noElement(fr, a[0], name)
		}
		return getattr(fr, a[0], name)
	})
	builtinFilters["attr"].pure = true
}

// isRegexWord is \w of Python's regular expressions.
func isRegexWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return unicode.In(r, unicode.L, unicode.N)
}

// titleFilter upper-cases the first letter after white space and some brackets.
func titleFilter(s string) string {
	first := true
	item := 0
	return mapRunes(s, func(b *strings.Builder, i int, r rune) {
		sep := isSpace(r) || strings.ContainsRune("-({[<", r)
		if sep {
			first = true
			b.WriteRune(r)
			return
		}
		if first {
			_, size := utf8.DecodeRuneInString(s[i:]) // 1 for what is not UTF-8
			item = i + size
			writeUpper(b, r)
		} else {
			writeLower(b, s[item:], i-item, r)
		}
		first = false
	})
}

func replaceFilter(fr *vframe, a []any) any {
	count := -1
	if a[3] != missing && a[3] != nil {
		count = -2
	}
	limit := func() int {
		if count == -2 {
			return intArg(a[3])
		}
		return -1
	}
	if !fr.code.autoescape() {
		return replace(fr, str(fr, a[0]), str(fr, a[1]), str(fr, a[2]), limit())
	}
	var s any
	if hasHTML(a[1]) || hasHTML(a[2]) && !hasHTML(a[0]) {
		s = escape(fr, a[0])
	} else {
		s = softStr(fr, a[0])
	}
	old, to := softStr(fr, a[1]), softStr(fr, a[2])
	if m, ok := s.(Markup); ok {
		return Markup(replace(fr, string(m), string(escape(fr, old)), string(escape(fr, to)), limit()))
	}
	x, _ := asStr(old)
	y, _ := asStr(to)
	return replace(fr, s.(string), x, y, limit())
}

func indentFilter(fr *vframe, a []any) any {
	width := opt(a[1], int64(4))
	indent, ok := asStr(width)
	if !ok {
		v, isNum := repeat(fr, " ", width)
		if !isNum {
			checkUndefined(width, nil)
			raiseType("can't multiply sequence by non-int of type '%s'", typeName(width))
		}
		indent = v.(string)
	}
	_, markup := a[0].(Markup)
	if markup {
		if _, safe := width.(Markup); !safe {
			_ = indent
		}
	}
	s, isText := asStr(a[0])
	if !isText {
		checkUndefined(a[0], nil)
		add(fr, a[0], "\n")
		raiseType("'%s' object has no attribute 'splitlines'", typeName(a[0]))
	}
	lines := splitLines(s+"\n", false)
	fr.alloc(len(s))
	fr.allocN(len(lines), len(indent)+1)
	var b strings.Builder
	if optTrue(a[2], false) {
		b.WriteString(indent)
	}
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
			if line != "" || optTrue(a[3], false) {
				b.WriteString(indent)
			}
		}
		b.WriteString(line)
	}
	return like(a[0], b.String())
}

func truncateFilter(fr *vframe, a []any) any {
	length, end := opt(a[1], int64(255)), opt(a[3], "...")
	leeway := opt(a[4], nil)
	if leeway == nil {
		leeway = int64(5)
	}
	endLen := lengthOf(fr, end)
	if !order(fr, length, endLen, ">=") {
		raiseKind(KindRuntime, "AssertionError", "expected length >= %d, got %s", endLen, str(fr, length))
	}
	if !order(fr, leeway, int64(0), ">=") {
		raiseKind(KindRuntime, "AssertionError", "expected leeway >= 0, got %s", str(fr, leeway))
	}
	if order(fr, lengthOf(fr, a[0]), add(fr, length, leeway), "<=") {
		return a[0]
	}
	cut := slicing(fr, a[0], &sliceValue{nil, subtract(fr, length, endLen), nil})
	if optTrue(a[2], false) {
		return add(fr, cut, end)
	}
	s, ok := asStr(cut)
	if !ok {
		raiseType("'%s' object has no attribute 'rsplit'", typeName(cut))
	}
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		s = s[:i]
	}
	return add(fr, like(cut, s), end)
}

func lengthOf(fr *vframe, v any) int64 { return length(fr, v) }

func formatFilter(fr *vframe, args []any, kw []kwArg) any {
	if len(args) == 0 {
		raiseType("do_format() missing 1 required positional argument: 'value'")
	}
	if len(args) > 1 && len(kw) > 0 {
		raiseFilterArg("can't handle positional and keyword arguments at the same time")
	}
	v := softStr(fr, args[0])
	if len(kw) > 0 {
		d := newDict(len(kw))
		for _, k := range kw {
			d.setStr(k.name, k.val)
		}
		return modulo(fr, v, d)
	}
	return modulo(fr, v, Tuple(args[1:]))
}
