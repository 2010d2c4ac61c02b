package jinja

import (
	"slices"
	"strings"
)

// attrGetter makes the function that looks up an attribute path such as
// "address.city" or 0 in an item; nil is the item itself.
func attrGetter(fr *vframe, attribute, defaultValue any, ignoreCase bool) func(any) any {
	parts := attributeParts(attribute)
	return func(v any) any {
		for _, part := range parts {
			v = getitem(fr, v, part)
			if defaultValue != nil && IsUndefined(v) {
				v = defaultValue
			}
		}
		if ignoreCase {
			v = foldCase(v)
		}
		return v
	}
}

func attributeParts(attribute any) []any {
	if attribute == nil {
		return nil
	}
	s, ok := asStr(attribute)
	if !ok {
		return []any{attribute}
	}
	var parts []any
	for part := range strings.SplitSeq(s, ".") {
		if isDecimal(part) {
			parts = append(parts, parseInt(part, 10))
		} else {
			parts = append(parts, part)
		}
	}
	return parts
}

// multiGetter is attrGetter for several paths, separated by commas.
func multiGetter(fr *vframe, attribute any, ignoreCase bool) func(any) any {
	split := []any{attribute}
	if s, ok := asStr(attribute); ok {
		split = split[:0]
		for part := range strings.SplitSeq(s, ",") {
			split = append(split, part)
		}
	}
	getters := make([]func(any) any, len(split))
	for i, attr := range split {
		getters[i] = attrGetter(fr, attr, nil, ignoreCase)
	}
	return func(v any) any {
		keys := make([]any, len(getters))
		for i, get := range getters {
			keys[i] = get(v)
		}
		return &List{Items: keys}
	}
}

func foldCase(v any) any {
	if s, ok := asStr(v); ok {
		return like(v, lower(s))
	}
	return v
}

// sortItems is Python's sorted: stable, by < alone. The slice is new.
func sortItems(fr *vframe, items []any, key func(any) any, reverse bool) []any {
	type entry struct{ key, val any }
	list := make([]entry, len(items))
	fr.allocN(len(items), 48)
	for i, v := range items {
		list[i] = entry{v, v}
		if key != nil {
			list[i].key = key(v)
		}
	}
	less := func(a, b any) bool {
		fr.step()
		return order(fr, a, b, "<")
	}
	if reverse {
		slices.Reverse(list)
	}
	if len(list) < 64 {
		// Python's way with short lists, which shows when values have no order.
		run := 1
		if len(list) > 1 {
			if less(list[1].key, list[0].key) {
				for run = 2; run < len(list) && less(list[run].key, list[run-1].key); {
					run++
				}
				slices.Reverse(list[:run])
			} else {
				for run = 2; run < len(list) && !less(list[run].key, list[run-1].key); {
					run++
				}
			}
		}
		for ; run < len(list); run++ {
			pivot := list[run]
			lo, hi := 0, run
			for lo < hi {
				mid := (lo + hi) / 2
				if less(pivot.key, list[mid].key) {
					hi = mid
				} else {
					lo = mid + 1
				}
			}
			copy(list[lo+1:run+1], list[lo:run])
			list[lo] = pivot
		}
	} else {
		slices.SortStableFunc(list, func(a, b entry) int {
			if less(a.key, b.key) {
				return -1
			}
			if less(b.key, a.key) {
				return 1
			}
			return 0
		})
	}
	if reverse {
		slices.Reverse(list)
	}
	out := make([]any, len(list))
	for i := range list {
		out[i] = list[i].val
	}
	return out
}

func orderFilters() {
	addFilter("sort", "value reverse=False case_sensitive=False attribute=None", func(fr *vframe, a []any) any {
		key := multiGetter(fr, opt(a[3], nil), !optTrue(a[2], false))
		items := collect(fr, a[0])
		return &List{Items: sortItems(fr, items, key, a[1] != missing && truthInt(a[1]))}
	})
	addFilter("dictsort", "value case_sensitive=False by='key' reverse=False", func(fr *vframe, a []any) any {
		pos := 0
		switch by, _ := asStr(opt(a[2], "key")); by {
		case "key":
		case "value":
			pos = 1
		default:
			raiseFilterArg(`You can only sort by either "key" or "value"`)
		}
		fold := !optTrue(a[1], false)
		key := func(v any) any {
			if fold {
				return foldCase(v.(Tuple)[pos])
			}
			return v.(Tuple)[pos]
		}
		d := mapping(fr, a[0])
		return &List{Items: sortItems(fr, collect(fr, &dictView{d, viewItems}), key, a[3] != missing && truthInt(a[3]))}
	})
	addFilter("unique", "value case_sensitive=False attribute=None", func(fr *vframe, a []any) any {
		var it iterator
		get := attrGetter(fr, opt(a[2], nil), nil, !optTrue(a[1], false))
		seen := newDict(0)
		return newGenerator("do_unique", func() (any, bool) {
			if it == nil {
				it = iterate(fr, a[0])
			}
			for {
				v, ok := it.next(fr)
				if !ok {
					return nil, false
				}
				fr.step()
				fr.alloc(64)
				if seen.addNew(fr, get(v)) {
					return v, true
				}
			}
		})
	})
	extreme := func(name, op string) {
		addFilter(name, "value case_sensitive=False attribute=None", func(fr *vframe, a []any) any {
			it := iterate(fr, a[0])
			best, ok := it.next(fr)
			if !ok {
				return newUndefined(fr.code.undefinedMode(), "No aggregated item, sequence was empty.")
			}
			get := attrGetter(fr, opt(a[2], nil), nil, !optTrue(a[1], false))
			bestKey := get(best)
			for {
				v, ok := it.next(fr)
				if !ok {
					return best
				}
				fr.step()
				if key := get(v); order(fr, key, bestKey, op) {
					best, bestKey = v, key
				}
			}
		})
	}
	extreme("min", "<")
	extreme("max", ">")
	addFilter("groupby", "value attribute default=None case_sensitive=False", groupBy)
}

