// Package pyjson writes strings as Python's json.dumps does, in ASCII, for output that must be
// equal to Kolla's and Jinja2's. It must not know what the strings mean.
package pyjson

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// Write writes s as a JSON string.
func Write(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\b':
			b.WriteString(`\b`)
		case r == '\f':
			b.WriteString(`\f`)
		case r >= ' ' && r <= '~':
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
	b.WriteByte('"')
}

// Quote returns s as a JSON string.
func Quote(s string) string {
	var b strings.Builder
	Write(&b, s)
	return b.String()
}
