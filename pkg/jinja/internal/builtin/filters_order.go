package builtin

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func orderFilters() {
	addFilter("sort", "value reverse=False case_sensitive=False attribute=None", func(fr *value.Frame, a []any) any {
		key := multiGetter(fr, value.Or(a[3], nil), !value.OrBool(a[2], false))
		items := value.Collect(fr, a[0])
		return &value.List{Items: value.SortItems(fr, items, key, a[1] != value.Missing && value.BoolArg(a[1]))}
	})
	addFilter("dictsort", "value case_sensitive=False by='key' reverse=False", func(fr *value.Frame, a []any) any {
		pos := 0
		switch by, _ := value.AsStr(value.Or(a[2], "key")); by {
		case "key":
		case "value":
			pos = 1
		default:
			raise.FilterArgument(`You can only sort by either "key" or "value"`)
		}
		fold := !value.OrBool(a[1], false)
		key := func(v any) any {
			if fold {
				return foldCase(v.(value.Tuple)[pos])
			}
			return v.(value.Tuple)[pos]
		}
		items := value.Collect(fr, &value.DictView{Dict: mapping(a[0]), Kind: value.ViewItems})
		reverse := a[3] != value.Missing && value.BoolArg(a[3])
		return &value.List{Items: value.SortItems(fr, items, key, reverse)}
	})
	addFilter("unique", "value case_sensitive=False attribute=None", func(fr *value.Frame, a []any) any {
		var it value.Iterator
		get := attrGetter(fr, value.Or(a[2], nil), nil, !value.OrBool(a[1], false))
		seen := value.NewDictSize(0)
		return value.NewGenerator("do_unique", func() (any, bool) {
			if it == nil {
				it = value.Iterate(fr, a[0])
			}
			for {
				v, ok := it.Next(fr)
				if !ok {
					return nil, false
				}
				fr.Step()
				fr.Alloc(64)
				if seen.AddNew(fr, get(v)) {
					return v, true
				}
			}
		})
	})
	extreme := func(name, op string) {
		addFilter(name, "value case_sensitive=False attribute=None", func(fr *value.Frame, a []any) any {
			it := value.Iterate(fr, a[0])
			best, ok := it.Next(fr)
			if !ok {
				return value.NewUndefined(fr.Code.UndefinedMode(), "No aggregated item, sequence was empty.")
			}
			get := attrGetter(fr, value.Or(a[2], nil), nil, !value.OrBool(a[1], false))
			bestKey := get(best)
			for {
				v, ok := it.Next(fr)
				if !ok {
					return best
				}
				fr.Step()
				if key := get(v); value.Compare(fr, key, bestKey, op) {
					best, bestKey = v, key
				}
			}
		})
	}
	extreme("min", "<")
	extreme("max", ">")
	addFilter("groupby", "value attribute default=None case_sensitive=False", groupBy)
}

// mapping returns a value that has items().
func mapping(v any) *value.Dict {
	switch d := v.(type) {
	case *value.Dict:
		return d
	case *value.Undefined:
		value.RaiseUndefined(d) // items() of a chainable one is itself, which cannot be called
	}
	raise.Named("AttributeError", "'%s' object has no attribute 'items'", value.TypeName(v))
	return nil
}

func groupBy(fr *value.Frame, a []any) any {
	fold := !value.OrBool(a[3], false)
	def := value.Or(a[2], nil)
	get := attrGetter(fr, a[1], def, fold)
	sorted := value.SortItems(fr, value.Collect(fr, a[0]), get, false)
	out := &value.List{}
	var key any
	for i, v := range sorted {
		k := get(v)
		if i == 0 || !value.Identical(k, key) && !value.Equal(fr, key, k) {
			key = k
			fr.Alloc(64)
			out.Items = append(out.Items, &value.GroupTuple{Grouper: key, List: &value.List{}})
		}
		g := out.Items[len(out.Items)-1].(*value.GroupTuple)
		g.List.Items = append(g.List.Items, v)
	}
	if fold {
		real := attrGetter(fr, a[1], def, false)
		for _, g := range out.Items {
			g := g.(*value.GroupTuple)
			g.Grouper = real(g.List.Items[0])
		}
	}
	return out
}
