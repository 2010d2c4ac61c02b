// Package usererr adds to errors what a person needs to correct them: one hint, the
// position of the mistake, and whether the command line was wrong. It must not know
// particular mistakes; any error type can provide a hint with a Hint method.
//
// The text of an error is only its cause, "doing thing: cause". Packages return hints
// beside it, and the main program prints the outermost one, once.
package usererr

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/redact"
)

// ErrReported is the error of a command whose result has been printed and is not
// success, such as images that failed or differ: the exit status is 1, and
// nothing is left to print.
var ErrReported = errors.New("the command has reported a failure")

// Error is an error with details for a person. All fields but Err are optional.
type Error struct {
	Err      error    // the cause
	Hint     string   // what to do about it: one line, no full stop
	Position Position // where the mistake is
	Usage    bool     // the command line is wrong: exit status 2
}

// Error returns the cause, after the position if there is one. It never contains
// the hint.
func (e *Error) Error() string {
	if p := e.Position.String(); p != "" {
		return p + ": " + e.Err.Error()
	}
	return e.Err.Error()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf returns an error with a hint. The format may contain %w.
func Errorf(hint, format string, args ...any) error {
	return &Error{Err: fmt.Errorf(format, args...), Hint: hint}
}

// WithHint adds a hint to an error and takes precedence over the hints that the
// error has already. It returns nil for a nil error, and err itself without a
// hint.
func WithHint(err error, hint string) error {
	if err == nil || hint == "" {
		return err
	}
	return &Error{Err: err, Hint: hint}
}

// Usage marks an error as a mistake on the command line, for which the program
// exits with status 2. It returns nil for a nil error.
func Usage(err error) error {
	if err == nil {
		return nil
	}
	return &Error{Err: err, Usage: true}
}

// Hint returns the outermost hint of an error, "" if it has none: that of an *Error, or
// of any type with a method `Hint() string`.
func Hint(err error) string {
	hint := ""
	walk(err, func(e error) bool {
		switch e := e.(type) {
		case *Error:
			hint = e.Hint
		case interface{ Hint() string }:
			hint = e.Hint()
		}
		return hint != ""
	})
	return hint
}

// IsUsage reports whether the command line is wrong: whether the error has an
// *Error with Usage, or an error with a method `Usage() bool` that returns true.
func IsUsage(err error) bool {
	return walk(err, func(e error) bool {
		switch e := e.(type) {
		case *Error:
			return e.Usage
		case interface{ Usage() bool }:
			return e.Usage()
		}
		return false
	})
}

// Inconclusive marks an error of a command whose exit status 1 is an answer, such as
// that two images differ: the program exits with status 2. It returns nil for a nil
// error, and ErrReported, which is such an answer, as it is.
func Inconclusive(err error) error {
	if err == nil || errors.Is(err, ErrReported) {
		return err
	}
	return &inconclusive{err}
}

// IsInconclusive reports whether an error is one of Inconclusive.
func IsInconclusive(err error) bool {
	var e *inconclusive
	return errors.As(err, &e)
}

type inconclusive struct{ err error }

func (e *inconclusive) Error() string { return e.err.Error() }
func (e *inconclusive) Unwrap() error { return e.err }

// Text returns all that is printed about an error: its message, the line with the
// mistake and a caret, and the hint. Lines after the first are indented.
func Text(err error) string {
	var b strings.Builder
	b.WriteString(err.Error())
	walk(err, func(e error) bool {
		located, ok := e.(*Error)
		if !ok || located.Position.Line == "" {
			return false
		}
		b.WriteByte('\n')
		b.WriteString(located.Position.Excerpt())
		return true
	})
	if hint := Hint(err); hint != "" {
		fmt.Fprintf(&b, "\n  hint: %s", hint)
	}
	return shortenLines(printable.Visible(b.String()))
}

// maxLine is the length in bytes of the longest line that is printed of an error. Longer ones quote
// a file in which others wrote everything in one line.
const maxLine = 8 << 10

// shortenLines leaves out the middle of lines that are too long.
func shortenLines(text string) string {
	if len(text) <= maxLine {
		return text
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if n := len(line) - maxLine; n > 0 {
			line = line[:maxLine/2] + fmt.Sprintf(" … (%d bytes) … ", n) + line[len(line)-maxLine/2:]
			lines[i] = strings.ToValidUTF8(line, "")
		}
	}
	return strings.Join(lines, "\n")
}

// walk calls visit for an error and all that it wraps, outermost first, until it
// returns true, and reports whether it did.
func walk(err error, visit func(error) bool) bool {
	if err == nil {
		return false
	}
	if visit(err) {
		return true
	}
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		return walk(e.Unwrap(), visit)
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			if walk(inner, visit) {
				return true
			}
		}
	}
	return false
}

// Position is a place in a file. The zero value means unknown.
type Position struct {
	File   string
	LineNo int    // 1-based, 0 if unknown
	Column int    // 1-based, in characters, 0 if unknown
	Line   string // the line's text, "" if unknown
}

// String returns "FILE:LINE:COLUMN", as far as it is known, "" without a file.
func (p Position) String() string {
	switch {
	case p.File == "" || p.LineNo <= 0:
		return p.File
	case p.Column <= 0:
		return fmt.Sprintf("%s:%d", p.File, p.LineNo)
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.LineNo, p.Column)
}

// excerptWidth is the number of characters of a line that an excerpt shows.
const excerptWidth = 400

// Excerpt returns the line, indented, with a caret below the column, or the part of a long line
// around it. Credentials in URLs are masked, character by character so that the caret stays in place.
func (p Position) Excerpt() string {
	const indent = "    "
	line, before := []rune(redact.InPlace(p.Line)), max(0, p.Column-1)
	if len(line) > excerptWidth {
		start := min(max(0, before-excerptWidth/2), len(line)-excerptWidth)
		end := start + excerptWidth
		part := slices.Clone(line[start:end])
		if start > 0 {
			part[0] = '…'
		}
		if end < len(line) {
			part[len(part)-1] = '…'
		}
		line, before = part, before-start
	}
	if p.Column <= 0 {
		return indent + string(line)
	}
	var b strings.Builder
	b.WriteString(indent + string(line) + "\n" + indent)
	for _, r := range line[:min(before, len(line))] {
		if r != '\t' { // tabs keep the caret aligned
			r = ' '
		}
		b.WriteRune(r)
	}
	b.WriteByte('^')
	return b.String()
}

// FirstLine returns the first line of an error's message, for places that have
// room for one.
func FirstLine(err error) string {
	line, _, _ := strings.Cut(strings.TrimSpace(err.Error()), "\n")
	return line
}
