package raise

import "fmt"

// Exception is the panic value of code that runs a template. Most exceptions have no
// place, which the engine adds.
type Exception struct {
	Class         string // the class of Python's exception
	Kind          Kind
	Message       string
	Hint          string
	UndefinedName string // the undefined name, for a suggestion
	Undefined     any    // the undefined attribute or item, for a suggestion
	Cause         error
	Located       *Error // set when the place is already known
}

// String is the text of the exception in a panic that nothing recovers.
func (e *Exception) String() string { return e.Class + ": " + e.Message }

// FromError returns the exception of an error that a Go function returned. A template
// error keeps its kind.
func FromError(err error) *Exception {
	if e, ok := err.(*Error); ok {
		return &Exception{Class: e.Class, Kind: e.Kind, Message: e.Message, Hint: e.Hint, Cause: err}
	}
	return &Exception{Class: "GoError", Kind: KindRuntime, Message: err.Error(), Cause: err}
}

// Named raises an exception of a class of Python, of KindRuntime.
func Named(class, format string, args ...any) { As(KindRuntime, class, format, args...) }

// As raises an exception of a class of Python.
func As(kind Kind, class, format string, args ...any) {
	panic(&Exception{Class: class, Kind: kind, Message: fmt.Sprintf(format, args...)})
}

// Type raises a TypeError.
func Type(format string, args ...any) { Named("TypeError", format, args...) }

// Value raises a ValueError.
func Value(format string, args ...any) { Named("ValueError", format, args...) }

// Limit raises an error of KindLimit.
func Limit(format string, args ...any) { As(KindLimit, "LimitError", format, args...) }

// Template raises Jinja2's TemplateRuntimeError.
func Template(format string, args ...any) { Named("TemplateRuntimeError", format, args...) }

// FilterArgument raises Jinja2's FilterArgumentError.
func FilterArgument(format string, args ...any) { Named("FilterArgumentError", format, args...) }

// Is reports whether the exception is of one of the classes, or of a subclass.
func (e *Exception) Is(classes ...string) bool {
	for _, c := range classes {
		if e.Class == c {
			return true
		}
		if c == "LookupError" && (e.Class == "KeyError" || e.Class == "IndexError" || e.Class == "TemplateNotFound") {
			return true
		}
		if c == "ValueError" && e.Class == "UnicodeError" {
			return true
		}
		if c == "Exception" && e.Kind != KindLimit && e.Kind != KindCanceled {
			return true
		}
	}
	return false
}

// At raises an error at an offset, in bytes, of the source of the named template.
func At(kind Kind, class, message, hint, name, src string, pos int) {
	e := &Error{Kind: kind, Class: class, Message: message, Hint: hint}
	Locate(e, name, src, pos)
	Reraise(e)
}

// Again raises an error that has a place already.
func Reraise(e *Error) {
	panic(&Exception{Class: e.Class, Kind: e.Kind, Message: e.Message, Located: e})
}
