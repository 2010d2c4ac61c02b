package config

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Error is a mistake of the user, with its place. Several errors can be joined, so that
// place and hint are part of the text of each one. File is "" for the command line and
// the environment.
type Error struct {
	File       string
	Line       int    // 1-based, 0 for none
	Column     int    // 1-based, in characters, 0 for none
	SourceLine string // the line, or the arguments, as written
	Option     string // the name of the option, "" for none
	Message    string // what is wrong
	Hint       string // what to do, "" for nothing
}

// Error returns the message with its place, the line with a caret, and the hint, each on
// its own line.
func (e *Error) Error() string {
	return locate(e.File, e.Line, e.Column, e.SourceLine, e.Message, e.Hint)
}

// Usage reports whether the command line is wrong, for which the program exits with
// status 2: an unknown option, a missing or an impossible value, an unknown profile. For
// mistakes in files it exits with 1, like Kolla's tool.
func (e *Error) Usage() bool { return e.File == "" }

// Warning is a problem that does not stop the command. With --strict, a warning about
// an unknown name is an Error instead.
type Warning struct {
	File       string
	Line       int
	Column     int
	SourceLine string
	Option     string
	Message    string
	Hint       string
}

// String returns the warning in the form of Error.Error.
func (w Warning) String() string {
	return locate(w.File, w.Line, w.Column, w.SourceLine, w.Message, w.Hint)
}

// Short returns the warning in one line, without the line of the file.
func (w Warning) Short() string {
	text := locate(w.File, w.Line, w.Column, "", w.Message, "")
	if w.Hint != "" {
		text += "; hint: " + w.Hint
	}
	return text
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
		b.WriteString("\n" + usererr.Position{Line: source, Column: column}.Excerpt())
	}
	if hint != "" {
		fmt.Fprintf(&b, "\n  hint: %s", hint)
	}
	return b.String()
}
