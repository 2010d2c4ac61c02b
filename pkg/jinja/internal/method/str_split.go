package method

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func strSplit() {
	split := func(name string, right bool) {
		addStr(name, "sep=None maxsplit=-1", false, func(fr *value.Frame, s string, a []any) any {
			fr.Alloc(32 + len(s))
			return splitText(fr, s, a[0], value.IntOr(a[1], -1), right)
		})
	}
	split("split", false)
	split("rsplit", true)
	addStr("splitlines", "keepends=False", false, func(fr *value.Frame, s string, a []any) any {
		lines := pystr.SplitLines(s, a[0] != value.Missing && value.BoolArg(a[0]))
		fr.AllocN(len(lines)+2, 32)
		return listOf(lines)
	})
	for _, name := range []string{"split", "rsplit", "splitlines"} {
		plain := strMethods[name].run
		strMethods[name].run = func(fr *value.Frame, recv any, a []any) any {
			v := plain(fr, recv, a)
			if _, ok := recv.(value.Markup); ok {
				return markupAll(v)
			}
			return v
		}
	}
	addStr("partition", "/sep", true, func(fr *value.Frame, s string, a []any) any {
		sep := separator(a[0])
		if i := strings.Index(s, sep); i >= 0 {
			return value.Tuple{s[:i], sep, s[i+len(sep):]}
		}
		return value.Tuple{s, "", ""}
	})
	addStr("rpartition", "/sep", true, func(fr *value.Frame, s string, a []any) any {
		sep := separator(a[0])
		if i := strings.LastIndex(s, sep); i >= 0 {
			return value.Tuple{s[:i], sep, s[i+len(sep):]}
		}
		return value.Tuple{"", "", s}
	})
	strMethods.Add("join", "/iterable", func(fr *value.Frame, recv any, a []any) any {
		items := value.Collect(fr, a[0])
		parts := make([]string, len(items))
		m, markup := recv.(value.Markup)
		if markup {
			for i, v := range items {
				parts[i] = string(value.Escape(fr, v))
			}
			return value.Markup(value.JoinStrings(fr, parts, string(m)))
		}
		for i, v := range items {
			s, ok := value.AsStr(v)
			if !ok {
				raise.Type("sequence item %d: expected str instance, %s found", i, value.TypeName(v))
			}
			parts[i] = s
		}
		return value.JoinStrings(fr, parts, recv.(string))
	})
}

// separator returns the argument of partition.
func separator(v any) string {
	sep := value.StrArg(v, "separator")
	if sep == "" {
		raise.Value("empty separator")
	}
	return sep
}

func listOf(parts []string) *value.List {
	l := &value.List{Items: make([]any, len(parts))}
	for i, p := range parts {
		l.Items[i] = p
	}
	return l
}

// splitText is str.split and str.rsplit.
func splitText(fr *value.Frame, s string, sepArg any, limit int, right bool) *value.List {
	if sepArg == value.Missing || sepArg == nil {
		return listOf(pystr.Split(s, limit, right))
	}
	sep := splitSeparator(sepArg)
	n := strings.Count(s, sep)
	if limit >= 0 {
		n = min(n, limit)
	}
	fr.AllocN(n+1, 32)
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

// splitSeparator returns the separator of split.
func splitSeparator(v any) string {
	s, ok := value.AsStr(v)
	if !ok {
		raise.Type("must be str or None, not %s", value.TypeName(v))
	}
	if s == "" {
		raise.Value("empty separator")
	}
	return s
}
