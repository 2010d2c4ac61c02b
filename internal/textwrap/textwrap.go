// Package textwrap breaks text into lines for terminals and comments. It must not
// know what the text means.
package textwrap

import (
	"strings"
	"unicode/utf8"
)

// Wrap returns the words of a text in lines of at most width characters, without a line
// end after the last one. Every line but the first is indented by indent spaces; the
// first line is shorter by that much, as the caller has written its beginning. A word
// longer than a line gets its own line.
func Wrap(text string, indent, width int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}
