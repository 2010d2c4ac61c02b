package builtin

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func markupFilters() {
	esc := value.NewBuiltin("escape", "s", func(fr *value.Frame, a []any) any { return value.Escape(fr, a[0]) })
	Filters["escape"] = esc
	Filters["e"] = esc
	addFilter("forceescape", "value", func(fr *value.Frame, a []any) any {
		s := value.Str(fr, a[0])
		fr.Alloc(len(s))
		return value.Markup(pystr.Escape(s))
	})
	addFilter("safe", "value", func(fr *value.Frame, a []any) any { return value.MarkSafe(fr, a[0]) })
	addFilter("striptags", "value", func(fr *value.Frame, a []any) any { return pystr.StripTags(value.Str(fr, a[0])) })
	addFilter("xmlattr", "d autospace=True", xmlattr)
	addFilter("urlize", "value trim_url_limit=None nofollow=False target=None rel=None extra_schemes=None", urlizeFilter)
}

func xmlattr(fr *value.Frame, a []any) any {
	d := mapping(a[0])
	var items []string
	fr.Work(d.Len())
	for k, v := range d.All() {
		if v == nil || value.IsUndefined(v) {
			continue
		}
		key, ok := value.AsStr(k)
		if !ok {
			raise.Type("expected string or bytes-like object, got '%s'", value.TypeName(k))
		}
		if strings.ContainsAny(key, " \t\n\r\f\v/>=") {
			raise.Value("Invalid character in attribute name: %s", value.Repr(key))
		}
		items = append(items, string(value.Escape(fr, k))+`="`+string(value.Escape(fr, v))+`"`)
	}
	s := value.JoinStrings(fr, items, " ")
	if s != "" && value.OrBool(a[1], true) {
		s = " " + s
	}
	if fr.Code.Autoescape() {
		return value.Markup(s)
	}
	return s
}

// urlQuote quotes a value for a URL: for the path, or for the query.
func urlQuote(fr *value.Frame, v any, query bool) string {
	s := ""
	if b, ok := v.(value.Bytes); ok {
		s = string(b)
	} else {
		s = value.Str(fr, v)
	}
	fr.Alloc(3 * len(s))
	var b strings.Builder
	for i := range len(s) {
		switch c := s[i]; {
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9',
			strings.IndexByte("_.-~", c) >= 0, c == '/' && !query:
			b.WriteByte(c)
		case c == ' ' && query:
			b.WriteByte('+')
		default:
			const hex = "0123456789ABCDEF"
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

func urlencode(fr *value.Frame, a []any) any {
	if _, ok := value.AsStr(a[0]); ok {
		return urlQuote(fr, a[0], false)
	}
	v := a[0]
	if d, ok := v.(*value.Dict); ok {
		v = &value.DictView{Dict: d, Kind: value.ViewItems}
	}
	if value.Indexed(v) != nil || value.IteratorOf(fr, v) == nil {
		return urlQuote(fr, v, false)
	}
	var parts []string
	for _, item := range value.Collect(fr, v) {
		kv := value.Unpack(fr, item, 2)
		parts = append(parts, urlQuote(fr, kv[0], true)+"="+urlQuote(fr, kv[1], true))
	}
	return value.JoinStrings(fr, parts, "&")
}
