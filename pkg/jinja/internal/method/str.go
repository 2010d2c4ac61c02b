package method

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

var strMethods = Table{}

// addStr adds a method of str. If it is wrapped, Markup's method escapes the strings
// among the arguments and returns Markup.
func addStr(name, params string, wrapped bool, f func(fr *value.Frame, s string, a []any) any) {
	strMethods.Add(name, params, func(fr *value.Frame, recv any, a []any) any {
		s, _ := value.AsStr(recv)
		if _, markup := recv.(value.Markup); !markup || !wrapped {
			return f(fr, s, a)
		}
		escaped := make([]any, len(a))
		for i, v := range a {
			if t, ok := v.(string); ok {
				v = pystr.Escape(t)
			} else if value.HasHTML(v) || strings.HasSuffix(name, "partition") {
				v = string(value.Escape(fr, v))
			}
			escaped[i] = v
		}
		return markupAll(f(fr, s, escaped))
	})
	if wrapped {
		strMethods[name].owner = "str"
	}
}

// markupAll marks a string, or the strings of a list or tuple, as safe.
func markupAll(v any) any {
	switch v := v.(type) {
	case string:
		return value.Markup(v)
	case *value.List:
		for i := range v.Items {
			v.Items[i] = markupAll(v.Items[i])
		}
		return v
	case value.Tuple:
		out := make(value.Tuple, len(v))
		for i := range v {
			out[i] = markupAll(v[i])
		}
		return out
	}
	return v
}

func init() {
	simple := func(name string, f func(string) string) {
		addStr(name, "/", true, func(fr *value.Frame, s string, _ []any) any {
			fr.Alloc(len(s))
			return f(s)
		})
	}
	simple("upper", pystr.Upper)
	simple("lower", pystr.Lower)
	simple("title", pystr.Title)
	simple("capitalize", pystr.Capitalize)
	simple("swapcase", pystr.Swapcase)
	addStr("casefold", "/", false, func(fr *value.Frame, s string, _ []any) any { return pystr.Casefold(s) })

	strip := func(name string, left, right bool) {
		addStr(name, "/chars=None", true, func(fr *value.Frame, s string, a []any) any {
			return StripChars(s, a[0], left, right)
		})
	}
	strip("strip", true, true)
	strip("lstrip", true, false)
	strip("rstrip", false, true)

	addStr("replace", "/old new count=-1", true, func(fr *value.Frame, s string, a []any) any {
		return Replace(fr, s, value.StrArg(a[0], "replace() argument 1"), value.StrArg(a[1], "replace() argument 2"),
			value.IntOr(a[2], -1))
	})
	pad := func(name string, mode byte) {
		addStr(name, "/width fillchar=None", true, func(fr *value.Frame, s string, a []any) any {
			fill := " "
			if a[1] != value.Missing {
				fill = value.StrArg(a[1], "The fill character")
				if pystr.Len(fill) != 1 {
					raise.Type("The fill character must be exactly one character long")
				}
			}
			return PadText(fr, s, value.IntArg(a[0]), fill, mode)
		})
	}
	pad("center", '^')
	pad("ljust", '<')
	pad("rjust", '>')
	addStr("zfill", "/width", true, func(fr *value.Frame, s string, a []any) any {
		return zfill(fr, s, value.IntArg(a[0]))
	})
	addStr("expandtabs", "tabsize=8", true, func(fr *value.Frame, s string, a []any) any {
		return expandTabs(fr, s, value.IntOr(a[0], 8))
	})
	strSearch()
	strSplit()
	strPredicates()
	strFormat()
	ofMarkup := []string{
		"join", "split", "rsplit", "splitlines", "partition", "rpartition", "unescape", "striptags", "escape",
	}
	for _, name := range ofMarkup {
		strMethods[name].owner = "Markup"
	}
	addBytesMethods()
}

func strSearch() {
	addFind("find", false, false)
	addFind("rfind", true, false)
	addFind("index", false, true)
	addFind("rindex", true, true)
	addStr("count", "/sub start=None end=None", false, func(fr *value.Frame, s string, a []any) any {
		sub := value.StrArg(a[0], "argument 1")
		part, _, ok := searched(s, a[1], a[2])
		if !ok {
			return int64(0)
		}
		return int64(strings.Count(part, sub))
	})
	addAffix("startswith", strings.HasPrefix)
	addAffix("endswith", strings.HasSuffix)
	addStr("removeprefix", "/prefix", false, func(fr *value.Frame, s string, a []any) any {
		return strings.TrimPrefix(s, value.StrArg(a[0], "removeprefix() argument"))
	})
	addStr("removesuffix", "/suffix", false, func(fr *value.Frame, s string, a []any) any {
		return strings.TrimSuffix(s, value.StrArg(a[0], "removesuffix() argument"))
	})
}

// searched returns s[start:end] for methods that take both, and its offset. ok is false if
// not even an empty string is found there.
func searched(s string, start, end any) (part string, offset int, ok bool) {
	n := int64(pystr.Len(s))
	var b value.Slice
	if start != value.Missing && start != nil {
		b[0] = start
	}
	if end != value.Missing && end != nil {
		b[1] = end
	}
	if b[0] != nil && value.SliceIndex(b[0]) > n {
		return "", 0, false
	}
	from, _, _, count := value.SliceIndices(&b, n)
	if b[1] != nil {
		if stop := value.SliceIndex(b[1]); stop < 0 && stop+n < from || stop >= 0 && stop < from {
			return "", 0, false
		}
	}
	return pystr.Slice(s, from, 1, count), int(from), true
}

// addFind adds a method that returns the first or last position of a string. If the string
// is required, a missing one is an error instead of -1.
func addFind(name string, last, required bool) {
	addStr(name, "/sub start=None end=None", false, func(fr *value.Frame, s string, a []any) any {
		sub := value.StrArg(a[0], "argument 1")
		part, from, ok := searched(s, a[1], a[2])
		i := -1
		if ok && last {
			i = strings.LastIndex(part, sub)
		} else if ok {
			i = strings.Index(part, sub)
		}
		if i < 0 {
			if required {
				raise.Value("substring not found")
			}
			return int64(-1)
		}
		return int64(from + pystr.Len(part[:i]))
	})
}

// addAffix adds a method that reports whether a string has one of some prefixes or suffixes.
func addAffix(name string, has func(s, affix string) bool) {
	addStr(name, "/affix start=None end=None", false, func(fr *value.Frame, s string, a []any) any {
		part, _, ok := searched(s, a[1], a[2])
		if t, isTuple := value.AsTuple(a[0]); isTuple {
			for _, v := range t {
				p, isStr := value.AsStr(v)
				if !isStr {
					raise.Type("tuple for %s must only contain str, not %s", name, value.TypeName(v))
				}
				if ok && has(part, p) {
					return true
				}
			}
			return false
		}
		p, isStr := value.AsStr(a[0])
		if !isStr {
			raise.Type("%s first arg must be str or a tuple of str, not %s", name, value.TypeName(a[0]))
		}
		return ok && has(part, p)
	})
}
