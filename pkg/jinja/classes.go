package jinja

import (
	"fmt"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// The classes of the values of a running template: macros, templates, imported
// templates, loops and blocks. An init function fills them in, as their functions
// refer to them.
var macroClass, templateClass, moduleClass, loopClass, selfClass, blockClass value.Class

func (*macro) Class() *value.Class { return &macroClass }

func (*module) Class() *value.Class { return &moduleClass }

func (*loopContext) Class() *value.Class { return &loopClass }

func (*selfRef) Class() *value.Class { return &selfClass }

func (*blockRef) Class() *value.Class { return &blockClass }

// Class implements the interface of values that have a class.
func (*Template) Class() *value.Class { return &templateClass }

func init() {
	macroClass = newMacroClass()
	templateClass = newTemplateClass()
	moduleClass = newModuleClass()
	loopClass = newLoopClass()
	selfClass = newSelfClass()
	blockClass = newBlockClass()
}

func newMacroClass() value.Class {
	return value.Class{
		Name: "Macro", Module: "jinja2.runtime",
		Private: []string{
			"_argument_count", "_async_invoke", "_default_autoescape", "_environment", "_func", "_invoke",
			"__call__", "__dict__", "__module__", "__weakref__",
		},
		Attr: func(v any, _ *value.Frame, name string) (any, bool) { return v.(*macro).attr(name) },
		Repr: func(v any, _ *value.Frame) string {
			if m := v.(*macro); m.name != "" {
				return "<Macro " + value.Repr(m.name) + ">"
			}
			return "<Macro anonymous>"
		},
		Call: func(v any, fr *value.Frame, args []any, kw []value.Keyword) any {
			return v.(*macro).call(frameOf(fr), args, kw)
		},
	}
}

func newTemplateClass() value.Class {
	return value.Class{
		Name: "Template", Module: "jinja2.environment",
		Private: []string{
			"_debug_info", "_from_namespace", "_get_default_module", "_get_default_module_async", "_module", "_uptodate",
			"__dict__", "__module__", "__weakref__",
		},
		Attr: func(v any, fr *value.Frame, name string) (any, bool) { return v.(*Template).attr(fr, name) },
		Repr: func(v any, _ *value.Frame) string { return "<Template " + value.Repr(v.(*Template).name) + ">" },
	}
}

func newModuleClass() value.Class {
	return value.Class{
		Name: "TemplateModule", Module: "jinja2.environment",
		Private: []string{"_body_stream", "__dict__", "__html__", "__module__", "__name__", "__weakref__"},
		Attr: func(v any, _ *value.Frame, name string) (any, bool) {
			x, ok := v.(*module).attrs[name]
			return x, ok
		},
		AttrNames: func(v any) []string {
			var names []string
			for k := range v.(*module).attrs {
				names = append(names, k)
			}
			return names
		},
		Repr: func(v any, _ *value.Frame) string { return "<TemplateModule " + value.Repr(v.(*module).name) + ">" },
		Text: func(v any) string { return v.(*module).text() },
	}
}

func newLoopClass() value.Class {
	return value.Class{
		Name: "LoopContext", Module: "jinja2.runtime",
		Private: []string{
			"_after", "_before", "_current", "_iterable", "_iterator", "_last_changed_value", "_length", "_peek_next",
			"_recurse", "_to_iterator", "_undefined",
			"__call__", "__dict__", "__iter__", "__len__", "__module__", "__next__", "__weakref__",
		},
		Attr: func(v any, fr *value.Frame, name string) (any, bool) { return v.(*loopContext).attr(fr, name) },
		Repr: func(v any, fr *value.Frame) string {
			l := v.(*loopContext)
			return fmt.Sprintf("<LoopContext %d/%d>", l.index0+1, l.len(fr))
		},
		Call: func(v any, fr *value.Frame, args []any, kw []value.Keyword) any {
			return v.(*loopContext).call(fr, args, kw)
		},
		Iterate: func(v any, _ *value.Frame) value.Iterator { return loopIter{v.(*loopContext)} },
		Length:  func(v any, fr *value.Frame) int64 { return v.(*loopContext).len(fr) },
	}
}

func newSelfClass() value.Class {
	return value.Class{
		Name: "TemplateReference", Module: "jinja2.runtime",
		Private: []string{"_TemplateReference__context", "__dict__", "__getitem__", "__module__", "__weakref__"},
		Repr: func(v any, _ *value.Frame) string {
			return "<TemplateReference " + value.Repr(v.(*selfRef).ctx.name) + ">"
		},
		Iterate: func(any, *value.Frame) value.Iterator {
			// It has only __getitem__, and no block is called 0.
			return value.NewIterator("iterator", func() (any, bool) {
				raise.Named("KeyError", "0")
				return nil, false
			})
		},
		Item: func(v any, _ *value.Frame, key any) (any, bool) {
			name, ok := value.AsStr(key)
			if !ok {
				return nil, false
			}
			return v.(*selfRef).block(name)
		},
	}
}

func newBlockClass() value.Class {
	return value.Class{
		Name: "BlockReference", Module: "jinja2.runtime",
		Private: []string{"_async_call", "_context", "_depth", "_stack", "__call__", "__dict__", "__module__", "__weakref__"},
		Attr:    func(v any, _ *value.Frame, name string) (any, bool) { return v.(*blockRef).attr(name) },
		Repr:    value.PlainRepr,
		Call: func(v any, fr *value.Frame, args []any, kw []value.Keyword) any {
			value.RejectKeywords("__call__", kw)
			if len(args) > 0 {
				raise.Type("BlockReference.__call__() takes 1 positional argument but %d were given", len(args)+1)
			}
			return v.(*blockRef).call(frameOf(fr))
		},
	}
}

// frameOf returns the frame that calls an operation on a value.
func frameOf(fr *value.Frame) *frame { return fr.Code.(*frame) }

func (t *Template) attr(fr *value.Frame, name string) (any, bool) {
	switch name {
	case "name", "filename":
		return t.name, true
	case "module":
		return t.defaultModule(frameOf(fr), nil), true
	}
	return nil, false
}

func (b *blockRef) attr(name string) (any, bool) {
	switch name {
	case "super":
		return b.super(), true
	case "name":
		return b.name, true
	}
	return nil, false
}

func (m *macro) attr(name string) (any, bool) {
	switch name {
	case "name":
		if m.name == "" {
			return nil, true
		}
		return m.name, true
	case "arguments":
		t := make(Tuple, len(m.args))
		for i, a := range m.args {
			t[i] = a
		}
		return t, true
	case "catch_kwargs":
		return m.kwargs, true
	case "catch_varargs":
		return m.varargs, true
	case "caller":
		return m.caller, true
	case "explicit_caller":
		return m.explicitCaller, true
	}
	return nil, false
}

// loopIter is iter(loop). It yields pairs, as Jinja2's compiled code expects.
type loopIter struct{ l *loopContext }

func (it loopIter) Next(fr *value.Frame) (any, bool) {
	v, ok := it.l.Next(fr)
	if !ok {
		return nil, false
	}
	return Tuple{v, it.l}, true
}
