package builtin

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// reversedOf is reversed(v), or nil if v cannot be reversed.
func reversedOf(fr *value.Frame, v any) *value.IterObject {
	backwards := func(typeName string, n func() int, at func(i int) any) *value.IterObject {
		i := n() - 1
		return &value.IterObject{TypeName: typeName, Fn: func() (any, bool) {
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
	case *value.List:
		return backwards("list_reverseiterator", func() int { return len(o.Items) }, func(i int) any { return o.Items[i] })
	case value.Tuple:
		return backwards("reversed", func() int { return len(o) }, func(i int) any { return o[i] })
	case *value.GroupTuple:
		return reversedOf(fr, o.Tuple())
	case string, value.Markup:
		s, _ := value.AsStr(v)
		r := []rune(s)
		fr.AllocN(len(r), 4)
		return backwards("reversed", func() int { return len(r) }, func(i int) any { return value.Like(v, string(r[i])) })
	case *value.Range:
		return backwards("range_iterator", func() int { return int(o.Len()) }, func(i int) any { return o.At(int64(i)) })
	case *value.Dict:
		return reversedOf(fr, &value.DictView{Dict: o, Kind: value.ViewKeys})
	case *value.DictView:
		items := value.Collect(fr, o)
		name := [...]string{"dict_reversekeyiterator", "dict_reversevalueiterator", "dict_reverseitemiterator"}[o.Kind]
		return backwards(name, func() int { return len(items) }, func(i int) any { return items[i] })
	case value.Bytes:
		return backwards("reversed", func() int { return len(o) }, func(i int) any { return int64(o[i]) })
	case *value.Undefined:
		// To reversed() it is a sequence of length 0.
		if o.Mode() == value.Strict {
			value.RaiseUndefined(o)
		}
		return backwards("reversed", func() int { return 0 }, nil)
	}
	return nil
}

// reversed is reversed(v).
func reversed(fr *value.Frame, v any) value.Iterator {
	it := reversedOf(fr, v)
	if it == nil {
		raise.Type("'%s' object is not reversible", value.TypeName(v))
	}
	return it
}
