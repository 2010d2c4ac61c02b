package method

import (
	"slices"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func init() {
	listMutators()
	listQueries()
	dictAccess()
	dictMutators()
	numberMethods()
	rangeAndViewMethods()
}

func listMutators() {
	table := listMethods
	table.Add("append", "/object", func(fr *value.Frame, recv any, a []any) any {
		l := recv.(*value.List)
		fr.Alloc(32)
		l.Items = append(l.Items, a[0])
		return nil
	})
	table.Add("extend", "/iterable", func(fr *value.Frame, recv any, a []any) any {
		l := recv.(*value.List)
		l.Items = append(l.Items, value.Collect(fr, a[0])...)
		return nil
	})
	table.Add("insert", "/index object", func(fr *value.Frame, recv any, a []any) any {
		l := recv.(*value.List)
		i := value.IntArg(a[0])
		if i < 0 {
			i = max(0, i+len(l.Items))
		}
		i = min(i, len(l.Items))
		fr.Alloc(32)
		fr.Work(len(l.Items) - i)
		l.Items = slices.Insert(l.Items, i, a[1])
		return nil
	})
	table.Add("pop", "/index=-1", func(fr *value.Frame, recv any, a []any) any {
		l := recv.(*value.List)
		i := value.IntOr(a[0], -1)
		if len(l.Items) == 0 {
			raise.Named("IndexError", "pop from empty list")
		}
		if i < 0 {
			i += len(l.Items)
		}
		if i < 0 || i >= len(l.Items) {
			raise.Named("IndexError", "pop index out of range")
		}
		v := l.Items[i]
		fr.Work(len(l.Items) - i)
		l.Items = slices.Delete(l.Items, i, i+1)
		return v
	})
	table.Add("remove", "/value", func(fr *value.Frame, recv any, a []any) any {
		l := recv.(*value.List)
		fr.Work(len(l.Items) >> 3)
		for i, v := range l.Items {
			if value.Identical(v, a[0]) || value.Equal(fr, v, a[0]) {
				l.Items = slices.Delete(l.Items, i, i+1)
				return nil
			}
		}
		raise.Value("list.remove(x): x not in list")
		return nil
	})
	table.Add("clear", "/", func(fr *value.Frame, recv any, _ []any) any {
		recv.(*value.List).Items = nil
		return nil
	})
	table.Add("reverse", "/", func(fr *value.Frame, recv any, _ []any) any {
		fr.Work(len(recv.(*value.List).Items) >> 3)
		slices.Reverse(recv.(*value.List).Items)
		return nil
	})
	table.addRaw("sort", func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
		if len(args) > 0 {
			raise.Type("sort() takes no positional arguments")
		}
		a := value.Bind(sortSpec, nil, kw)
		l := recv.(*value.List)
		var key func(any) any
		if a[0] != value.Missing && a[0] != nil {
			key = func(v any) any { return value.Invoke(fr, a[0], []any{v}, nil, false, false) }
		}
		items := l.Items
		l.Items = nil
		sorted := value.SortItems(fr, items, key, a[1] != value.Missing && value.BoolArg(a[1]))
		l.Items = sorted
		return nil
	})
}

var sortSpec = &value.Callable{Name: "sort", Params: []string{"key", "reverse"}}

func listQueries() {
	index := func(items func(v any) []any, name string) func(fr *value.Frame, recv any, a []any) any {
		return func(fr *value.Frame, recv any, a []any) any {
			list := items(recv)
			var b value.Slice
			if a[1] != value.Missing {
				b[0] = a[1]
			}
			if a[2] != value.Missing {
				b[1] = a[2]
			}
			if b[0] == nil && a[1] != value.Missing || b[1] == nil && a[2] != value.Missing {
				raise.Type("slice indices must be integers or have an __index__ method")
			}
			start, _, _, count := value.SliceIndices(&b, int64(len(list)))
			fr.Work(int(count))
			for i := start; i < start+count; i++ {
				if value.Identical(list[i], a[0]) || value.Equal(fr, list[i], a[0]) {
					return i
				}
			}
			raise.Value("%s is not in %s", value.Repr(a[0]), name)
			return nil
		}
	}
	count := func(items func(v any) []any) func(fr *value.Frame, recv any, a []any) any {
		return func(fr *value.Frame, recv any, a []any) any {
			n := int64(0)
			fr.Work(len(items(recv)))
			for _, v := range items(recv) {
				if value.Identical(v, a[0]) || value.Equal(fr, v, a[0]) {
					n++
				}
			}
			return n
		}
	}
	ofList := func(v any) []any { return v.(*value.List).Items }
	ofTuple := func(v any) []any { t, _ := value.AsTuple(v); return t }
	listMethods.Add("index", "/value start=0 stop=None", index(ofList, "list"))
	listMethods.Add("count", "/value", count(ofList))
	listMethods.Add("copy", "/", func(fr *value.Frame, recv any, _ []any) any {
		return &value.List{Items: value.Collect(fr, recv)}
	})
	tupleMethods.Add("index", "/value start=0 stop=None", index(ofTuple, "tuple"))
	tupleMethods.Add("count", "/value", count(ofTuple))
}
