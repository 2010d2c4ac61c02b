package config

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/redact"
)

// Error is a mistake in what the user wrote, with its place as far as it has
// one. File is "" for the command line and the environment.
type Error struct {
	File       string
	Line       int    // 1-based, 0 if it has none
	Column     int    // 1-based, in characters, 0 if it has none
	SourceLine string // the line, or the arguments, as written
	Option     string // the option's name, "" if it concerns none
	Message    string // what is wrong
	Hint       string // what to do, "" if there is nothing to say
}

// Error returns the message with its place, the line itself with a caret, and
// the hint, on as many lines as there are.
func (e *Error) Error() string {
	return locate(e.File, e.Line, e.Column, e.SourceLine, e.Message, e.Hint)
}

// Usage reports whether the command line itself makes no sense: an option that
// there is not, a value that is missing or cannot be. Upstream's tool ends with 2
// for that, and with 1 for files that cannot be read and profiles that are not.
func (e *Error) Usage() bool { return e.File == "" && e.Option != "profile" }

// Warning is something that the user should know and that does not stop the
// command. With --strict, a warning about a misspelt name is an Error instead.
type Warning struct {
	File       string
	Line       int
	Column     int
	SourceLine string
	Option     string
	Message    string
	Hint       string
}

// String returns the warning as Error.Error does.
func (w Warning) String() string {
	return locate(w.File, w.Line, w.Column, w.SourceLine, w.Message, w.Hint)
}

func locate(file string, line, column int, source, message, hint string) string {
	var b strings.Builder
	if file != "" {
		b.WriteString(file)
		if line > 0 {
			fmt.Fprintf(&b, ":%d", line)
			if column > 0 {
				fmt.Fprintf(&b, ":%d", column)
			}
		}
		b.WriteString(": ")
	}
	b.WriteString(message)
	if file != "" && source != "" {
		source = redact.InPlace(source)
		fmt.Fprintf(&b, "\n    %s", source)
		if column > 0 {
			// Tabs stay tabs so that the caret stands under its character.
			b.WriteString("\n    ")
			for i, r := range []rune(source) {
				if i >= column-1 {
					break
				}
				if r != '\t' {
					r = ' '
				}
				b.WriteRune(r)
			}
			b.WriteByte('^')
		}
	}
	if hint != "" {
		fmt.Fprintf(&b, "\n  hint: %s", hint)
	}
	return b.String()
}
