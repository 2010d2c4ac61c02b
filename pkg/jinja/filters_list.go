package jinja

import (
	"math/rand/v2"
	"slices"
)

func sequenceFilters() {
	length := positional("len", "obj", func(fr *vframe, a []any) any { return length(fr, a[0]) })
	builtinFilters["length"] = length
	builtinFilters["count"] = length
	addFilter("first", "seq", func(fr *vframe, a []any) any {
		if v, ok := iterate(fr, a[0]).next(fr); ok {
			return v
		}
		return newUndefined(fr.code.undefinedMode(), "No first item, sequence was empty.")
	})
	addFilter("last", "seq", func(fr *vframe, a []any) any {
		if v, ok := reversed(fr, a[0]).next(fr); ok {
			return v
		}
		return newUndefined(fr.code.undefinedMode(), "No last item, sequence was empty.")
	})
	impure(addFilter("random", "seq", func(fr *vframe, a []any) any {
		n := lengthOf(fr, a[0])
		if n == 0 {
			return newUndefined(fr.code.undefinedMode(), "No random item, sequence was empty.")
		}
		return subscript(fr, a[0], rand.Int64N(n))
	}))
	addFilter("list", "value", func(fr *vframe, a []any) any { return &List{Items: collect(fr, a[0])} })
	addFilter("join", "value d='' attribute=None", joinFilter)
	addFilter("reverse", "value", func(fr *vframe, a []any) any {
		if s, ok := asStr(a[0]); ok {
			r := []rune(s)
			slices.Reverse(r)
			fr.alloc(len(s))
			return like(a[0], string(r))
		}
		if it := reversedOf(fr, a[0]); it != nil {
			return it
		}
		if iterableOf(fr, a[0]) == nil {
			raiseFilterArg("argument must be iterable")
		}
		items := collect(fr, a[0])
		slices.Reverse(items)
		return &List{Items: items}
	})
	addFilter("items", "value", func(fr *vframe, a []any) any {
		value := a[0]
		var it iterator
		return newGenerator("do_items", func() (any, bool) {
			if it == nil {
				switch d := value.(type) {
				case *Undefined:
					it = &sliceIter{}
				case *Dict:
					it = iterate(fr, &dictView{d, viewItems})
				default:
					raiseType("Can only get item pairs from a mapping.")
				}
			}
			return it.next(fr)
		})
	})
	addFilter("slice", "value slices fill_with=None", sliceFilter)
	addFilter("batch", "value linecount fill_with=None", batchFilter)
	addFilter("sum", "iterable attribute=None start=0", func(fr *vframe, a []any) any {
		total := opt(a[2], int64(0))
		if _, ok := asStr(total); ok {
			raiseType("sum() can't sum strings [use ''.join(seq) instead]")
		}
		if _, ok := total.(bytesValue); ok {
			raiseType("sum() can't sum bytes [use b''.join(seq) instead]")
		}
		get := attrGetter(fr, opt(a[1], nil), nil, false)
		it := iterate(fr, a[0])
		for {
			v, ok := it.next(fr)
			if !ok {
				return total
			}
			fr.step()
			total = add(fr, total, get(v))
		}
	})
}

// reversedOf is reversed(v), or nil for what cannot be.
func reversedOf(fr *vframe, v any) *iterObj {
	backwards := func(typeName string, n func() int, at func(i int) any) *iterObj {
		i := n() - 1
		return &iterObj{typeName: typeName, fn: func() (any, bool) {
			if i >= n() {
				i = -1
			}
			if i < 0 {
				return nil, false
			}
			i--
			return at(i + 1), true
		}}
	}
	switch o := v.(type) {
	case *List:
		return backwards("list_reverseiterator", func() int { return len(o.Items) }, func(i int) any { return o.Items[i] })
	case Tuple:
		return backwards("reversed", func() int { return len(o) }, func(i int) any { return o[i] })
	case *groupTuple:
		return reversedOf(fr, o.tuple())
	case string, Markup:
		s, _ := asStr(v)
		r := []rune(s)
		fr.allocN(len(r), 4)
		return backwards("reversed", func() int { return len(r) }, func(i int) any { return like(v, string(r[i])) })
	case *rangeValue:
		return backwards("range_iterator", func() int { return int(o.len()) }, func(i int) any { return o.at(int64(i)) })
	case *Dict:
		return reversedOf(fr, &dictView{o, viewKeys})
	case *dictView:
		items := collect(fr, o)
		name := [...]string{"dict_reversekeyiterator", "dict_reversevalueiterator", "dict_reverseitemiterator"}[o.kind]
		return backwards(name, func() int { return len(items) }, func(i int) any { return items[i] })
	case bytesValue:
		return backwards("reversed", func() int { return len(o) }, func(i int) any { return int64(o[i]) })
	case *Undefined:
		// It has a length and items, as far as reversed() looks.
		if o.Mode() == Strict {
			raiseUndefined(o)
		}
		return backwards("reversed", func() int { return 0 }, nil)
	}
	return nil
}

