package jinja

import (
	"strings"
	"unicode/utf8"
)

var strMethods = methodTable{}

// addStr adds a method of text. For Markup, a wrapped one escapes the text it is
// given and returns Markup.
func addStr(name, params string, wrapped bool, f func(fr *vframe, s string, a []any) any) {
	strMethods.add(name, params, func(fr *vframe, recv any, a []any) any {
		s, _ := asStr(recv)
		if _, markup := recv.(Markup); !markup || !wrapped {
			return f(fr, s, a)
		}
		escaped := make([]any, len(a))
		for i, v := range a {
			if t, ok := v.(string); ok {
				v = escapeString(t)
			} else if hasHTML(v) || strings.HasSuffix(name, "partition") {
				v = string(escape(fr, v))
			}
			escaped[i] = v
		}
		return markupAll(f(fr, s, escaped))
	})
	if wrapped {
		strMethods[name].owner = "str"
	}
}

// markupAll marks text, or the texts of a list or tuple, as safe.
func markupAll(v any) any {
	switch v := v.(type) {
	case string:
		return Markup(v)
	case *List:
		for i := range v.Items {
			v.Items[i] = markupAll(v.Items[i])
		}
		return v
	case Tuple:
		out := make(Tuple, len(v))
		for i := range v {
			out[i] = markupAll(v[i])
		}
		return out
	}
	return v
}

// strArg is an argument that must be text.
func strArg(v any, what string) string {
	s, ok := asStr(v)
	if !ok {
		if u, isUndef := v.(*Undefined); isUndef && u.Mode() == Strict {
			raiseType("%s must be str, not StrictUndefined", what)
		}
		raiseType("%s must be str, not %s", what, typeName(v))
	}
	return s
}

// intArg is an argument that must be an integer that fits a machine word.
func intArg(v any) int {
	i, large, ok := asInt(v)
	if !ok {
		raiseType("'%s' object cannot be interpreted as an integer", typeName(v))
	}
	if large != nil {
		raiseKind(KindRuntime, "OverflowError", "Python int too large to convert to C ssize_t")
	}
	return int(i)
}

// intOr is an optional integer argument.
func intOr(v any, otherwise int) int {
	if v == missing {
		return otherwise
	}
	return intArg(v)
}

func init() {
	simple := func(name string, f func(string) string) {
		addStr(name, "/", true, func(fr *vframe, s string, _ []any) any {
			fr.alloc(len(s))
			return f(s)
		})
	}
	simple("upper", upper)
	simple("lower", lower)
	simple("title", title)
	simple("capitalize", capitalize)
	simple("swapcase", swapcase)
	addStr("casefold", "/", false, func(fr *vframe, s string, _ []any) any { return casefold(s) })

	strip := func(name string, left, right bool) {
		addStr(name, "/chars=None", true, func(fr *vframe, s string, a []any) any {
			return stripChars(s, a[0], left, right)
		})
	}
	strip("strip", true, true)
	strip("lstrip", true, false)
	strip("rstrip", false, true)

	addStr("replace", "/old new count=-1", true, func(fr *vframe, s string, a []any) any {
		return replace(fr, s, strArg(a[0], "replace() argument 1"), strArg(a[1], "replace() argument 2"), intOr(a[2], -1))
	})
	pad := func(name string, mode byte) {
		addStr(name, "/width fillchar=None", true, func(fr *vframe, s string, a []any) any {
			fill := " "
			if a[1] != missing {
				fill = strArg(a[1], "The fill character")
				if runeLen(fill) != 1 {
					raiseType("The fill character must be exactly one character long")
				}
			}
			return padText(fr, s, intArg(a[0]), fill, mode)
		})
	}
	pad("center", '^')
	pad("ljust", '<')
	pad("rjust", '>')
	addStr("zfill", "/width", true, func(fr *vframe, s string, a []any) any { return zfill(fr, s, intArg(a[0])) })
	addStr("expandtabs", "tabsize=8", true, func(fr *vframe, s string, a []any) any {
		return expandTabs(fr, s, intOr(a[0], 8))
	})
	strSearch()
	strSplit()
	strChecks()
	strFormat()
	for _, name := range []string{"join", "split", "rsplit", "splitlines", "partition", "rpartition", "unescape", "striptags", "escape"} {
		strMethods[name].owner = "Markup"
	}
	addBytesMethods()
}

