package syntax

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// unescape resolves the escapes of a string literal as Python's unicode-escape codec
// does. msg is the error of a malformed escape, else "".
func unescape(s string) (out, msg string) {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		c := s[i]
		if c != '\\' {
			b.WriteByte(c)
			i++
			continue
		}
		i++
		if i >= len(s) {
			return "", "\\ at end of string"
		}
		c = s[i]
		i++
		switch c {
		case '\n':
		case '\\', '\'', '"':
			b.WriteByte(c)
		case 'a':
			b.WriteByte('\a')
		case 'b':
			b.WriteByte('\b')
		case 'f':
			b.WriteByte('\f')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case 'v':
			b.WriteByte('\v')
		case '0', '1', '2', '3', '4', '5', '6', '7':
			n, end := rune(c-'0'), min(i+2, len(s))
			for i < end && s[i] >= '0' && s[i] <= '7' {
				n = n*8 + rune(s[i]-'0')
				i++
			}
			b.WriteRune(n)
		case 'x', 'u', 'U':
			width := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c]
			if i+width > len(s) {
				return "", "truncated \\" + string(c) + strings.Repeat("X", width) + " escape"
			}
			n, err := strconv.ParseUint(s[i:i+width], 16, 32)
			if err != nil {
				return "", "truncated \\" + string(c) + strings.Repeat("X", width) + " escape"
			}
			if n > utf8.MaxRune {
				return "", "illegal Unicode character"
			}
			b.WriteRune(rune(n))
			i += width
		case 'N':
			name, ok := strings.CutPrefix(s[i:], "{")
			end := strings.IndexByte(name, '}')
			if !ok || end <= 0 {
				return "", "malformed \\N character escape"
			}
			r, found := runeNamed(name[:end])
			if !found {
				return "", "unknown Unicode character name"
			}
			b.WriteRune(r)
			i += end + 2
		default:
			b.WriteByte('\\')
			if c < utf8.RuneSelf {
				b.WriteByte(c)
				break
			}
			// Jinja2 passes characters beyond ASCII to the codec as escapes, so that a
			// backslash before one escapes the first character of its escape.
			r, size := utf8.DecodeRuneInString(s[i-1:])
			i += size - 1
			switch {
			case r < 0x100:
				fmt.Fprintf(&b, "x%02x", r)
			case r < 0x10000:
				fmt.Fprintf(&b, "u%04x", r)
			default:
				fmt.Fprintf(&b, "U%08x", r)
			}
		}
	}
	return b.String(), ""
}
