package builtin

import (
	"math/rand/v2"
	"slices"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func sequenceFilters() {
	length := value.NewBuiltin("len", "obj", func(fr *value.Frame, a []any) any { return value.Length(fr, a[0]) })
	Filters["length"] = length
	Filters["count"] = length
	addFilter("first", "seq", func(fr *value.Frame, a []any) any {
		if v, ok := value.Iterate(fr, a[0]).Next(fr); ok {
			return v
		}
		return value.NewUndefined(fr.Code.UndefinedMode(), "No first item, sequence was empty.")
	})
	addFilter("last", "seq", func(fr *value.Frame, a []any) any {
		if v, ok := reversed(fr, a[0]).Next(fr); ok {
			return v
		}
		return value.NewUndefined(fr.Code.UndefinedMode(), "No last item, sequence was empty.")
	})
	value.Impure(addFilter("random", "seq", func(fr *value.Frame, a []any) any {
		n := value.Length(fr, a[0])
		if n == 0 {
			return value.NewUndefined(fr.Code.UndefinedMode(), "No random item, sequence was empty.")
		}
		return value.Subscript(fr, a[0], rand.Int64N(n))
	}))
	addFilter("list", "value", func(fr *value.Frame, a []any) any { return &value.List{Items: value.Collect(fr, a[0])} })
	addFilter("join", "value d='' attribute=None", joinFilter)
	addFilter("reverse", "value", reverseFilter)
	addFilter("items", "value", itemsFilter)
	addFilter("slice", "value slices fill_with=None", sliceFilter)
	addFilter("batch", "value linecount fill_with=None", batchFilter)
	addFilter("sum", "iterable attribute=None start=0", sumFilter)
}

func reverseFilter(fr *value.Frame, a []any) any {
	if s, ok := value.AsStr(a[0]); ok {
		r := []rune(s)
		slices.Reverse(r)
		fr.Alloc(len(s))
		return value.Like(a[0], string(r))
	}
	if it := reversedOf(fr, a[0]); it != nil {
		return it
	}
	if value.IteratorOf(fr, a[0]) == nil {
		raise.FilterArgument("argument must be iterable")
	}
	items := value.Collect(fr, a[0])
	slices.Reverse(items)
	return &value.List{Items: items}
}

func itemsFilter(fr *value.Frame, a []any) any {
	val := a[0]
	var it value.Iterator
	return value.NewGenerator("do_items", func() (any, bool) {
		if it == nil {
			switch d := val.(type) {
			case *value.Undefined:
				it = &value.SliceIter{}
			case *value.Dict:
				it = value.Iterate(fr, &value.DictView{Dict: d, Kind: value.ViewItems})
			default:
				raise.Type("Can only get item pairs from a mapping.")
			}
		}
		return it.Next(fr)
	})
}

func sumFilter(fr *value.Frame, a []any) any {
	total := value.Or(a[2], int64(0))
	if _, ok := value.AsStr(total); ok {
		raise.Type("sum() can't sum strings [use ''.join(seq) instead]")
	}
	if _, ok := total.(value.Bytes); ok {
		raise.Type("sum() can't sum bytes [use b''.join(seq) instead]")
	}
	get := attrGetter(fr, value.Or(a[1], nil), nil, false)
	it := value.Iterate(fr, a[0])
	for {
		v, ok := it.Next(fr)
		if !ok {
			return total
		}
		fr.Step()
		total = operator.Add(fr, total, get(v))
	}
}

func joinFilter(fr *value.Frame, a []any) any {
	var items []any
	if l, ok := a[0].(*value.List); ok && (a[2] == value.Missing || a[2] == nil) {
		items = l.Items
	} else {
		items = value.Collect(fr, a[0])
	}
	if a[2] != value.Missing && a[2] != nil {
		get := attrGetter(fr, a[2], nil, false)
		for i := range items {
			items[i] = get(items[i])
		}
	}
	sep := value.Or(a[1], "")
	fr.Work(len(items))
	parts := make([]string, len(items))
	if !fr.Code.Autoescape() {
		for i, v := range items {
			parts[i] = value.Str(fr, v)
		}
		return value.JoinStrings(fr, parts, value.Str(fr, sep))
	}
	markup := value.HasHTML(sep)
	for _, v := range items {
		markup = markup || value.HasHTML(v)
	}
	for i, v := range items {
		if markup {
			parts[i] = string(value.Escape(fr, value.SoftStr(fr, v)))
		} else {
			parts[i] = value.Str(fr, v)
		}
	}
	if markup {
		return value.Markup(value.JoinStrings(fr, parts, string(value.Escape(fr, sep))))
	}
	return value.JoinStrings(fr, parts, value.Str(fr, sep))
}

func sliceFilter(fr *value.Frame, a []any) any {
	var seq []any
	started := false
	var n, per, extra, number, offset int64
	fill := value.Or(a[2], nil)
	return value.NewGenerator("sync_do_slice", func() (any, bool) {
		if !started {
			started = true
			seq = value.Collect(fr, a[0])
			size := int64(len(seq))
			if !value.IsNumber(a[1]) {
				operator.FloorDivide(fr, size, a[1])
			}
			if value.IsFloat(a[1]) {
				operator.FloorDivide(fr, size, a[1])
				raise.Type("'float' object cannot be interpreted as an integer")
			}
			per, _, _ = value.AsInt(operator.FloorDivide(fr, size, a[1]))
			extra, _, _ = value.AsInt(operator.Modulo(fr, size, a[1]))
			n = int64(value.IntArg(a[1]))
		}
		if number >= n {
			return nil, false
		}
		fr.Step()
		fr.Alloc(96)
		start := offset + number*per
		if number < extra {
			offset++
		}
		end := offset + (number+1)*per
		part := value.Slicing(fr, &value.List{Items: seq}, &value.Slice{start, end, nil}).(*value.List)
		if fill != nil && number >= extra {
			part.Items = append(part.Items, fill)
		}
		number++
		return part, true
	})
}

func batchFilter(fr *value.Frame, a []any) any {
	var it value.Iterator
	fill := value.Or(a[2], nil)
	done := false
	var pending any
	havePending := false
	return value.NewGenerator("do_batch", func() (any, bool) {
		if it == nil {
			it = value.Iterate(fr, a[0])
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
			v, ok := it.Next(fr)
			if !ok {
				done = true
				if len(row) == 0 {
					return nil, false
				}
				if fill != nil && value.Compare(fr, int64(len(row)), a[1], "<") {
					missingItems := value.IntArg(operator.Subtract(fr, a[1], int64(len(row))))
					fr.AllocN(missingItems, 16)
					for range missingItems {
						row = append(row, fill)
					}
				}
				return &value.List{Items: row}, true
			}
			fr.Step()
			fr.Alloc(16)
			if value.Equal(fr, int64(len(row)), a[1]) {
				pending, havePending = v, true
				return &value.List{Items: row}, true
			}
			row = append(row, v)
		}
	})
}
