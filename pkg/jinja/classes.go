package jinja

import "fmt"

// The classes of the values that a running template has: macros, templates,
// imported templates, loops and blocks. They are filled in by init because their
// functions lead back to them.
var macroClass, templateClass, moduleClass, loopClass, selfClass, blockClass class

func (*macro) Class() *class       { return &macroClass }
func (*module) Class() *class      { return &moduleClass }
func (*loopContext) Class() *class { return &loopClass }
func (*templateRef) Class() *class { return &selfClass }
func (*blockRef) Class() *class    { return &blockClass }

// Class describes the template as a value of templates, for the evaluator.
func (*Template) Class() *class { return &templateClass }

func init() {
	macroClass = class{
		name: "Macro", module: "jinja2.runtime",
		private: []string{"_argument_count", "_async_invoke", "_default_autoescape", "_environment", "_func", "_invoke", "__call__", "__dict__", "__module__", "__weakref__"},
		attr:    func(v any, _ *vframe, name string) (any, bool) { return v.(*macro).attr(name) },
		repr: func(v any, _ *vframe) string {
			if m := v.(*macro); m.name != "" {
				return "<Macro " + repr(m.name) + ">"
			}
			return "<Macro anonymous>"
		},
		call: func(v any, fr *vframe, args []any, kw []kwArg) any { return v.(*macro).call(frameOf(fr), args, kw) },
	}
	templateClass = class{
		name: "Template", module: "jinja2.environment",
		private: []string{"_debug_info", "_from_namespace", "_get_default_module", "_get_default_module_async", "_module", "_uptodate", "__dict__", "__module__", "__weakref__"},
		attr:    func(v any, fr *vframe, name string) (any, bool) { return v.(*Template).attr(fr, name) },
		repr:    func(v any, _ *vframe) string { return "<Template " + repr(v.(*Template).name) + ">" },
	}
	moduleClass = class{
		name: "TemplateModule", module: "jinja2.environment",
		private: []string{"_body_stream", "__dict__", "__html__", "__module__", "__name__", "__weakref__"},
		attr: func(v any, _ *vframe, name string) (any, bool) {
			x, ok := v.(*module).attrs[name]
			return x, ok
		},
		names: func(v any) []string {
			var names []string
			for k := range v.(*module).attrs {
				names = append(names, k)
			}
			return names
		},
		repr: func(v any, _ *vframe) string { return "<TemplateModule " + repr(v.(*module).name) + ">" },
		text: func(v any) string { return v.(*module).text() },
	}
	loopClass = class{
		name: "LoopContext", module: "jinja2.runtime",
		private: []string{"_after", "_before", "_current", "_iterable", "_iterator", "_last_changed_value", "_length", "_peek_next", "_recurse", "_to_iterator", "_undefined", "__call__", "__dict__", "__iter__", "__len__", "__module__", "__next__", "__weakref__"},
		attr:    func(v any, fr *vframe, name string) (any, bool) { return v.(*loopContext).attr(fr, name) },
		repr: func(v any, fr *vframe) string {
			l := v.(*loopContext)
			return fmt.Sprintf("<LoopContext %d/%d>", l.index0+1, l.len(fr))
		},
		call:    func(v any, fr *vframe, args []any, kw []kwArg) any { return v.(*loopContext).call(fr, args, kw) },
		iterate: func(v any, _ *vframe) iterator { return loopIter{v.(*loopContext)} },
		length:  func(v any, fr *vframe) int64 { return v.(*loopContext).len(fr) },
	}
	selfClass = class{
		name: "TemplateReference", module: "jinja2.runtime",
		private: []string{"_TemplateReference__context", "__dict__", "__getitem__", "__module__", "__weakref__"},
		repr:    func(v any, _ *vframe) string { return "<TemplateReference " + repr(v.(*templateRef).ctx.name) + ">" },
		iterate: func(any, *vframe) iterator {
			// It has __getitem__ alone, and block 0 does not exist.
			return newIterator("iterator", func() (any, bool) {
				raiseKind(KindRuntime, "KeyError", "0")
				return nil, false
			})
		},
		item: func(v any, _ *vframe, key any) (any, bool) {
			name, ok := asStr(key)
			if !ok {
				return nil, false
			}
			return v.(*templateRef).block(name)
		},
	}
	blockClass = class{
		name: "BlockReference", module: "jinja2.runtime",
		private: []string{"_async_call", "_context", "_depth", "_stack", "__call__", "__dict__", "__module__", "__weakref__"},
		attr:    func(v any, _ *vframe, name string) (any, bool) { return v.(*blockRef).attr(name) },
		repr:    plainRepr,
		call: func(v any, fr *vframe, args []any, kw []kwArg) any {
			noKeywords("__call__", kw)
			if len(args) > 0 {
				raiseType("BlockReference.__call__() takes 1 positional argument but %d were given", len(args)+1)
			}
			return v.(*blockRef).call(frameOf(fr))
		},
	}
}

// frameOf is the activation that a value's operation is called from.
func frameOf(fr *vframe) *frame { return fr.code.(*frame) }

func (t *Template) attr(fr *vframe, name string) (any, bool) {
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

// loopIter is a loop iterated over by hand: it yields pairs, as Jinja2's own code expects.
type loopIter struct{ l *loopContext }

func (it loopIter) next(fr *vframe) (any, bool) {
	v, ok := it.l.next(fr)
	if !ok {
		return nil, false
	}
	return Tuple{v, it.l}, true
}
