package value

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Slice is Python's slice: start, stop, step.
type Slice [3]any

// Subscript is Python's v[arg], which raises an error for a missing item, unlike a
// template's.
func Subscript(fr *Frame, v, arg any) any {
	if bounds, ok := arg.(*Slice); ok {
		return Slicing(fr, v, bounds)
	}
	index := func(n int, kind string) int {
		i, large, ok := AsInt(arg)
		if !ok {
			raise.Type("%s indices must be integers or slices, not %s", kind, TypeName(arg))
		}
		if large != nil {
			raise.Named("IndexError", "cannot fit 'int' into an index-sized integer")
		}
		if i < 0 {
			i += int64(n)
		}
		if i < 0 || i >= int64(n) {
			raise.Named("IndexError", "%s index out of range", kind)
		}
		return int(i)
	}
	switch o := v.(type) {
	case string, Markup:
		s, _ := AsStr(v)
		if pystr.IsASCII(s) {
			fr.Scan(len(s))
			return Like(v, s[index(len(s), "string"):][:1])
		}
		fr.Work(len(s) >> 2)
		r := []rune(s)
		return Like(v, string(r[index(len(r), "string")]))
	case *List:
		return o.Items[index(len(o.Items), "list")]
	case Tuple:
		return o[index(len(o), "tuple")]
	case *GroupTuple:
		return Subscript(fr, o.Tuple(), arg)
	case *Dict:
		x, ok := o.Lookup(fr, arg)
		if !ok {
			raise.Named("KeyError", "%s", Repr(arg))
		}
		return x
	case *Range:
		return o.At(int64(index(int(o.Len()), "range object")))
	case Bytes:
		return int64(o[index(len(o), "bytes")])
	case *Undefined:
		if o.mode == Chainable {
			return o
		}
		RaiseUndefined(o)
	case Object:
		if c := o.Class(); c.Item != nil {
			if x, ok := c.Item(o, fr, arg); ok {
				return x
			}
			HashKey(fr, arg)
			raise.Named("KeyError", "%s", Repr(arg))
		}
	}
	raise.Type("'%s' object is not subscriptable", TypeName(v))
	return nil
}

// Slicing is v[start:stop:step].
func Slicing(fr *Frame, v any, b *Slice) any {
	n, ok := int64(0), true
	switch o := v.(type) {
	case string, Markup, *List, Tuple, *GroupTuple, *Range, Bytes:
		n, _ = TryLength(fr, v)
	case *Undefined:
		return Subscript(fr, o, nil)
	case *Dict:
		raise.Type("unhashable type: 'slice'")
	default:
		if Indexed(v) != nil {
			raise.Type("unhashable type: 'slice'")
		}
		ok = false
	}
	if !ok {
		raise.Type("'%s' object is not subscriptable", TypeName(v))
	}
	start, stop, step, count := SliceIndices(b, n)
	fr.AllocN(int(count), 16)
	items := func(list []any) []any {
		out := make([]any, count)
		for i := range out {
			out[i] = list[start+int64(i)*step]
		}
		return out
	}
	switch o := v.(type) {
	case string, Markup:
		s, _ := AsStr(v)
		fr.Scan(2 * len(s))
		return Like(v, pystr.Slice(s, start, step, count))
	case *List:
		return &List{Items: items(o.Items)}
	case Tuple:
		return Tuple(items(o))
	case *GroupTuple:
		return Tuple(items(o.Tuple()))
	case *Range:
		first := o.At(start)
		return &Range{first, o.At(stop), o.Step * step}
	case Bytes:
		out := make([]byte, count)
		for i := range out {
			out[i] = o[start+int64(i)*step]
		}
		return Bytes(out)
	}
	return nil
}

// SliceIndices is slice.indices(n), and the number of items selected.
func SliceIndices(slice *Slice, n int64) (start, stop, step, count int64) {
	step = 1
	if slice[2] != nil {
		step = SliceIndex(slice[2])
		if step == 0 {
			raise.Value("slice step cannot be zero")
		}
	}
	low, high := int64(0), n
	if step < 0 {
		low, high = -1, n-1
	}
	clamp := func(v any, otherwise int64) int64 {
		if v == nil {
			return otherwise
		}
		i := SliceIndex(v)
		if i < 0 {
			return max(i+n, low)
		}
		return min(i, high)
	}
	if step > 0 {
		start, stop = clamp(slice[0], low), clamp(slice[1], high)
		if start < stop {
			count = (stop-start-1)/step + 1
		}
	} else {
		start, stop = clamp(slice[0], high), clamp(slice[1], low)
		if start > stop {
			count = (start-stop-1)/(-step) + 1
		}
	}
	return start, stop, step, count
}

// SliceIndex returns a bound of a slice, clipped to a range beyond the length of any
// value.
func SliceIndex(v any) int64 {
	i, large, ok := AsInt(v)
	if !ok {
		raise.Type("slice indices must be integers or None or have an __index__ method")
	}
	if large != nil {
		if large.Sign() < 0 {
			return -1 << 62
		}
		return 1 << 62
	}
	return max(-1<<62, min(i, 1<<62))
}
