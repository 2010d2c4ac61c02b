package jinja

// setValue is Python's set, which templates get from operations on dict views.
type setValue struct{ d *Dict }

// setOf is a value seen as a set: sets, keys, and items when they can be hashed.
func setOf(fr *vframe, v any) *Dict {
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
					d.set(fr, v.at(i), nil)
				}
			}
			return d
		}
	}
	return nil
}

// setDifference is a - b for views and sets.
func setDifference(fr *vframe, a, b any) (any, bool) {
	x := setOf(fr, a)
	if x == nil {
		return nil, false
	}
	if _, isSet := a.(*setValue); isSet && setOf(fr, b) == nil {
		return nil, false
	}
	if iterableOf(fr, b) == nil {
		return nil, false
	}
	fr.work(len(x.ents))
	out := newDict(0)
	drop := newDict(0)
	for _, v := range collect(fr, b) {
		drop.set(fr, v, nil)
	}
	for i := range x.ents {
		if e := &x.ents[i]; e.live && drop.find(e.hash) < 0 {
			out.put(e.key, e.hash, nil)
		}
	}
	return &setValue{out}, true
}

// isSet says whether a value takes part in the comparisons of sets.
func isSet(v any) bool {
	switch v := v.(type) {
	case *setValue:
		return true
	case *dictView:
		return v.kind != viewValues
	}
	return false
}

// subset says whether all of x is in y.
func subset(fr *vframe, x, y any) bool {
	for _, v := range collect(fr, x) {
		if !contains(fr, y, v) {
			return false
		}
	}
	return true
}

// orderSets compares sets: the larger ones contain the smaller.
func orderSets(fr *vframe, x, y any, op string) bool {
	n, m := length(fr, x), length(fr, y)
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

// groupTuple is what groupby gives: a tuple with names.
type groupTuple struct {
	grouper any
	list    *List
}

func (g *groupTuple) tuple() Tuple { return Tuple{g.grouper, g.list} }
