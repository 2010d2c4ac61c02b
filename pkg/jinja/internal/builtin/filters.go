package builtin

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Filters are the built-in filters by name.
var Filters = map[string]*value.Callable{}

// addFilter adds a filter. Its parameters are described as for [value.NewFunction].
func addFilter(name, params string, fn func(fr *value.Frame, a []any) any) *value.Callable {
	f := value.NewFunction("do_"+name, params, fn)
	Filters[name] = f
	return f
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
		addFilter(name, "s", func(fr *value.Frame, a []any) any {
			v := value.SoftStr(fr, a[0])
			s, _ := value.AsStr(v)
			fr.Alloc(len(s))
			return value.Like(v, f(s))
		})
	}
	soft("upper", pystr.Upper)
	soft("lower", pystr.Lower)
	soft("capitalize", pystr.Capitalize)
	addFilter("title", "s", func(fr *value.Frame, a []any) any {
		s, _ := value.AsStr(value.SoftStr(fr, a[0]))
		fr.Alloc(len(s))
		return pystr.TitleWords(s)
	})
	addFilter("trim", "value chars=None", func(fr *value.Frame, a []any) any {
		v := value.SoftStr(fr, a[0])
		s, _ := value.AsStr(v)
		if _, ok := v.(value.Markup); ok {
			if c, ok := a[1].(string); ok {
				a[1] = pystr.Escape(c)
			}
		}
		return value.Like(v, method.StripChars(s, a[1], true, true))
	})
	addFilter("center", "value width=80", func(fr *value.Frame, a []any) any {
		v := value.SoftStr(fr, a[0])
		s, _ := value.AsStr(v)
		return value.Like(v, method.PadText(fr, s, value.IntArg(value.Or(a[1], int64(80))), " ", '^'))
	})
	addFilter("replace", "s old new count=None", replaceFilter)
	addFilter("indent", "s width=4 first=False blank=False", indentFilter)
	addFilter("truncate", "s length=255 killwords=False end='...' leeway=None", truncateFilter)
	addFilter("wordwrap", "s width=79 break_long_words=True wrapstring=None break_on_hyphens=True", wordwrapFilter)
	addFilter("wordcount", "s", func(fr *value.Frame, a []any) any {
		s, _ := value.AsStr(value.SoftStr(fr, a[0]))
		return int64(len(strings.FieldsFunc(s, func(r rune) bool { return !pystr.IsRegexWord(r) })))
	})
	f := &value.Callable{Name: "do_format", Pure: true, Raw: formatFilter}
	Filters["format"] = f
	addFilter("string", "s", func(fr *value.Frame, a []any) any { return value.SoftStr(fr, a[0]) }).PositionalOnly = true
	addFilter("pprint", "value", func(fr *value.Frame, a []any) any { return pformat(fr, a[0]) })
	addFilter("urlencode", "value", urlencode)
	addFilter("tojson", "value indent=None", tojson)
	addFilter("default", "value default_value='' boolean=False", func(fr *value.Frame, a []any) any {
		if value.IsUndefined(a[0]) || value.OrBool(a[2], false) && !value.Truth(a[0]) {
			return value.Or(a[1], "")
		}
		return a[0]
	})
	Filters["d"] = Filters["default"]
	addFilter("attr", "obj name", func(fr *value.Frame, a []any) any {
		name, ok := value.AsStr(a[1])
		if !ok {
			raise.Type("attribute name must be string, not '%s'", value.TypeName(a[1]))
		}
		if method.Unsafe(a[0], name) {
			return method.UnsafeUndefined(fr, a[0], name)
		}
		if _, ok := method.Attribute(fr, a[0], name); !ok {
			return method.NoElement(fr, a[0], name)
		}
		return method.Getattr(fr, a[0], name)
	})
	Filters["attr"].Pure = true
}

