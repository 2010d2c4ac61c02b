package method

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

func dictAccess() {
	m := dictMethods
	for kind, name := range []string{"keys", "values", "items"} {
		m.Add(name, "/", func(fr *value.Frame, recv any, _ []any) any {
			return &value.DictView{Dict: recv.(*value.Dict), Kind: value.ViewKind(kind)}
		})
	}
	m.Add("get", "/key default=None", func(fr *value.Frame, recv any, a []any) any {
		if v, ok := recv.(*value.Dict).Lookup(fr, a[0]); ok {
			return v
		}
		if a[1] == value.Missing {
			return nil
		}
		return a[1]
	})
	m.Add("copy", "/", func(fr *value.Frame, recv any, _ []any) any {
		fr.AllocN(recv.(*value.Dict).Len(), 64)
		return recv.(*value.Dict).Copy()
	})
	m.Add("fromkeys", "/iterable value=None", func(fr *value.Frame, _ any, a []any) any {
		d := value.NewDictSize(0)
		val := a[1]
		if val == value.Missing {
			val = nil
		}
		for _, k := range value.Collect(fr, a[0]) {
			fr.Alloc(64)
			d.Put(fr, k, val)
		}
		return d
	})
}

func dictMutators() {
	table := dictMethods
	table.Add("setdefault", "/key default=None", func(fr *value.Frame, recv any, a []any) any {
		d := recv.(*value.Dict)
		if v, ok := d.Lookup(fr, a[0]); ok {
			return v
		}
		v := a[1]
		if v == value.Missing {
			v = nil
		}
		fr.Alloc(64)
		d.Put(fr, a[0], v)
		return v
	})
	table.Add("pop", "/key default=None", func(fr *value.Frame, recv any, a []any) any {
		d := recv.(*value.Dict)
		if d.Len() == 0 && a[1] != value.Missing {
			return a[1]
		}
		if v, ok := d.Remove(fr, a[0]); ok {
			return v
		}
		if a[1] == value.Missing {
			raise.Named("KeyError", "%s", value.Repr(a[0]))
		}
		return a[1]
	})
	table.Add("popitem", "/", func(fr *value.Frame, recv any, _ []any) any {
		if key, val, ok := recv.(*value.Dict).PopLast(fr); ok {
			return value.Tuple{key, val}
		}
		raise.Named("KeyError", "'popitem(): dictionary is empty'")
		return nil
	})
	table.Add("clear", "/", func(fr *value.Frame, recv any, _ []any) any {
		recv.(*value.Dict).Clear()
		return nil
	})
	table.addRaw("update", func(fr *value.Frame, recv any, args []any, kw []value.Keyword) any {
		if len(args) > 1 {
			raise.Type("update expected at most 1 argument, got %d", len(args))
		}
		value.UpdateDict(fr, recv.(*value.Dict), args, kw)
		return nil
	})
}
