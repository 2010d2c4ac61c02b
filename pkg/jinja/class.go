package jinja

// object is a value whose class is not one of this package's.
type object interface{ Class() *class }

// class says how the values of a class behave. Functions that are nil are what
// the class does not support; each gets the value as its first argument.
type class struct {
	// name is the name of the class, and module where Python has it, "" for built-ins.
	name, module string
	// private are the attributes with underscores that the class has beyond those of
	// every object; the sandbox refuses them.
	private []string
	// attr looks an attribute up.
	attr func(v any, fr *vframe, name string) (any, bool)
	// names are the attributes to suggest for a misspelled one.
	names func(v any) []string
	// repr is repr(v); fr may be nil.
	repr func(v any, fr *vframe) string
	// text is what the value prints, which is safe in HTML.
	text    func(v any) string
	call    func(v any, fr *vframe, args []any, kw []kwArg) any
	iterate func(v any, fr *vframe) iterator
	length  func(v any, fr *vframe) int64
	// item is the item of a key.
	item  func(v any, fr *vframe, key any) (any, bool)
	equal func(v any, fr *vframe, other any) bool
}

// plainRepr is the repr of a value whose class has none of its own.
func plainRepr(v any, _ *vframe) string {
	return "<" + objectTypeRepr(v) + " at " + objectAddress(v) + ">"
}

// textOf is what a value prints if that is safe in HTML.
func textOf(v any) (string, bool) {
	switch v := v.(type) {
	case Markup:
		return string(v), true
	case object:
		if c := v.Class(); c.text != nil {
			return c.text(v), true
		}
	}
	return "", false
}

// itemsOf is the class of a value that has items, or nil.
func indexed(v any) *class {
	if o, ok := v.(object); ok {
		if c := o.Class(); c.item != nil {
			return c
		}
	}
	return nil
}