func strSearch() {
	// window is s[start:end] for methods that take both, with where it starts.
	window := func(s string, start, end any) (string, int, bool) {
		n := int64(runeLen(s))
		var b sliceValue
		if start != missing && start != nil {
			b[0] = start
		}
		if end != missing && end != nil {
			b[1] = end
		}
		if b[0] != nil && sliceIndex(b[0]) > n {
			return "", 0, false
		}
		from, _, _, count := sliceIndices(&b, n)
		if b[1] != nil {
			if stop := sliceIndex(b[1]); stop < 0 && stop+n < from || stop >= 0 && stop < from {
				return "", 0, false
			}
		}
		return sliceString(s, from, 1, count), int(from), true
	}
	find := func(name string, last, must bool) {
		addStr(name, "/sub start=None end=None", false, func(fr *vframe, s string, a []any) any {
			sub := strArg(a[0], "argument 1")
			part, from, ok := window(s, a[1], a[2])
			i := -1
			if ok && last {
				i = strings.LastIndex(part, sub)
			} else if ok {
				i = strings.Index(part, sub)
			}
			if i < 0 {
				if must {
					raiseValue("substring not found")
				}
				return int64(-1)
			}
			return int64(from + runeLen(part[:i]))
		})
	}
	find("find", false, false)
	find("rfind", true, false)
	find("index", false, true)
	find("rindex", true, true)
	addStr("count", "/sub start=None end=None", false, func(fr *vframe, s string, a []any) any {
		sub := strArg(a[0], "argument 1")
		part, _, ok := window(s, a[1], a[2])
		if !ok {
			return int64(0)
		}
		return int64(strings.Count(part, sub))
	})
	affix := func(name string, has func(s, affix string) bool) {
		addStr(name, "/affix start=None end=None", false, func(fr *vframe, s string, a []any) any {
			part, _, ok := window(s, a[1], a[2])
			if t, isTuple := asTuple(a[0]); isTuple {
				for _, v := range t {
					p, isStr := asStr(v)
					if !isStr {
						raiseType("tuple for %s must only contain str, not %s", name, typeName(v))
					}
					if ok && has(part, p) {
						return true
					}
				}
				return false
			}
			p, isStr := asStr(a[0])
			if !isStr {
				raiseType("%s first arg must be str or a tuple of str, not %s", name, typeName(a[0]))
			}
			return ok && has(part, p)
		})
	}
	affix("startswith", strings.HasPrefix)
	affix("endswith", strings.HasSuffix)
	addStr("removeprefix", "/prefix", false, func(fr *vframe, s string, a []any) any {
		return strings.TrimPrefix(s, strArg(a[0], "removeprefix() argument"))
	})
	addStr("removesuffix", "/suffix", false, func(fr *vframe, s string, a []any) any {
		return strings.TrimSuffix(s, strArg(a[0], "removesuffix() argument"))
	})
}

func strSplit() {
	split := func(name string, right bool) {
		addStr(name, "sep=None maxsplit=-1", false, func(fr *vframe, s string, a []any) any {
			fr.alloc(32 + len(s))
			return splitText(fr, s, a[0], intOr(a[1], -1), right)
		})
	}
	split("split", false)
	split("rsplit", true)
	addStr("splitlines", "keepends=False", false, func(fr *vframe, s string, a []any) any {
		lines := splitLines(s, a[0] != missing && truthInt(a[0]))
		fr.allocN(len(lines)+2, 32)
		return listOf(lines)
	})
	for _, name := range []string{"split", "rsplit", "splitlines"} {
		plain := strMethods[name].run
		strMethods[name].run = func(fr *vframe, recv any, a []any) any {
			v := plain(fr, recv, a)
			if _, ok := recv.(Markup); ok {
				return markupAll(v)
			}
			return v
		}
	}
	addStr("partition", "/sep", true, func(fr *vframe, s string, a []any) any {
		sep := separator(a[0])
		if i := strings.Index(s, sep); i >= 0 {
			return Tuple{s[:i], sep, s[i+len(sep):]}
		}
		return Tuple{s, "", ""}
	})
	addStr("rpartition", "/sep", true, func(fr *vframe, s string, a []any) any {
		sep := separator(a[0])
		if i := strings.LastIndex(s, sep); i >= 0 {
			return Tuple{s[:i], sep, s[i+len(sep):]}
		}
		return Tuple{"", "", s}
	})
	strMethods.add("join", "/iterable", func(fr *vframe, recv any, a []any) any {
		items := collect(fr, a[0])
		parts := make([]string, len(items))
		m, markup := recv.(Markup)
		if markup {
			for i, v := range items {
				parts[i] = string(escape(fr, v))
			}
			return Markup(joinStrings(fr, parts, string(m)))
		}
		for i, v := range items {
			s, ok := asStr(v)
			if !ok {
				raiseType("sequence item %d: expected str instance, %s found", i, typeName(v))
			}
			parts[i] = s
		}
		return joinStrings(fr, parts, recv.(string))
	})
}

