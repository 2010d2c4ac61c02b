package jinja

import "strings"

// method is a built-in method of a type.
type method struct {
	*callable
	// bound says that it prints as a method of a Python class, not as a built-in one.
	bound bool
	// owner is the class that Markup has the method from: "str" for wrapped ones.
	owner string
	run   func(fr *vframe, recv any, a []any) any
	rawly func(fr *vframe, recv any, args []any, kw []kwArg) any
}

func (m *method) call(fr *vframe, recv any, args []any, kw []kwArg) any {
	fr.step()
	fr.scanText(recv)
	fr.scanArgs(args)
	if m.rawly != nil {
		return m.rawly(fr, recv, args, kw)
	}
	return m.run(fr, recv, bind(m.callable, args, kw))
}

// boundMethod is a method taken from its object without calling it.
type boundMethod struct {
	recv any
	name string
	m    *method
}

// methodTable maps names to methods. Parameters are as for spec; a leading / makes
// them positional.
type methodTable map[string]*method

func (t methodTable) add(name, params string, run func(fr *vframe, recv any, a []any) any) {
	pos := strings.HasPrefix(params, "/")
	c := spec(name, strings.TrimPrefix(params, "/"), nil)
	c.posOnly = pos
	t[name] = &method{callable: c, run: run}
}

func (t methodTable) addRaw(name string, run func(fr *vframe, recv any, args []any, kw []kwArg) any) {
	t[name] = &method{callable: &callable{name: name}, rawly: run}
}

var boundClass = class{name: "builtin_function_or_method", private: []string{"__call__", "__name__", "__qualname__", "__self__", "__text_signature__", "__module__"}}

// formatClass is the class of the format methods: the sandbox has put functions
// of its own in their place.
var formatClass = class{name: "builtin_function_or_method", private: []string{
	"__call__", "__code__", "__closure__", "__defaults__", "__dict__", "__globals__", "__module__", "__name__", "__qualname__", "__wrapped__",
}}

func init() {
	for _, c := range []*class{&boundClass, &formatClass} {
		c.repr = func(v any, _ *vframe) string { return v.(*boundMethod).repr() }
		c.call = func(v any, fr *vframe, args []any, kw []kwArg) any {
			b := v.(*boundMethod)
			return b.m.call(fr, b.recv, args, kw)
		}
		c.equal = func(v any, _ *vframe, other any) bool {
			x := v.(*boundMethod)
			y, ok := other.(*boundMethod)
			return ok && x.name == y.name && same(x.recv, y.recv)
		}
	}
}

// Class describes the method as a value of templates.
func (b *boundMethod) Class() *class {
	if b.name == "format" || b.name == "format_map" {
		return &formatClass
	}
	return &boundClass
}

func (b *boundMethod) repr() string {
	_, markup := b.recv.(Markup)
	switch {
	case b.Class() == &formatClass && markup && b.name == "format":
		return "<function Markup.format at " + objectAddress(b) + ">"
	case b.Class() == &formatClass:
		return "<function str." + b.name + " at " + objectAddress(b) + ">"
	case markup && b.m.owner != "":
		return "<bound method " + b.m.owner + "." + b.name + " of " + repr(b.recv) + ">"
	case b.m.bound:
		return "<bound method " + typeName(b.recv) + "." + b.name + " of " + repr(b.recv) + ">"
	}
	return "<built-in method " + b.name + " of " + typeName(b.recv) + " object at " + objectAddress(b) + ">"
}
