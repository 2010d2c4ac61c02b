package usererr

import (
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzText checks that untrusted text in any part of an error cannot control a terminal.
func FuzzText(f *testing.F) {
	f.Add("reading x", "\x1b[2J\u202e", "a \x9b31m line", 3)
	f.Add("\r\n", "\xff\xfe", "\t\tx", -1)
	f.Fuzz(func(t *testing.T, message, hint, line string, column int) {
		err := error(&Error{Err: errors.New(message), Hint: hint,
			Position: Position{File: message, LineNo: 1, Column: column, Line: line}})
		text := Text(err)
		if !utf8.ValidString(text) {
			t.Errorf("%q is not a text", text)
		}
		if strings.ContainsFunc(text, func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
		}) {
			t.Errorf("%q controls the terminal", text)
		}
		if strings.ContainsAny(FirstLine(err), "\n") {
			t.Errorf("%q is more than a line", FirstLine(err))
		}
	})
}
