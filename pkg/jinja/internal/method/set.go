package method

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func init() {
	for name, op := range setOperations {
		setMethods.addRaw(name, func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
			value.RejectKeywords(name, kw)
			return &value.Set{Members: op(fr, members(recv), args)}
		})
		update := name + "_update"
		if name == "union" {
			update = "update"
		}
		setMethods.addRaw(update, func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
			value.RejectKeywords(update, kw)
			recv.(*value.Set).Members = op(fr, members(recv), args)
			return nil
		})
	}
	addMemberMethods(setMethods)
	addSetComparisons(setMethods)
}

// members returns the members of a set.
func members(set any) *value.Dict { return set.(*value.Set).Members }

// itemsOf returns the items of all arguments.
func itemsOf(fr *value.Frame, args []any) *value.Dict {
	d := value.NewDictSize(0)
	for _, a := range args {
		for _, v := range value.Collect(fr, a) {
			fr.Alloc(64)
			d.Put(fr, v, nil)
		}
	}
	return d
}

// filter returns those members that another set has, or lacks.
func filter(fr *value.Frame, d, other *value.Dict, has bool) *value.Dict {
	fr.AllocN(d.Len(), 64)
	return d.Filter(other, has)
}

// setOperations are the methods that return a new set. Each has a counterpart that changes
// its set.
var setOperations = map[string]func(fr *value.Frame, d *value.Dict, args []any) *value.Dict{
	"union": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
		fr.AllocN(d.Len(), 64)
		out := d.Copy()
		out.Update(itemsOf(fr, args))
		return out
	},
	"difference": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
		return filter(fr, d, itemsOf(fr, args), false)
	},
	"intersection": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
		for _, a := range args {
			d = filter(fr, d, itemsOf(fr, []any{a}), true)
		}
		if len(args) == 0 {
			return d.Copy()
		}
		return d
	},
	"symmetric_difference": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
		if len(args) != 1 {
			raise.Type("set.symmetric_difference() takes exactly one argument (%d given)", len(args))
		}
		other := itemsOf(fr, args)
		out := filter(fr, d, other, false)
		out.Update(filter(fr, other, d, false))
		return out
	},
}

func addMemberMethods(table Table) {
	table.Add("add", "/object", func(fr *value.Frame, recv any, a []any) any {
		fr.Alloc(64)
		members(recv).Put(fr, a[0], nil)
		return nil
	})
	table.Add("clear", "/", func(fr *value.Frame, recv any, _ []any) any {
		members(recv).Clear()
		return nil
	})
	table.Add("copy", "/", func(fr *value.Frame, recv any, _ []any) any {
		fr.AllocN(members(recv).Len(), 64)
		return &value.Set{Members: members(recv).Copy()}
	})
	table.Add("discard", "/object", func(fr *value.Frame, recv any, a []any) any {
		members(recv).Remove(fr, a[0])
		return nil
	})
	table.Add("remove", "/object", func(fr *value.Frame, recv any, a []any) any {
		if _, ok := members(recv).Remove(fr, a[0]); !ok {
			raise.Named("KeyError", "%s", value.Repr(a[0]))
		}
		return nil
	})
	table.Add("pop", "/", func(fr *value.Frame, recv any, _ []any) any {
		if key, _, ok := members(recv).PopFirst(fr); ok {
			return key
		}
		raise.Named("KeyError", "'pop from an empty set'")
		return nil
	})
}

func addSetComparisons(table Table) {
	table.Add("isdisjoint", "/other", func(fr *value.Frame, recv any, a []any) any {
		return filter(fr, members(recv), itemsOf(fr, a), true).Len() == 0
	})
	table.Add("issubset", "/other", func(fr *value.Frame, recv any, a []any) any {
		return filter(fr, members(recv), itemsOf(fr, a), false).Len() == 0
	})
	table.Add("issuperset", "/other", func(fr *value.Frame, recv any, a []any) any {
		return filter(fr, itemsOf(fr, a), members(recv), false).Len() == 0
	})
}
