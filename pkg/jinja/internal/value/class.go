package value

// Object is a value of a class that another package defines.
type Object interface{ Class() *Class }

// Class specifies how the values of a class behave. A nil function is something that the
// class does not support. The value is the first argument of each function.
type Class struct {
	// Name is the name of the class, and Module its module, "" for built-in classes.
	Name, Module string
	// Private are the attributes with underscores that the class has in addition to
	// those of every object. The sandbox refuses them.
	Private []string
	// Attr returns an attribute.
	Attr func(v any, fr *Frame, name string) (any, bool)
	// Names returns the attributes to suggest for a misspelled one.
	AttrNames func(v any) []string
	// Repr is repr(v); fr may be nil.
	Repr func(v any, fr *Frame) string
	// Text is what the value prints. It needs no escaping for HTML.
	Text func(v any) string
	// Call, Iterate, Length and Equal are v(…), iter(v), len(v) and ==.
	Call    func(v any, fr *Frame, args []any, kw []Keyword) any
	Iterate func(v any, fr *Frame) Iterator
	Length  func(v any, fr *Frame) int64
	// Item returns the item of a key.
	Item  func(v any, fr *Frame, key any) (any, bool)
	Equal func(v any, fr *Frame, other any) bool
}

// PlainRepr is the Repr of classes that do not define one.
func PlainRepr(v any, _ *Frame) string {
	return "<" + objectTypeRepr(v) + " at " + ObjectAddress(v) + ">"
}

// Indexed returns the class of an object that has items, or nil.
func Indexed(v any) *Class {
	if o, ok := v.(Object); ok {
		if c := o.Class(); c.Item != nil {
			return c
		}
	}
	return nil
}

// AsTuple returns a tuple, or what counts as one.
func AsTuple(v any) (Tuple, bool) {
	switch v := v.(type) {
	case Tuple:
		return v, true
	case *GroupTuple:
		return v.Tuple(), true
	}
	return nil, false
}