func replaceFilter(fr *value.Frame, a []any) any {
	count := -1
	if a[3] != value.Missing && a[3] != nil {
		count = -2
	}
	limit := func() int {
		if count == -2 {
			return value.IntArg(a[3])
		}
		return -1
	}
	if !fr.Code.Autoescape() {
		return method.Replace(fr, value.Str(fr, a[0]), value.Str(fr, a[1]), value.Str(fr, a[2]), limit())
	}
	var s any
	if value.HasHTML(a[1]) || value.HasHTML(a[2]) && !value.HasHTML(a[0]) {
		s = value.Escape(fr, a[0])
	} else {
		s = value.SoftStr(fr, a[0])
	}
	old, to := value.SoftStr(fr, a[1]), value.SoftStr(fr, a[2])
	if m, ok := s.(value.Markup); ok {
		return value.Markup(method.Replace(fr, string(m), string(value.Escape(fr, old)), string(value.Escape(fr, to)),
			limit()))
	}
	x, _ := value.AsStr(old)
	y, _ := value.AsStr(to)
	return method.Replace(fr, s.(string), x, y, limit())
}

func indentFilter(fr *value.Frame, a []any) any {
	width := value.Or(a[1], int64(4))
	indent, ok := value.AsStr(width)
	if !ok {
		v, isNum := operator.Repeat(fr, " ", width)
		if !isNum {
			value.CheckUndefined(width, nil)
			raise.Type("can't multiply sequence by non-int of type '%s'", value.TypeName(width))
		}
		indent = v.(string)
	}
	s, isText := value.AsStr(a[0])
	if !isText {
		value.CheckUndefined(a[0], nil)
		operator.Add(fr, a[0], "\n")
		raise.Type("'%s' object has no attribute 'splitlines'", value.TypeName(a[0]))
	}
	lines := pystr.SplitLines(s+"\n", false)
	fr.Alloc(len(s))
	fr.AllocN(len(lines), len(indent)+1)
	var b strings.Builder
	if value.OrBool(a[2], false) {
		b.WriteString(indent)
	}
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
			if line != "" || value.OrBool(a[3], false) {
				b.WriteString(indent)
			}
		}
		b.WriteString(line)
	}
	return value.Like(a[0], b.String())
}

func truncateFilter(fr *value.Frame, a []any) any {
	length, end := value.Or(a[1], int64(255)), value.Or(a[3], "...")
	leeway := value.Or(a[4], nil)
	if leeway == nil {
		leeway = int64(5)
	}
	endLen := value.Length(fr, end)
	if !value.Compare(fr, length, endLen, ">=") {
		raise.Named("AssertionError", "expected length >= %d, got %s", endLen, value.Str(fr, length))
	}
	if !value.Compare(fr, leeway, int64(0), ">=") {
		raise.Named("AssertionError", "expected leeway >= 0, got %s", value.Str(fr, leeway))
	}
	if value.Compare(fr, value.Length(fr, a[0]), operator.Add(fr, length, leeway), "<=") {
		return a[0]
	}
	cut := value.Slicing(fr, a[0], &value.Slice{nil, operator.Subtract(fr, length, endLen), nil})
	if value.OrBool(a[2], false) {
		return operator.Add(fr, cut, end)
	}
	s, ok := value.AsStr(cut)
	if !ok {
		raise.Type("'%s' object has no attribute 'rsplit'", value.TypeName(cut))
	}
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		s = s[:i]
	}
	return operator.Add(fr, value.Like(cut, s), end)
}

func formatFilter(fr *value.Frame, args []any, kw []value.Keyword) any {
	if len(args) == 0 {
		raise.Type("do_format() missing 1 required positional argument: 'value'")
	}
	if len(args) > 1 && len(kw) > 0 {
		raise.FilterArgument("can't handle positional and keyword arguments at the same time")
	}
	v := value.SoftStr(fr, args[0])
	if len(kw) > 0 {
		d := value.NewDictSize(len(kw))
		for _, k := range kw {
			d.SetStr(k.Name, k.Value)
		}
		return operator.Modulo(fr, v, d)
	}
	return operator.Modulo(fr, v, value.Tuple(args[1:]))
}