// mapping is a value that has items().
func mapping(fr *vframe, v any) *Dict {
	switch d := v.(type) {
	case *Dict:
		return d
	case *Undefined:
		raiseUndefined(d) // items() of a chainable one is itself, called
	}
	raiseKind(KindRuntime, "AttributeError", "'%s' object has no attribute 'items'", typeName(v))
	return nil
}

func groupBy(fr *vframe, a []any) any {
	fold := !optTrue(a[3], false)
	def := opt(a[2], nil)
	get := attrGetter(fr, a[1], def, fold)
	sorted := sortItems(fr, collect(fr, a[0]), get, false)
	out := &List{}
	var key any
	for i, v := range sorted {
		k := get(v)
		if i == 0 || !same(k, key) && !equal(fr, key, k) {
			key = k
			fr.alloc(64)
			out.Items = append(out.Items, &groupTuple{key, &List{}})
		}
		g := out.Items[len(out.Items)-1].(*groupTuple)
		g.list.Items = append(g.list.Items, v)
	}
	if fold {
		real := attrGetter(fr, a[1], def, false)
		for _, g := range out.Items {
			g := g.(*groupTuple)
			g.grouper = real(g.list.Items[0])
		}
	}
	return out
}

func mapFilters() {
	add := func(name, generator string, prepare func(fr *vframe, args []any, kw []kwArg) func(any) (any, bool)) {
		builtinFilters[name] = &callable{name: "do_" + name, raw: func(fr *vframe, args []any, kw []kwArg) any {
			if len(args) == 0 {
				raiseType("do_%s() missing 1 required positional argument: 'value'", name)
			}
			var it iterator
			var apply func(any) (any, bool)
			value, rest := args[0], append([]any(nil), args[1:]...)
			return newGenerator(generator, func() (any, bool) {
				if it == nil {
					if !truth(value) {
						return nil, false
					}
					apply = prepare(fr, rest, kw)
					it = iterate(fr, value)
				}
				for {
					v, ok := it.next(fr)
					if !ok {
						return nil, false
					}
					fr.step()
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
		add(s.name, "select_or_reject", func(fr *vframe, args []any, kw []kwArg) func(any) (any, bool) {
			return prepareSelect(fr, args, kw, s.attr, s.reject)
		})
	}
}

func prepareMap(fr *vframe, args []any, kw []kwArg) func(any) (any, bool) {
	if len(args) == 0 {
		var attribute, def any = missing, nil
		for _, k := range kw {
			switch k.name {
			case "attribute":
				attribute = k.val
			case "default":
				def = k.val
			}
		}
		if attribute != missing {
			for _, k := range kw {
				if k.name != "attribute" && k.name != "default" {
					raiseFilterArg("Unexpected keyword argument %s", repr(k.name))
				}
			}
			get := attrGetter(fr, attribute, def, false)
			return func(v any) (any, bool) { return get(v), true }
		}
		raiseFilterArg("map requires a filter argument")
	}
	call := namedCall(fr, "filter", args[0], args[1:], kw)
	return func(v any) (any, bool) { return call(v), true }
}

// namedCall calls a filter or test whose name is a value.
func namedCall(fr *vframe, kind string, name any, args []any, kw []kwArg) func(any) any {
	m := fr.code.filters()
	if kind == "test" {
		m = fr.code.tests()
	}
	return func(v any) any {
		hashKey(fr, name)
		s, _ := asStr(name)
		f := m[s]
		if f == nil {
			msg := "No " + kind + " named " + repr(name) + "."
			hint := suggestCallable(s, m)
			if u, ok := name.(*Undefined); ok {
				msg += " (" + u.Message() + "; did you forget to quote the callable name?)"
				hint = ""
			}
			panic(&raised{class: "TemplateRuntimeError", kind: KindRuntime, msg: msg, hint: hint})
		}
		return f.call(fr, append(append(make([]any, 0, len(args)+1), v), args...), kw)
	}
}

func prepareSelect(fr *vframe, args []any, kw []kwArg, attr, reject bool) func(any) (any, bool) {
	get := func(v any) any { return v }
	if attr {
		if len(args) == 0 {
			raiseFilterArg("Missing parameter for attribute name")
		}
		get = attrGetter(fr, args[0], nil, false)
		args = args[1:]
	}
	test := func(v any) any { return truth(v) }
	if len(args) > 0 {
		test = namedCall(fr, "test", args[0], args[1:], kw)
	}
	return func(v any) (any, bool) { return v, truth(test(get(v))) != reject }
}
