package method

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// StripChars removes white space, or the characters of a string, from the ends of s.
func StripChars(s string, chars any, left, right bool) string {
	in := pystr.IsSpace
	if chars != value.Missing && chars != nil {
		set, ok := value.AsStr(chars)
		if !ok {
			raise.Type("strip arg must be None or str")
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

// Replace replaces up to limit occurrences; a negative limit means no limit.
func Replace(fr *value.Frame, s, from, to string, limit int) string {
	n := strings.Count(s, from)
	if limit >= 0 {
		n = min(n, limit)
	}
	fr.AllocN(n+1, max(1, len(to)))
	fr.Alloc(len(s))
	return strings.Replace(s, from, to, limit)
}

// PadText pads a string to a width on the right (<), on the left (>) or on both sides
// (^).
func PadText(fr *value.Frame, s string, width int, fill string, mode byte) string {
	n := width - pystr.Len(s)
	if n <= 0 {
		return s
	}
	fr.AllocN(n, len(fill))
	fr.Alloc(len(s))
	left := 0
	switch mode {
	case '>':
		left = n
	case '^':
		left = n/2 + n&width&1
	}
	return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left)
}

// zfill is str.zfill.
func zfill(fr *value.Frame, s string, width int) string {
	n := width - pystr.Len(s)
	if n <= 0 {
		return s
	}
	fr.Alloc(n + len(s))
	zeros := strings.Repeat("0", n)
	if s != "" && (s[0] == '+' || s[0] == '-') {
		return s[:1] + zeros + s[1:]
	}
	return zeros + s
}

// expandTabs is str.expandtabs.
func expandTabs(fr *value.Frame, s string, size int) string {
	tabs := strings.Count(s, "\t")
	fr.AllocN(tabs, max(size, 0))
	fr.Alloc(len(s))
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
