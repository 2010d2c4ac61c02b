package value

// Object is a value whose class is not one of this package's.
type Object interface{ Class() *Class }

// Class says how the values of a class behave. Functions that are nil are what
// the class does not support; each gets the value as its first argument.
type Class struct {
	// name is the name of the class, and module where Python has it, "" for built-ins.
	Name, Module string
	// private are the attributes with underscores that the class has beyond those of
	// every object; the sandbox refuses them.
	Private []string
	// attr looks an attribute up.
	Attr func(v any, fr *Frame, name string) (any, bool)
	// names are the attributes to suggest for a misspelled one.
	Names func(v any) []string
	// Repr is repr(v); fr may be nil.
	Repr func(v any, fr *Frame) string
	// text is what the value prints, which is safe in HTML.
	Text    func(v any) string
	Call    func(v any, fr *Frame, args []any, kw []Keyword) any
	Iterate func(v any, fr *Frame) Iterator
	Length  func(v any, fr *Frame) int64
	// item is the item of a key.
	Item  func(v any, fr *Frame, key any) (any, bool)
	Equal func(v any, fr *Frame, other any) bool
}

// PlainRepr is the repr of a value whose class has none of its own.
func PlainRepr(v any, _ *Frame) string {
	return "<" + objectTypeRepr(v) + " at " + ObjectAddress(v) + ">"
}

// itemsOf is the class of a value that has items, or nil.
func Indexed(v any) *Class {
	if o, ok := v.(Object); ok {
		if c := o.Class(); c.Item != nil {
			return c
		}
	}
	return nil
}

func AsTuple(v any) (Tuple, bool) {
	switch v := v.(type) {
	case Tuple:
		return v, true
	case *GroupTuple:
		return v.Tuple(), true
	}
	return nil, false
}
