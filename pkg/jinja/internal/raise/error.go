package raise

import (
	"fmt"
	"strings"
)

// Kind says what sort of mistake an [Error] is, as a caller may decide on it.
type Kind string

// The kinds of errors.
const (
	// KindSyntax is a template that does not parse or compile.
	KindSyntax Kind = "syntax"
	// KindUndefined is the use of an undefined value.
	KindUndefined Kind = "undefined"
	// KindNotFound is a template that no loader has.
	KindNotFound Kind = "notfound"
	// KindSecurity is an access that the sandbox refuses.
	KindSecurity Kind = "security"
	// KindCanceled is a render whose context was canceled or passed its deadline.
	KindCanceled Kind = "canceled"
	// KindLimit is a bound of [Limits] that was reached.
	KindLimit Kind = "limit"
	// KindRuntime is everything else: wrong types, wrong arguments, errors of Go functions.
	KindRuntime Kind = "runtime"
)

// Frame is one step of the way that led to an error: the place in a template
// where something was included, imported, extended or called.
type Frame struct {
	// Template is the name of the template.
	Template string
	// Line and Column count from 1; Column counts characters.
	Line, Column int
	// What is what was entered there, such as `macro "install"` or `include`.
	What string
	// Left is the number of frames that were left out before this one, where a
	// runaway recursion made too many.
	Omitted int
}

// sameStep says whether two frames show the same call, as those of a recursion do.
func (f Frame) sameStep(o Frame) bool {
	f.Omitted, o.Omitted = 0, 0
	return f == o
}

// Error is a located template error. Every error that this package returns for
// a template is one, or wraps one.
type Error struct {
	// Template is the name of the template that holds the place.
	Template string
	// Line and Column count from 1, Column in characters; 0 when there is no place.
	Line, Column int
	// SourceLine is the line itself, without its newline.
	SourceLine string
	// Kind is what sort of mistake it is.
	Kind Kind
	// Message says what is wrong, in Jinja2's words where it has some.
	Message string
	// Hint is a suggestion, or empty.
	Hint string
	// Trace is the chain of templates, blocks and macros, outermost first, that led to the place.
	Trace []Frame

	Class string // the class of Python's exception
	Cause error
}

// Unwrap returns the error of the Go function or loader that caused this one, or nil.
func (e *Error) Unwrap() error { return e.Cause }

// Error is a message of several lines: the place and the message, the line with
// a caret, the chain that led there, and the hint.
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
		fmt.Fprintf(&b, "\n    %s\n    %s^", line, caretPadding(line, column-1))
	}
	for i := len(e.Trace) - 1; i >= 0; i-- {
		f := e.Trace[i]
		fmt.Fprintf(&b, "\n  in %s, at %s:%d:%d", f.What, f.Template, f.Line, f.Column)
		// What repeats is told once.
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

// clipLine keeps the neighbourhood of the column of a very long line.
func clipLine(line string, column int) (string, int) {
	const width = 160
	r := []rune(line)
	if len(r) <= width {
		return line, column
	}
	start := max(0, min(column-width/2, len(r)-width))
	return string(r[start : start+width]), column - start
}

// caretPadding is white space as wide as the first n characters of line; tabs stay tabs.
func caretPadding(line string, n int) string {
	var b strings.Builder
	for _, r := range line {
		if n <= 0 {
			break
		}
		n--
		if r == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}
