package builtin

import (
	"math"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// wordwrapFilter is the filter wordwrap, which wraps each line by itself.
func wordwrapFilter(fr *value.Frame, a []any) any {
	s, ok := value.AsStr(a[0])
	if !ok {
		value.CheckUndefined(a[0], nil)
		raise.Named("AttributeError", "'%s' object has no attribute 'splitlines'", value.TypeName(a[0]))
	}
	sep := "\n"
	if v := value.Or(a[3], nil); v != nil {
		sep = value.StrArg(v, "wrapstring")
	}
	breakLong, hyphens := value.OrBool(a[2], true), value.OrBool(a[4], true)
	fr.Alloc(16 * len(s)) // its characters, and lines of single letters
	var out []string
	for _, line := range pystr.SplitLines(s, false) {
		fr.Work(len(line))
		w := pystr.Wrapper{Width: wrapWidth(value.Or(a[1], int64(79)), line), BreakLong: breakLong, Hyphens: hyphens}
		out = append(out, strings.Join(w.Wrap(line), sep))
	}
	return value.JoinStrings(fr, out, sep)
}

// wrapWidth returns the argument width.
func wrapWidth(v any, line string) int {
	f, ok := v.(float64)
	if ok {
		if f <= 0 {
			raise.Value("invalid width %s (must be > 0)", pystr.FloatRepr(f))
		}
		for _, chunk := range strings.FieldsFunc(line, pystr.IsSpace) {
			if float64(pystr.Len(chunk)) > f {
				raise.Type("slice indices must be integers or None or have an __index__ method")
			}
		}
		return int(math.Floor(min(f, 1<<30)))
	}
	n := value.IntArg(v)
	if n <= 0 {
		raise.Value("invalid width %d (must be > 0)", n)
	}
	return n
}
