package jinja

// sliceValue is Python's slice: start, stop, step.
type sliceValue [3]any

// subscript is Python's own v[arg], which raises.
func subscript(fr *vframe, v, arg any) any {
	if bounds, ok := arg.(*sliceValue); ok {
		return slicing(fr, v, bounds)
	}
	index := func(n int, what string) int {
		i, large, ok := asInt(arg)
		if !ok {
			raiseType("%s indices must be integers or slices, not %s", what, typeName(arg))
		}
		if large != nil {
			raiseKind(KindRuntime, "IndexError", "cannot fit 'int' into an index-sized integer")
		}
		if i < 0 {
			i += int64(n)
		}
		if i < 0 || i >= int64(n) {
			raiseKind(KindRuntime, "IndexError", "%s index out of range", what)
		}
		return int(i)
	}
	switch o := v.(type) {
	case string, Markup:
		s, _ := asStr(v)
		if isASCII(s) {
			fr.scan(len(s))
			return like(v, s[index(len(s), "string"):][:1])
		}
		fr.work(len(s) >> 2)
		r := []rune(s)
		return like(v, string(r[index(len(r), "string")]))
	case *List:
		return o.Items[index(len(o.Items), "list")]
	case Tuple:
		return o[index(len(o), "tuple")]
	case *groupTuple:
		return subscript(fr, o.tuple(), arg)
	case *Dict:
		x, ok := o.get(fr, arg)
		if !ok {
			raiseKind(KindRuntime, "KeyError", "%s", repr(arg))
		}
		return x
	case *rangeValue:
		return o.at(int64(index(int(o.len()), "range object")))
	case bytesValue:
		return int64(o[index(len(o), "bytes")])
	case *Undefined:
		if o.mode == Chainable {
			return o
		}
		raiseUndefined(o)
	case object:
		if c := o.Class(); c.item != nil {
			if x, ok := c.item(o, fr, arg); ok {
				return x
			}
			hashKey(fr, arg)
			raiseKind(KindRuntime, "KeyError", "%s", repr(arg))
		}
	}
	raiseType("'%s' object is not subscriptable", typeName(v))
	return nil
}

// slicing is v[start:stop:step].
func slicing(fr *vframe, v any, b *sliceValue) any {
	n, ok := int64(0), true
	switch o := v.(type) {
	case string, Markup, *List, Tuple, *groupTuple, *rangeValue, bytesValue:
		n, _ = tryLen(fr, v)
	case *Undefined:
		return subscript(fr, o, nil)
	case *Dict:
		raiseType("unhashable type: 'slice'")
	default:
		if indexed(v) != nil {
			raiseType("unhashable type: 'slice'")
		}
		ok = false
	}
	if !ok {
		raiseType("'%s' object is not subscriptable", typeName(v))
	}
	start, stop, step, count := sliceIndices(b, n)
	fr.allocN(int(count), 16)
	items := func(list []any) []any {
		out := make([]any, count)
		for i := range out {
			out[i] = list[start+int64(i)*step]
		}
		return out
	}
	switch o := v.(type) {
	case string, Markup:
		s, _ := asStr(v)
		fr.scan(2 * len(s))
		return like(v, sliceString(s, start, step, count))
	case *List:
		return &List{Items: items(o.Items)}
	case Tuple:
		return Tuple(items(o))
	case *groupTuple:
		return Tuple(items(o.tuple()))
	case *rangeValue:
		first := o.at(start)
		return &rangeValue{first, o.at(stop), o.step * step}
	case bytesValue:
		out := make([]byte, count)
		for i := range out {
			out[i] = o[start+int64(i)*step]
		}
		return bytesValue(out)
	}
	return nil
}

func sliceString(s string, start, step, count int64) string {
	if count == 0 {
		return ""
	}
	if isASCII(s) {
		if step == 1 {
			return s[start : start+count]
		}
		out := make([]byte, count)
		for i := range out {
			out[i] = s[start+int64(i)*step]
		}
		return string(out)
	}
	r := []rune(s)
	out := make([]rune, count)
	for i := range out {
		out[i] = r[start+int64(i)*step]
	}
	return string(out)
}

// sliceIndices is slice.indices, and how many there are.
func sliceIndices(b *sliceValue, n int64) (start, stop, step, count int64) {
	step = 1
	if b[2] != nil {
		step = sliceIndex(b[2])
		if step == 0 {
			raiseValue("slice step cannot be zero")
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
		i := sliceIndex(v)
		if i < 0 {
			return max(i+n, low)
		}
		return min(i, high)
	}
	if step > 0 {
		start, stop = clamp(b[0], low), clamp(b[1], high)
		if start < stop {
			count = (stop-start-1)/step + 1
		}
	} else {
		start, stop = clamp(b[0], high), clamp(b[1], low)
		if start > stop {
			count = (start-stop-1)/(-step) + 1
		}
	}
	return start, stop, step, count
}

func sliceIndex(v any) int64 {
	i, large, ok := asInt(v)
	if !ok {
		raiseType("slice indices must be integers or None or have an __index__ method")
	}
	if large != nil {
		if large.Sign() < 0 {
			return -1 << 62
		}
		return 1 << 62
	}
	return max(-1<<62, min(i, 1<<62))
}
