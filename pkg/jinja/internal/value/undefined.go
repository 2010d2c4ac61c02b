package value

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// UndefinedMode selects the behaviour of unknown names.
type UndefinedMode int

// The modes, as Jinja2's classes Undefined, StrictUndefined and ChainableUndefined.
const (
	// Default prints as nothing and is false and empty; every other use is an error.
	Default UndefinedMode = iota
	// Strict is an error on every use but the tests "defined" and "undefined".
	Strict
	// Chainable is like Default, and its attributes and items are undefined too.
	Chainable
)

// CheckUndefined raises an error if an operand is undefined: no operator accepts it.
func CheckUndefined(a, b any) {
	if u, ok := a.(*Undefined); ok {
		RaiseUndefined(u)
	}
	if u, ok := b.(*Undefined); ok {
		RaiseUndefined(u)
	}
}

// Undefined is the value of a name, attribute or item that does not exist. It is not
// None, which is nil.
type Undefined struct {
	hint string // the message, if set
	obj  any    // the object without the attribute or item, if hasObj
	name any    // of the variable, attribute or item

	hasObj   bool
	security bool // use is a SecurityError
	mode     UndefinedMode
	origin   *Origin // nil if no template names it, as an argument that a macro was called without
}

// Origin is the name, attribute or item in a template that is undefined.
type Origin struct {
	Template any
	Pos      int    // the offset in its source
	Object   string // the name of the variable that lacks the attribute or item, or ""
}

// WithOrigin returns v, with its origin if it is an undefined name, attribute or item without one.
func WithOrigin(v any, at *Origin) any {
	if u, ok := v.(*Undefined); ok && u.origin == nil && u.hint == "" {
		u.origin = at
	}
	return v
}

// WithoutOrigin returns v, as a copy whose uses are not reported if it is undefined.
func WithoutOrigin(v any) any {
	if u, ok := v.(*Undefined); ok && u.origin != nil {
		tested := *u
		tested.origin = nil
		return &tested
	}
	return v
}

// Origin returns the place that the value comes from, or nil.
func (u *Undefined) Origin() *Origin { return u.origin }

// UseUndefined is called when a value is printed, compared or iterated over. Tests of its truth
// and length are not such uses: they are how templates ask whether a value exists.
func (t *Thread) UseUndefined(v any) {
	if u, ok := v.(*Undefined); ok && u.origin != nil && t != nil && t.OnUndefined != nil {
		t.OnUndefined(u)
	}
}

// NewUndefined returns an undefined value whose use is an error with the message.
func NewUndefined(mode UndefinedMode, message string) *Undefined {
	return &Undefined{hint: message, mode: mode}
}

// UndefinedName returns the value of an unknown name.
func UndefinedName(mode UndefinedMode, name string, at *Origin) *Undefined {
	return &Undefined{name: name, mode: mode, origin: at}
}

// UndefinedElement returns the value of an attribute or item that obj lacks.
func UndefinedElement(mode UndefinedMode, obj, name any) *Undefined {
	return &Undefined{obj: obj, hasObj: true, name: name, mode: mode}
}

// UnsafeElement returns the value of an attribute that the sandbox refuses.
func UnsafeElement(mode UndefinedMode, obj any, attr string) *Undefined {
	return &Undefined{
		hint: "access to attribute " + Repr(attr) + " of " + Repr(TypeName(obj)) + " object is unsafe.",
		obj:  obj, hasObj: true, name: attr, security: true, mode: mode,
	}
}

// Element returns the object, and the attribute or item that it lacks.
func (u *Undefined) Element() (obj, name any) { return u.obj, u.name }

// Mode returns the mode of the environment that made the value.
func (u *Undefined) Mode() UndefinedMode { return u.mode }

// IsUndefined reports whether v is undefined.
func IsUndefined(v any) bool {
	_, ok := v.(*Undefined)
	return ok
}

// Message returns the text of the error that using the value raises.
func (u *Undefined) Message() string {
	if u.hint != "" {
		return u.hint
	}
	if !u.hasObj {
		return Repr(u.name) + " is undefined"
	}
	if s, ok := u.name.(string); ok {
		return Repr(objectTypeRepr(u.obj)) + " has no attribute " + Repr(s)
	}
	return objectTypeRepr(u.obj) + " has no element " + Repr(u.name)
}

// RaiseUndefined raises the error of using an undefined value.
func RaiseUndefined(u *Undefined) {
	r := &raise.Exception{Class: "UndefinedError", Kind: raise.KindUndefined, Message: u.Message()}
	if u.security {
		r.Class, r.Kind = "SecurityError", raise.KindSecurity
	} else if u.hasObj {
		r.Undefined = u
	} else if u.hint == "" {
		r.UndefinedName, _ = u.name.(string)
	}
	panic(r)
}
