package raise

import (
	"fmt"
)

// FromError makes an exception of a Go error. A template error keeps its kind.
func FromError(err error) *Exception {
	if e, ok := err.(*Error); ok {
		return &Exception{Class: e.Class, Kind: e.Kind, Message: e.Message, Hint: e.Hint, Cause: err}
	}
	return &Exception{Class: "GoError", Kind: KindRuntime, Message: err.Error(), Cause: err}
}

// Exception is what the evaluator panics with: an exception that has no place yet.
type Exception struct {
	Class   string // the class of Python's exception
	Kind    Kind
	Message string
	Hint    string
	Name    string // the undefined name, for a suggestion
	Element any    // the undefined attribute or item, for a suggestion
	Cause   error
	Located *Error // set when the place is known already
}

// String makes a stray panic readable.
func (r *Exception) String() string { return r.Class + ": " + r.Message }

func As(kind Kind, class, format string, args ...any) {
	panic(&Exception{Class: class, Kind: kind, Message: fmt.Sprintf(format, args...)})
}

func Type(format string, args ...any) { As(KindRuntime, "TypeError", format, args...) }

func Value(format string, args ...any) { As(KindRuntime, "ValueError", format, args...) }

func Limit(format string, args ...any) { As(KindLimit, "LimitError", format, args...) }

// Template is Jinja2's TemplateRuntimeError.
func Template(format string, args ...any) {
	As(KindRuntime, "TemplateRuntimeError", format, args...)
}

// FilterArgument is Jinja2's FilterArgumentError.
func FilterArgument(format string, args ...any) {
	As(KindRuntime, "FilterArgumentError", format, args...)
}

// is reports whether the exception is of one of the classes.
func (r *Exception) Is(classes ...string) bool {
	for _, c := range classes {
		if r.Class == c {
			return true
		}
		if c == "LookupError" && (r.Class == "KeyError" || r.Class == "IndexError" || r.Class == "TemplateNotFound") {
			return true
		}
		if c == "ValueError" && r.Class == "UnicodeError" {
			return true
		}
		if c == "Exception" && r.Kind != KindLimit && r.Kind != KindCanceled {
			return true
		}
	}
	return false
}

// At raises an error at a place of a source, an offset in bytes.
func At(kind Kind, class, message, hint, name, src string, pos int) {
	e := &Error{Kind: kind, Class: class, Message: message, Hint: hint}
	Locate(e, name, src, pos)
	Again(e)
}

// Again raises an error that has a place already.
func Again(e *Error) {
	panic(&Exception{Class: e.Class, Kind: e.Kind, Message: e.Message, Located: e})
}
