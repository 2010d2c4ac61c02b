package builtin

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func mapFilters() {
	add := func(name, generator string, prepare func(fr *value.Frame, args []any,
		kw []value.Keyword) func(any) (any, bool)) {
		Filters[name] = &value.Callable{Name: "do_" + name, Raw: func(fr *value.Frame, args []any, kw []value.Keyword) any {
			if len(args) == 0 {
				raise.Type("do_%s() missing 1 required positional argument: 'value'", name)
			}
			var it value.Iterator
			var apply func(any) (any, bool)
			val, rest := args[0], append([]any(nil), args[1:]...)
			return value.NewGenerator(generator, func() (any, bool) {
				if it == nil {
					if !value.Truth(val) {
						return nil, false
					}
					apply = prepare(fr, rest, kw)
					it = value.Iterate(fr, val)
				}
				for {
					v, ok := it.Next(fr)
					if !ok {
						return nil, false
					}
					fr.Step()
					if out, keep := apply(v); keep {
						return out, true
					}
				}
			})
		}}
	}
	add("map", "sync_do_map", prepareMap)
	for _, s := range []struct {
		name         string
		attr, reject bool
	}{{"select", false, false}, {"reject", false, true}, {"selectattr", true, false}, {"rejectattr", true, true}} {
		add(s.name, "select_or_reject", func(fr *value.Frame, args []any, kw []value.Keyword) func(any) (any, bool) {
			return prepareSelect(fr, args, kw, s.attr, s.reject)
		})
	}
}

func prepareMap(fr *value.Frame, args []any, kw []value.Keyword) func(any) (any, bool) {
	if len(args) == 0 {
		var attribute, def any = value.Missing, nil
		for _, k := range kw {
			switch k.Name {
			case "attribute":
				attribute = k.Value
			case "default":
				def = k.Value
			}
		}
		if attribute != value.Missing {
			for _, k := range kw {
				if k.Name != "attribute" && k.Name != "default" {
					raise.FilterArgument("Unexpected keyword argument %s", value.Repr(k.Name))
				}
			}
			get := attrGetter(fr, attribute, def, false)
			return func(v any) (any, bool) { return get(v), true }
		}
		raise.FilterArgument("map requires a filter argument")
	}
	call := namedCall(fr, "filter", args[0], args[1:], kw)
	return func(v any) (any, bool) { return call(v), true }
}

// namedCall returns a function that calls a filter or test by its name, a value.
func namedCall(fr *value.Frame, kind string, name any, args []any, kw []value.Keyword) func(any) any {
	m := fr.Code.Filters()
	if kind == "test" {
		m = fr.Code.Tests()
	}
	return func(v any) any {
		value.HashKey(fr, name)
		s, _ := value.AsStr(name)
		f := m[s]
		if f == nil {
			msg := "No " + kind + " named " + value.Repr(name) + "."
			hint := value.SuggestCallable(s, m)
			if u, ok := name.(*value.Undefined); ok {
				msg += " (" + u.Message() + "; did you forget to quote the callable name?)"
				hint = ""
			}
			panic(&raise.Exception{Class: "TemplateRuntimeError", Kind: raise.KindRuntime, Message: msg, Hint: hint})
		}
		return f.Call(fr, append(append(make([]any, 0, len(args)+1), v), args...), kw)
	}
}

func prepareSelect(fr *value.Frame, args []any, kw []value.Keyword, attr, reject bool) func(any) (any, bool) {
	get := func(v any) any { return v }
	if attr {
		if len(args) == 0 {
			raise.FilterArgument("Missing parameter for attribute name")
		}
		get = attrGetter(fr, args[0], nil, false)
		args = args[1:]
	}
	test := func(v any) any { return value.Truth(v) }
	if len(args) > 0 {
		test = namedCall(fr, "test", args[0], args[1:], kw)
	}
	return func(v any) (any, bool) { return v, value.Truth(test(get(v))) != reject }
}
