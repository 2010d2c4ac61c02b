// Package printable makes text that others wrote safe to show in a line of a terminal or a log:
// file names, output of steps, answers of registries. It also shortens text. It must not know
// what the text means.
//
// Unsafe are characters that control a terminal, those that change the direction of text (U+202A
// to U+202E, U+2066 to U+2069 and the like), and what is not UTF-8.
package printable

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Quoted returns a text as it is if a terminal can show it in one line, else quoted as in Go.
// Quotation marks and backslashes alone are no reason to quote: errors have quotations of their
// own.
func Quoted(text string) string {
	if !utf8.ValidString(text) || strings.ContainsFunc(text, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(text)
	}
	return text
}

// Field returns a text as it is if it is ASCII without spaces, else quoted: a field of a log.
func Field(text string) string {
	for i := range len(text) {
		if text[i] <= ' ' || text[i] >= 0x7f {
			return strconv.Quote(text)
		}
	}
	return text
}

// Visible replaces the unsafe characters of a text by U+FFFD. It keeps tabs and ends of lines.
func Visible(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && r != '\t' && unsafe(r) {
			return utf8.RuneError
		}
		return r
	}, text)
}

func unsafe(r rune) bool { return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) }

// Rune reports whether a character of the output of other programs may be shown. Besides the
// unsafe ones, these are not: invisible format characters, except for the joiners that scripts
// and emoji need.
func Rune(r rune) bool {
	switch {
	case unicode.IsControl(r):
		return false
	case r == 0x200c || r == 0x200d: // joiners
		return true
	case unicode.Is(unicode.Cf, r):
		return false
	case r >= 0xe0000 && r <= 0xe0fff: // tags and variation selectors
		return false
	}
	return true
}

// ellipsis is at the end of a text that was shortened.
const ellipsis = "…"

// Bytes returns a text in at most limit bytes, with an ellipsis if its end was omitted.
func Bytes(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:max(0, limit-len(ellipsis))], "") + ellipsis
}

// Characters returns a text in at most limit characters, with an ellipsis if its end was omitted.
func Characters(text string, limit int) string {
	if utf8.RuneCountInString(text) <= limit {
		return text
	}
	return string([]rune(text)[:max(0, limit-1)]) + ellipsis
}

// EncodeJSON writes a value as JSON, with an end of line. Unsafe characters in strings are
// escaped, such as \u202e, so that a terminal is safe and the data is unchanged.
func EncodeJSON(w io.Writer, v any, prefix, indent string) error {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent(prefix, indent)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escape(b.Bytes()))
	return err
}

// escape escapes the unsafe characters that Go's encoder has left in JSON. They can only be in
// strings.
func escape(text []byte) []byte {
	left := func(r rune) bool { return r != '\n' && r != '\t' && unsafe(r) }
	if !bytes.ContainsFunc(text, left) {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if left(r) {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.Bytes()
}
