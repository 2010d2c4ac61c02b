package raise

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
)

// Kind classifies an [Error].
type Kind string

// The kinds of errors.
const (
	// KindSyntax is a template that does not parse or compile.
	KindSyntax Kind = "syntax"
	// KindUndefined is the use of an undefined value.
	KindUndefined Kind = "undefined"
	// KindNotFound is a template that the loader does not have.
	KindNotFound Kind = "notfound"
	// KindSecurity is an access that the sandbox refuses.
	KindSecurity Kind = "security"
	// KindCanceled is a render whose context was canceled or passed its deadline.
	KindCanceled Kind = "canceled"
	// KindLimit is an exceeded limit of the render.
	KindLimit Kind = "limit"
	// KindRuntime is any other error: wrong types, wrong arguments, errors of Go
	// functions.
	KindRuntime Kind = "runtime"
)

// Frame is one step of the chain that led to an error: a place in a template where
// something was included, imported, extended or called.
type Frame struct {
	// Template is the name of the template.
	Template string
	// Line and Column count from 1; Column counts characters.
	Line, Column int
	// What names the construct at the place, such as `macro "install"` or `include`.
	What string
	// Omitted is the number of frames omitted before this one in a long recursion.
	Omitted int
}

// sameStep reports whether two frames show the same call, as in a recursion.
func (f Frame) sameStep(o Frame) bool {
	f.Omitted, o.Omitted = 0, 0
	return f == o
}

// Error is a template error with its place.
type Error struct {
	// Template is the name of the template that holds the place.
	Template string
	// Line and Column count from 1, Column in characters; 0 when there is no place.
	Line, Column int
	// SourceLine is the text of the line.
	SourceLine string
	// Kind classifies the mistake.
	Kind Kind
	// Message describes what is wrong, in the words of Jinja2 and Python.
	Message string
	// Hint is a suggestion, or "".
	Hint string
	// Trace is the chain of templates, blocks and macros that led to the place,
	// outermost first.
	Trace []Frame
	// Class is the class of the exception in Python.
	Class string
	// Cause is the error of the Go function or loader that caused this one, or nil.
	Cause error
}

// Unwrap returns the error of the Go function or loader that caused this one, or nil.
func (e *Error) Unwrap() error { return e.Cause }

// Error returns several lines: the place and the message, the line of the source with
// a caret and without credentials, the chain that led there, and the hint. The hint is part of the text
// because an error of several templates shows each hint at its place.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Line > 0 {
		fmt.Fprintf(&b, "%s:%d:%d: ", e.Template, e.Line, e.Column)
	} else if e.Template != "" {
		fmt.Fprintf(&b, "%s: ", e.Template)
	}
	b.WriteString(e.Message)
	if e.Line > 0 && strings.TrimSpace(e.SourceLine) != "" {
		line, column := clipLine(e.SourceLine, e.Column)
		b.WriteString("\n" + usererr.Position{Line: line, Column: column}.Excerpt())
	}
	for i := len(e.Trace) - 1; i >= 0; i-- {
		f := e.Trace[i]
		fmt.Fprintf(&b, "\n  in %s, at %s:%d:%d", f.What, f.Template, f.Line, f.Column)
		// Equal steps are printed once.
		more := f.Omitted
		for i > 0 && e.Trace[i-1].sameStep(f) {
			i--
			more += 1 + e.Trace[i].Omitted
		}
		if more > 0 {
			fmt.Fprintf(&b, "\n  … %d more like this", more)
		}
	}
	if e.Hint != "" {
		fmt.Fprintf(&b, "\n  hint: %s", e.Hint)
	}
	return b.String()
}

// clipLine shortens a very long line to the surroundings of the column.
func clipLine(line string, column int) (string, int) {
	const width = 160
	r := []rune(line)
	if len(r) <= width {
		return line, column
	}
	start := max(0, min(column-width/2, len(r)-width))
	return string(r[start : start+width]), column - start
}