func reversed(fr *vframe, v any) iterator {
	it := reversedOf(fr, v)
	if it == nil {
		raiseType("'%s' object is not reversible", typeName(v))
	}
	return it
}

func joinFilter(fr *vframe, a []any) any {
	var items []any
	if l, ok := a[0].(*List); ok && (a[2] == missing || a[2] == nil) {
		items = l.Items
	} else {
		items = collect(fr, a[0])
	}
	if a[2] != missing && a[2] != nil {
		get := attrGetter(fr, a[2], nil, false)
		for i := range items {
			items[i] = get(items[i])
		}
	}
	sep := opt(a[1], "")
	fr.work(len(items))
	parts := make([]string, len(items))
	if !fr.code.autoescape() {
		for i, v := range items {
			parts[i] = str(fr, v)
		}
		return joinStrings(fr, parts, str(fr, sep))
	}
	markup := hasHTML(sep)
	for _, v := range items {
		markup = markup || hasHTML(v)
	}
	for i, v := range items {
		if markup {
			parts[i] = string(escape(fr, softStr(fr, v)))
		} else {
			parts[i] = str(fr, v)
		}
	}
	if markup {
		return Markup(joinStrings(fr, parts, string(escape(fr, sep))))
	}
	return joinStrings(fr, parts, str(fr, sep))
}

func sliceFilter(fr *vframe, a []any) any {
	var seq []any
	started := false
	var n, per, extra, number, offset int64
	fill := opt(a[2], nil)
	return newGenerator("sync_do_slice", func() (any, bool) {
		if !started {
			started = true
			seq = collect(fr, a[0])
			size := int64(len(seq))
			if !isNumber(a[1]) {
				floorDivide(fr, size, a[1])
			}
			if isFloat(a[1]) {
				floorDivide(fr, size, a[1])
				raiseType("'float' object cannot be interpreted as an integer")
			}
			per, _, _ = asInt(floorDivide(fr, size, a[1]))
			extra, _, _ = asInt(modulo(fr, size, a[1]))
			n = int64(intArg(a[1]))
		}
		if number >= n {
			return nil, false
		}
		fr.step()
		fr.alloc(96)
		start := offset + number*per
		if number < extra {
			offset++
		}
		end := offset + (number+1)*per
		part := slicing(fr, &List{Items: seq}, &sliceValue{start, end, nil}).(*List)
		if fill != nil && number >= extra {
			part.Items = append(part.Items, fill)
		}
		number++
		return part, true
	})
}

func batchFilter(fr *vframe, a []any) any {
	var it iterator
	fill := opt(a[2], nil)
	done := false
	var pending any
	havePending := false
	return newGenerator("do_batch", func() (any, bool) {
		if it == nil {
			it = iterate(fr, a[0])
		}
		if done {
			return nil, false
		}
		var row []any
		if havePending {
			row = append(row, pending)
			havePending = false
		}
		for {
			v, ok := it.next(fr)
			if !ok {
				done = true
				if len(row) == 0 {
					return nil, false
				}
				if fill != nil && order(fr, int64(len(row)), a[1], "<") {
					missingItems := intArg(subtract(fr, a[1], int64(len(row))))
					fr.allocN(missingItems, 16)
					for range missingItems {
						row = append(row, fill)
					}
				}
				return &List{Items: row}, true
			}
			fr.step()
			fr.alloc(16)
			if equal(fr, int64(len(row)), a[1]) {
				pending, havePending = v, true
				return &List{Items: row}, true
			}
			row = append(row, v)
		}
	})
}
