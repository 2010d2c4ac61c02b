package method

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Method is a method of a built-in type.
type Method struct {
	*value.Callable
	// Bound reports that it is printed like a method of a class written in Python.
	Bound bool
	// owner is the class from which Markup has the method: "str" if Markup wraps it.
	owner string
	run   func(fr *value.Frame, recv any, a []any) any
	rawly func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any
}

// Call calls the method of a value.
func (m *Method) Call(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
	fr.Step()
	fr.ScanText(recv)
	fr.ScanArguments(args)
	if m.rawly != nil {
		return m.rawly(fr, recv, args, kw)
	}
	return m.run(fr, recv, value.Bind(m.Callable, args, kw))
}

// BoundMethod is a method with its object, as an attribute of which it was read.
type BoundMethod struct {
	Recv   any
	Name   string
	Method *Method
}

// Table has the methods of a type by name. Parameters are described as for
// [value.NewFunction]; a leading / makes them positional.
type Table map[string]*Method

// Add adds a method that gets its bound arguments.
func (t Table) Add(name, params string, run func(fr *value.Frame, recv any, a []any) any) {
	pos := strings.HasPrefix(params, "/")
	c := value.NewFunction(name, strings.TrimPrefix(params, "/"), nil)
	c.PositionalOnly = pos
	t[name] = &Method{Callable: c, run: run}
}

// addRaw adds a method that gets its arguments unbound.
func (t Table) addRaw(name string, run func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any) {
	t[name] = &Method{Callable: &value.Callable{Name: name}, rawly: run}
}

var boundClass = value.Class{
	Name:    "builtin_function_or_method",
	Private: []string{"__call__", "__name__", "__qualname__", "__self__", "__text_signature__", "__module__"},
}

// formatClass is the class of str.format and str.format_map: the sandbox replaces them
// by functions.
var formatClass = value.Class{Name: "builtin_function_or_method", Private: []string{
	"__call__", "__code__", "__closure__", "__defaults__", "__dict__", "__globals__", "__module__", "__name__",
	"__qualname__", "__wrapped__",
}}

func init() {
	for _, c := range []*value.Class{&boundClass, &formatClass} {
		c.Repr = func(v any, _ *value.Frame) string { return v.(*BoundMethod).repr() }
		c.Call = func(v any, fr *value.Frame, args []any, kw []value.Keyword) any {
			b := v.(*BoundMethod)
			return b.Method.Call(fr, b.Recv, args, kw)
		}
		c.Equal = func(v any, _ *value.Frame, other any) bool {
			x := v.(*BoundMethod)
			y, ok := other.(*BoundMethod)
			return ok && x.Name == y.Name && value.Identical(x.Recv, y.Recv)
		}
	}
}

// Class describes the method as a value of templates.
func (b *BoundMethod) Class() *value.Class {
	if b.Name == "format" || b.Name == "format_map" {
		return &formatClass
	}
	return &boundClass
}

func (b *BoundMethod) repr() string {
	_, markup := b.Recv.(value.Markup)
	switch {
	case b.Class() == &formatClass && markup && b.Name == "format":
		return "<function Markup.format at " + value.ObjectAddress(b) + ">"
	case b.Class() == &formatClass:
		return "<function str." + b.Name + " at " + value.ObjectAddress(b) + ">"
	case markup && b.Method.owner != "":
		return "<bound method " + b.Method.owner + "." + b.Name + " of " + value.Repr(b.Recv) + ">"
	case b.Method.Bound:
		return "<bound method " + value.TypeName(b.Recv) + "." + b.Name + " of " + value.Repr(b.Recv) + ">"
	}
	return "<built-in method " + b.Name + " of " + value.TypeName(b.Recv) + " object at " + value.ObjectAddress(b) + ">"
}

var (
	listMethods  = Table{}
	dictMethods  = Table{}
	tupleMethods = Table{}
	intMethods   = Table{}
	floatMethods = Table{}
	rangeMethods = Table{}
	bytesMethods = Table{}
	setMethods   = Table{}
	viewMethods  = Table{}
)
