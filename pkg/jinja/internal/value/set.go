package value

// Set is Python's set. Templates get sets from operations on the views of dicts.
type Set struct{ Members *Dict }

// setOf returns the members of a set or of a view of keys or items, nil for other
// values.
func setOf(fr *Frame, v any) *Dict {
	switch v := v.(type) {
	case *Set:
		return v.Members
	case *DictView:
		switch v.Kind {
		case ViewKeys:
			return v.Dict
		case ViewItems:
			d := NewDictSize(v.Dict.n)
			for i := range v.Dict.entries {
				if v.Dict.entries[i].live {
					d.Put(fr, v.at(i), nil)
				}
			}
			return d
		}
	}
	return nil
}

// SetDifference is a - b for views and sets; ok is false for other values.
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

// isSet reports whether a value compares like a set.
func isSet(v any) bool {
	switch v := v.(type) {
	case *Set:
		return true
	case *DictView:
		return v.Kind != viewValues
	}
	return false
}

// subset reports whether y contains all of x.
func subset(fr *Frame, x, y any) bool {
	for _, v := range Collect(fr, x) {
		if !Contains(fr, y, v) {
			return false
		}
	}
	return true
}

// orderSets compares sets: a set is greater than its subsets.
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
