package value

import (
	"math/big"
)

// Bytes is Python's bytes. Templates get it from str.encode.
type Bytes string

// IsSequence reports whether v can be repeated by `*`.
func IsSequence(v any) bool {
	switch v.(type) {
	case string, Markup, *List, Tuple, *GroupTuple, Bytes:
		return true
	}
	return false
}

// The values of templates are Go values of these types:
//
//	None      nil            bool     bool       int    int64, *big.Int
//	float     float64        str      string     Markup Markup
//	list      *List          dict     *Dict      tuple  Tuple
//	undefined *Undefined     template *Template
//
// and opaque ones: functions, macros, modules, iterators, ranges, views.

// List is Python's list. It is shared by all names that are bound to it.
type List struct{ Items []any }

// NewList returns a list of the items.
func NewList(items ...any) *List { return &List{Items: items} }

// Tuple is Python's tuple.
type Tuple []any

// Markup is text that needs no escaping for HTML.
type Markup string

// Missing marks a variable without a value. Templates see it in the few places where
// they see Jinja2's own marker.
var Missing any = &Marker{"missing"}

// Marker is the type of Missing and of similar markers.
type Marker struct{ Name string }

// Range is Python's range.
type Range struct{ Start, Stop, Step int64 }

// Len is len(r).
func (r *Range) Len() int64 {
	switch {
	case r.Step > 0 && r.Start < r.Stop:
		return (r.Stop-r.Start-1)/r.Step + 1
	case r.Step < 0 && r.Start > r.Stop:
		return (r.Start-r.Stop-1)/(-r.Step) + 1
	}
	return 0
}

// At returns an item by its index.
func (r *Range) At(i int64) int64 { return r.Start + i*r.Step }

// Namespace is Jinja2's namespace().
type Namespace struct{ Attrs *Dict }

// TypeName returns the name of a value's class.
func TypeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case *List:
		return "list"
	case Tuple, *GroupTuple:
		if _, ok := v.(*GroupTuple); ok {
			return "_GroupTuple"
		}
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return [...]string{"Undefined", "StrictUndefined", "ChainableUndefined"}[v.mode]
	case *Range:
		return "range"
	case *DictView:
		return v.Kind.typeName()
	case *IterObject:
		return v.TypeName
	case *Namespace:
		return "Namespace"
	case *Callable:
		return v.typeName()
	case Object:
		return v.Class().Name
	case Bytes:
		return "bytes"
	case *Set:
		return "set"
	case *Marker:
		return "MissingType"
	}
	return "object"
}

// objectTypeRepr returns the name of a value's class as in Jinja2's messages about
// undefined attributes.
func objectTypeRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case *Undefined, *Namespace:
		return "jinja2.runtime." + TypeName(v) + " object"
	case Object:
		if c := v.Class(); c.Module != "" {
			return c.Module + "." + c.Name + " object"
		}
	case Markup:
		return "markupsafe.Markup object"
	}
	return TypeName(v) + " object"
}

// AsStr returns the text of a str or a Markup.
func AsStr(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}