func separator(v any) string {
	sep := strArg(v, "separator")
	if sep == "" {
		raiseValue("empty separator")
	}
	return sep
}

func listOf(parts []string) *List {
	l := &List{Items: make([]any, len(parts))}
	for i, p := range parts {
		l.Items[i] = p
	}
	return l
}

func splitText(fr *vframe, s string, sepArg any, limit int, right bool) *List {
	if sepArg == missing || sepArg == nil {
		return listOf(splitSpace(s, limit, right))
	}
	sep := separator2(sepArg)
	n := strings.Count(s, sep)
	if limit >= 0 {
		n = min(n, limit)
	}
	fr.allocN(n+1, 32)
	if !right {
		return listOf(strings.SplitN(s, sep, n+1))
	}
	parts := make([]string, n+1)
	for i := n; i > 0; i-- {
		j := strings.LastIndex(s, sep)
		parts[i] = s[j+len(sep):]
		s = s[:j]
	}
	parts[0] = s
	return listOf(parts)
}

func separator2(v any) string {
	s, ok := asStr(v)
	if !ok {
		raiseType("must be str or None, not %s", typeName(v))
	}
	if s == "" {
		raiseValue("empty separator")
	}
	return s
}

// splitSpace splits at runs of white space.
func splitSpace(s string, limit int, right bool) []string {
	var parts []string
	if right {
		for s = strings.TrimRightFunc(s, isSpace); s != ""; s = strings.TrimRightFunc(s, isSpace) {
			if limit >= 0 && len(parts) == limit {
				parts = append(parts, s)
				break
			}
			i := strings.LastIndexFunc(s, isSpace)
			if i < 0 {
				parts = append(parts, s)
				break
			}
			_, size := utf8.DecodeRuneInString(s[i:])
			parts = append(parts, s[i+size:])
			s = s[:i]
		}
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		return parts
	}
	for s = strings.TrimLeftFunc(s, isSpace); s != ""; s = strings.TrimLeftFunc(s, isSpace) {
		if limit >= 0 && len(parts) == limit {
			parts = append(parts, s)
			break
		}
		i := strings.IndexFunc(s, isSpace)
		if i < 0 {
			parts = append(parts, s)
			break
		}
		parts = append(parts, s[:i])
		s = s[i:]
	}
	return parts
}

// splitLines is str.splitlines, which knows more line breaks than \n.
func splitLines(s string, keep bool) []string {
	var lines []string
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		end := i + size
		switch r {
		case '\r':
			if end < len(s) && s[end] == '\n' {
				end++
			}
			fallthrough
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			if keep {
				lines = append(lines, s[start:end])
			} else {
				lines = append(lines, s[start:i])
			}
			start = end
		}
		i = end
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

func stripChars(s string, chars any, left, right bool) string {
	in := isSpace
	if chars != missing && chars != nil {
		set, ok := asStr(chars)
		if !ok {
			raiseType("strip arg must be None or str")
		}
		in = func(r rune) bool { return strings.ContainsRune(set, r) }
	}
	if left {
		s = strings.TrimLeftFunc(s, in)
	}
	if right {
		s = strings.TrimRightFunc(s, in)
	}
	return s
}

func replace(fr *vframe, s, from, to string, limit int) string {
	n := strings.Count(s, from)
	if limit >= 0 {
		n = min(n, limit)
	}
	fr.allocN(n+1, max(1, len(to)))
	fr.alloc(len(s))
	return strings.Replace(s, from, to, limit)
}

// padText pads on the right (<), the left (>) or both sides (^).
func padText(fr *vframe, s string, width int, fill string, mode byte) string {
	n := width - runeLen(s)
	if n <= 0 {
		return s
	}
	fr.allocN(n, len(fill))
	fr.alloc(len(s))
	left := 0
	switch mode {
	case '>':
		left = n
	case '^':
		left = n/2 + n&width&1
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left)
}

func zfill(fr *vframe, s string, width int) string {
	n := width - runeLen(s)
	if n <= 0 {
		return s
	}
	fr.alloc(n + len(s))
	zeros := strings.Repeat("0", n)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[:1] + zeros + s[1:]
	}
	return zeros + s
}

func expandTabs(fr *vframe, s string, size int) string {
	tabs := strings.Count(s, "\t")
	fr.allocN(tabs, max(size, 0))
	fr.alloc(len(s))
	var b strings.Builder
	col := 0
	for _, r := range s {
		switch r {
		case '\t':
			if size > 0 {
				n := size - col%size
				b.WriteString(strings.Repeat(" ", n))
				col += n
			}
		case '\n', '\r':
			b.WriteRune(r)
			col = 0
		default:
			b.WriteRune(r)
			col++
		}
	}
	return b.String()
}
