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
	for s != "" {
		plain, escape, found := strings.Cut(s, "\\")
		b.WriteString(plain)
		if !found {
			break
		}
		if s, msg = writeEscaped(&b, escape); msg != "" {
			return "", msg
		}
	}
	return b.String(), ""
}

// simpleEscapes are the characters of escapes of one character. That of a line break has none.
var simpleEscapes = map[byte]string{
	'\n': "", '\\': "\\", '\'': "'", '"': "\"",
	'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// writeEscaped writes the character of an escape that begins s, without its backslash, and
// returns what follows the escape.
func writeEscaped(b *strings.Builder, s string) (rest, msg string) {
	if s == "" {
		return "", "\\ at end of string"
	}
	c := s[0]
	if text, ok := simpleEscapes[c]; ok {
		b.WriteString(text)
		return s[1:], ""
	}
	switch c {
	case '0', '1', '2', '3', '4', '5', '6', '7':
		n, i := rune(0), 0
		for ; i < min(3, len(s)) && s[i] >= '0' && s[i] <= '7'; i++ {
			n = n*8 + rune(s[i]-'0')
		}
		b.WriteRune(n)
		return s[i:], ""
	case 'x':
		return writeHexEscape(b, s, 2)
	case 'u':
		return writeHexEscape(b, s, 4)
	case 'U':
		return writeHexEscape(b, s, 8)
	case 'N':
		name, ok := strings.CutPrefix(s[1:], "{")
		name, rest, closed := strings.Cut(name, "}")
		if !ok || !closed || name == "" {
			return "", "malformed \\N character escape"
		}
		r, found := runeNamed(name)
		if !found {
			return "", "unknown Unicode character name"
		}
		b.WriteRune(r)
		return rest, ""
	}
	b.WriteByte('\\')
	return writeOtherEscape(b, s), ""
}

// writeHexEscape writes the character of an escape with a number of some digits.
func writeHexEscape(b *strings.Builder, s string, digits int) (rest, msg string) {
	truncated := "truncated \\" + s[:1] + strings.Repeat("X", digits) + " escape"
	if len(s) < 1+digits {
		return "", truncated
	}
	n, err := strconv.ParseUint(s[1:1+digits], 16, 32)
	if err != nil {
		return "", truncated
	}
	if n > utf8.MaxRune {
		return "", "illegal Unicode character"
	}
	b.WriteRune(rune(n))
	return s[1+digits:], ""
}

// writeOtherEscape writes a character that has no meaning after a backslash. Jinja2 passes
// characters beyond ASCII to the codec as escapes, so that a backslash before one escapes the
// first character of its escape.
func writeOtherEscape(b *strings.Builder, s string) (rest string) {
	r, size := utf8.DecodeRuneInString(s)
	switch {
	case r < utf8.RuneSelf:
		b.WriteByte(s[0])
	case r < 0x100:
		fmt.Fprintf(b, "x%02x", r)
	case r < 0x10000:
		fmt.Fprintf(b, "u%04x", r)
	default:
		fmt.Fprintf(b, "U%08x", r)
	}
	return s[size:]
}
