package value

// Set is Python's set, which templates get from operations on dict views.
type Set struct{ Members *Dict }

// setOf is a value seen as a set: sets, keys, and items when they can be hashed.
func setOf(fr *Frame, v any) *Dict {
	switch v := v.(type) {
	case *Set:
		return v.Members
	case *DictView:
		switch v.Kind {
		case ViewKeys:
			return v.D
		case ViewItems:
			d := NewDictSize(v.D.n)
			for i := range v.D.entries {
				if v.D.entries[i].live {
					d.Put(fr, v.at(i), nil)
				}
			}
			return d
		}
	}
	return nil
}

// SetDifference is a - b for views and sets.
func SetDifference(fr *Frame, a, b any) (any, bool) {
	x := setOf(fr, a)
	if x == nil {
		return nil, false
	}
	if _, isSet := a.(*Set); isSet && setOf(fr, b) == nil {
		return nil, false
	}
	if IteratorOf(fr, b) == nil {
		return nil, false
	}
	fr.Work(len(x.entries))
	out := NewDictSize(0)
	drop := NewDictSize(0)
	for _, v := range Collect(fr, b) {
		drop.Put(fr, v, nil)
	}
	for i := range x.entries {
		if e := &x.entries[i]; e.live && drop.index(e.hash) < 0 {
			out.insert(e.key, e.hash, nil)
		}
	}
	return &Set{out}, true
}

// isSet says whether a value takes part in the comparisons of sets.
func isSet(v any) bool {
	switch v := v.(type) {
	case *Set:
		return true
	case *DictView:
		return v.Kind != viewValues
	}
	return false
}

// subset says whether all of x is in y.
func subset(fr *Frame, x, y any) bool {
	for _, v := range Collect(fr, x) {
		if !Contains(fr, y, v) {
			return false
		}
	}
	return true
}

// orderSets compares sets: the larger ones contain the smaller.
func orderSets(fr *Frame, x, y any, op string) bool {
	n, m := Length(fr, x), Length(fr, y)
	switch op {
	case "==":
		return n == m && subset(fr, x, y)
	case "<":
		return n < m && subset(fr, x, y)
	case "<=":
		return n <= m && subset(fr, x, y)
	case ">":
		return n > m && subset(fr, y, x)
	}
	return n >= m && subset(fr, y, x)
}
