package method

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func init() {
	table := setMethods
	of := func(v any) *value.Dict { return v.(*value.Set).Members }
	// all returns the items of all arguments.
	all := func(fr *value.Frame, args []any) *value.Dict {
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
	filter := func(fr *value.Frame, d, other *value.Dict, has bool) *value.Dict {
		fr.AllocN(d.Len(), 64)
		return d.Filter(other, has)
	}
	ops := map[string]func(fr *value.Frame, d *value.Dict, args []any) *value.Dict{
		"union": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
			fr.AllocN(d.Len(), 64)
			out := d.Copy()
			out.Update(all(fr, args))
			return out
		},
		"difference": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
			return filter(fr, d, all(fr, args), false)
		},
		"intersection": func(fr *value.Frame, d *value.Dict, args []any) *value.Dict {
			for _, a := range args {
				d = filter(fr, d, all(fr, []any{a}), true)
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
			other := all(fr, args)
			out := filter(fr, d, other, false)
			out.Update(filter(fr, other, d, false))
			return out
		},
	}
	for name, op := range ops {
		table.addRaw(name, func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
			value.RejectKeywords(name, kw)
			return &value.Set{Members: op(fr, of(recv), args)}
		})
		update := name + "_update"
		if name == "union" {
			update = "update"
		}
		table.addRaw(update, func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
			value.RejectKeywords(update, kw)
			recv.(*value.Set).Members = op(fr, of(recv), args)
			return nil
		})
	}
	table.Add("add", "/object", func(fr *value.Frame, recv any, a []any) any {
		fr.Alloc(64)
		of(recv).Put(fr, a[0], nil)
		return nil
	})
	table.Add("clear", "/", func(fr *value.Frame, recv any, _ []any) any {
		of(recv).Clear()
		return nil
	})
	table.Add("copy", "/", func(fr *value.Frame, recv any, _ []any) any {
		fr.AllocN(of(recv).Len(), 64)
		return &value.Set{Members: of(recv).Copy()}
	})
	table.Add("discard", "/object", func(fr *value.Frame, recv any, a []any) any {
		of(recv).Remove(fr, a[0])
		return nil
	})
	table.Add("remove", "/object", func(fr *value.Frame, recv any, a []any) any {
		if _, ok := of(recv).Remove(fr, a[0]); !ok {
			raise.Named("KeyError", "%s", value.Repr(a[0]))
		}
		return nil
	})
	table.Add("pop", "/", func(fr *value.Frame, recv any, _ []any) any {
		if key, _, ok := of(recv).PopFirst(fr); ok {
			return key
		}
		raise.Named("KeyError", "'pop from an empty set'")
		return nil
	})
	table.Add("isdisjoint", "/other", func(fr *value.Frame, recv any, a []any) any {
		return filter(fr, of(recv), all(fr, a), true).Len() == 0
	})
	table.Add("issubset", "/other", func(fr *value.Frame, recv any, a []any) any {
		return filter(fr, of(recv), all(fr, a), false).Len() == 0
	})
	table.Add("issuperset", "/other", func(fr *value.Frame, recv any, a []any) any {
		return filter(fr, all(fr, a), of(recv), false).Len() == 0
	})
}
