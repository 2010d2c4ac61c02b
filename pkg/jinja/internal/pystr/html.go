package pystr

import (
	"html"
	"strings"
)

// Unescape is html.unescape.
func Unescape(s string) string { return html.UnescapeString(s) }

// StripTags is Markup.striptags: it removes comments and tags, collapses white space
// and resolves entities.
func StripTags(s string) string {
	s = cutBetween(cutBetween(s, "<!--", "-->"), "<", ">")
	return Unescape(strings.Join(Split(s, -1, false), " "))
}

// cutBetween removes every part from an opening to the next closing.
func cutBetween(s, open, end string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, open)
		if i < 0 {
			break
		}
		j := strings.Index(s[i+len(open):], end)
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i+len(open)+j+len(end):]
	}
	b.WriteString(s)
	return b.String()
}

// Escape is markupsafe.escape.
func Escape(s string) string {
	if !strings.ContainsAny(s, `&<>'"`) {
		return s
	}
	return htmlEscaper.Replace(s)
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")
