package value

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
)

// textOf returns the text of a value if it needs no escaping for HTML.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case Markup:
		return string(v), true
	case Object:
		if c := v.Class(); c.Text != nil {
			return c.Text(v), true
		}
	}
	return "", false
}

// Escape is markupsafe.escape. Markup, and values with their own text for HTML,
// are not escaped.
func Escape(fr *Frame, v any) Markup {
	s, ok := v.(string)
	if !ok {
		if text, ok := textOf(v); ok {
			return Markup(text)
		}
		s = Str(fr, v)
	}
	fr.Scan(len(s))
	if e := pystr.Escape(s); len(e) != len(s) {
		fr.Alloc(len(e))
		return Markup(e)
	}
	return Markup(s)
}

// MarkSafe is Markup(v): not escaped, but marked as safe.
func MarkSafe(fr *Frame, v any) Markup { return Markup(Str(fr, v)) }

// SoftStr is markupsafe.soft_str: str(v), or v itself if it is Markup.
func SoftStr(fr *Frame, v any) any {
	switch v.(type) {
	case string, Markup:
		return v
	}
	return Str(fr, v)
}

// HasHTML reports whether a value has its own text for HTML.
func HasHTML(v any) bool {
	switch v := v.(type) {
	case Markup:
		return true
	case *Undefined:
		return v.mode == Chainable
	case Object:
		return v.Class().Text != nil
	}
	return false
}

// MarkupJoin joins the operands of `~` in templates whose output is escaped.
func MarkupJoin(fr *Frame, vals []any) any {
	parts := make([]string, len(vals))
	markup := false
	for _, v := range vals {
		if _, ok := v.(Markup); ok {
			markup = true
		}
	}
	for i, v := range vals {
		if markup {
			parts[i] = string(Escape(fr, SoftStr(fr, v)))
		} else {
			parts[i] = Str(fr, v)
		}
	}
	s := JoinStrings(fr, parts, "")
	if markup {
		return Markup(s)
	}
	return s
}

// JoinStrings is strings.Join, counted against the limits.
func JoinStrings(fr *Frame, parts []string, sep string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + len(sep)
	}
	fr.Alloc(n)
	return strings.Join(parts, sep)
}

// Like returns a string as Markup if v is Markup.
func Like(v any, s string) any {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}
