package jinja

// setValue is Python's set, which templates get from operations on dict views.
type setValue struct{ d *Dict }

// setOf is a value seen as a set: sets, keys, and items when they can be hashed.
func setOf(v any) *Dict {
	switch v := v.(type) {
	case *setValue:
		return v.d
	case *dictView:
		switch v.kind {
		case viewKeys:
			return v.d
		case viewItems:
			d := newDict(v.d.n)
			for i := range v.d.ents {
				if v.d.ents[i].live {
					d.set(v.at(i), nil)
				}
			}
			return d
		}
	}
	return nil
}

// setDifference is a - b for views and sets.
func setDifference(fr *frame, a, b any) (any, bool) {
	x := setOf(a)
	if x == nil {
		return nil, false
	}
	if _, isSet := a.(*setValue); isSet && setOf(b) == nil {
		return nil, false
	}
	if iterableOf(fr, b) == nil {
		return nil, false
	}
	out := newDict(0)
	drop := newDict(0)
	for _, v := range collect(fr, b) {
		drop.set(v, nil)
	}
	for i := range x.ents {
		if e := &x.ents[i]; e.live && drop.find(e.hash) < 0 {
			out.put(e.key, e.hash, nil)
		}
	}
	return &setValue{out}, true
}

func subset(x, y *Dict) bool {
	for i := range x.ents {
		if e := &x.ents[i]; e.live && y.find(e.hash) < 0 {
			return false
		}
	}
	return true
}

func equalSets(fr *frame, x, y *Dict) bool {
	fr.st.work(x.n)
	return x.n == y.n && subset(x, y)
}

func orderSets(fr *frame, x, y *Dict, op string) bool {
	fr.st.work(x.n + y.n)
	switch op {
	case "<":
		return x.n < y.n && subset(x, y)
	case "<=":
		return subset(x, y)
	case ">":
		return y.n < x.n && subset(y, x)
	}
	return subset(y, x)
}
