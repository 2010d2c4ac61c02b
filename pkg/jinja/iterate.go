package jinja

import "unicode/utf8"

// iterator gives one value after another; it raises what its source raises.
type iterator interface {
	next(fr *vframe) (any, bool)
}

// iterObj is an iterator as a value of templates: a generator, or what
// reversed() and iter() return.
type iterObj struct {
	typeName string
	name     string // of a generator's function
	fn       func() (any, bool)
	started  bool
	done     bool
}

// newIterator makes an iterator whose class has a name.
func newIterator(typeName string, next func() (any, bool)) *iterObj {
	return &iterObj{typeName: typeName, fn: next}
}

func newGenerator(name string, fn func() (any, bool)) *iterObj {
	return &iterObj{typeName: "generator", name: name, fn: fn}
}

func (g *iterObj) next(fr *vframe) (any, bool) {
	if g.done {
		return nil, false
	}
	g.started = true
	g.done = true // stays so when fn raises, or calls itself
	v, ok := g.fn()
	g.done = !ok
	return v, ok
}

// isGenerator says whether the iterator is a generator.
func (g *iterObj) isGenerator() bool { return g.typeName == "generator" }

// hasStarted says whether the iterator was asked for a value.
func (g *iterObj) hasStarted() bool { return g.started }

// ended says whether the iterator has no more values.
func (g *iterObj) ended() bool { return g.done }

// close ends the iterator.
func (g *iterObj) close() { g.done = true }

// listIter follows the list while it changes, as Python's does.
type listIter struct {
	l *List
	i int
}

func (it *listIter) next(*vframe) (any, bool) {
	if it.i >= len(it.l.Items) {
		it.i = int(^uint(0) >> 1)
		return nil, false
	}
	it.i++
	return it.l.Items[it.i-1], true
}

type sliceIter struct {
	items []any
	i     int
}

func (it *sliceIter) next(*vframe) (any, bool) {
	if it.i >= len(it.items) {
		return nil, false
	}
	it.i++
	return it.items[it.i-1], true
}

type stringIter struct{ s string }

func (it *stringIter) next(*vframe) (any, bool) {
	if it.s == "" {
		return nil, false
	}
	_, size := utf8.DecodeRuneInString(it.s)
	c := it.s[:size]
	it.s = it.s[size:]
	return c, true
}

// dictIter refuses to go on when its dict has grown or shrunk.
type dictIter struct {
	view dictView
	i, n int
	done bool
}

func (it *dictIter) next(fr *vframe) (any, bool) {
	if it.done {
		return nil, false
	}
	d := it.view.d
	if d.n != it.n {
		it.n = -1
		raiseKind(KindRuntime, "RuntimeError", "dictionary changed size during iteration")
	}
	start := it.i
	for it.i < len(d.ents) {
		it.i++
		if d.ents[it.i-1].live {
			fr.work((it.i - start) >> 3) // dead entries that were passed over
			return it.view.at(it.i - 1), true
		}
	}
	it.done = true
	return nil, false
}

type rangeIter struct {
	r    *rangeValue
	i, n int64
}

func (it *rangeIter) next(*vframe) (any, bool) {
	if it.i >= it.n {
		return nil, false
	}
	it.i++
	return it.r.at(it.i - 1), true
}

type bytesIter struct {
	b bytesValue
	i int
}

func (it *bytesIter) next(*vframe) (any, bool) {
	if it.i >= len(it.b) {
		return nil, false
	}
	it.i++
	return int64(it.b[it.i-1]), true
}

// iterableOf returns an iterator over a value, or nil when it has none.
func iterableOf(fr *vframe, v any) iterator {
	switch v := v.(type) {
	case *List:
		return &listIter{l: v}
	case Tuple:
		return &sliceIter{items: v}
	case *groupTuple:
		return &sliceIter{items: v.tuple()}
	case string:
		return &stringIter{s: v}
	case Markup:
		return &stringIter{s: string(v)}
	case *Dict:
		return &dictIter{view: dictView{v, viewKeys}, n: v.n}
	case *dictView:
		return &dictIter{view: *v, n: v.d.n}
	case *rangeValue:
		return &rangeIter{r: v, n: v.len()}
	case *iterObj:
		return v
	case *setValue:
		return &dictIter{view: dictView{v.d, viewKeys}, n: v.d.n}
	case bytesValue:
		return &bytesIter{b: v}
	case *Undefined:
		if v.mode == Strict {
			raiseUndefined(v)
		}
		return &sliceIter{}
	case object:
		if c := v.Class(); c.iterate != nil {
			return c.iterate(v, fr)
		}
	}
	return nil
}

func iterate(fr *vframe, v any) iterator {
	it := iterableOf(fr, v)
	if it == nil {
		raiseType("'%s' object is not iterable", typeName(v))
	}
	return it
}

// collect makes a slice of all a value iterates over: list(v). The slice is new.
func collect(fr *vframe, v any) []any {
	switch v := v.(type) {
	case *List:
		fr.allocN(len(v.Items), 16)
		return append(make([]any, 0, len(v.Items)), v.Items...)
	case Tuple:
		fr.allocN(len(v), 16)
		return append(make([]any, 0, len(v)), v...)
	}
	it := iterate(fr, v)
	var out []any
	for {
		item, ok := it.next(fr)
		if !ok {
			return out
		}
		fr.step()
		fr.alloc(32)
		out = append(out, item)
	}
}

// unpack takes a value apart into n values for an assignment.
func unpack(fr *vframe, v any, n int) []any {
	var items []any
	switch v := v.(type) {
	case Tuple:
		items = v
	case *List:
		items = v.Items
	default:
		it := iterableOf(fr, v)
		if it == nil {
			raiseType("cannot unpack non-iterable %s object", typeName(v))
		}
		for len(items) <= n {
			item, ok := it.next(fr)
			if !ok {
				break
			}
			items = append(items, item)
		}
	}
	if len(items) > n {
		raiseValue("too many values to unpack (expected %d)", n)
	}
	if len(items) < n {
		raiseValue("not enough values to unpack (expected %d, got %d)", n, len(items))
	}
	return items
}

// tryLen is len(v) for what has a length.
func tryLen(fr *vframe, v any) (int64, bool) {
	switch v := v.(type) {
	case string:
		fr.scan(len(v))
		return int64(utf8.RuneCountInString(v)), true
	case Markup:
		fr.scan(len(v))
		return int64(utf8.RuneCountInString(string(v))), true
	case *List:
		return int64(len(v.Items)), true
	case Tuple:
		return int64(len(v)), true
	case *groupTuple:
		return 2, true
	case *Dict:
		return int64(v.n), true
	case *dictView:
		return int64(v.d.n), true
	case *setValue:
		return int64(v.d.n), true
	case *rangeValue:
		return v.len(), true
	case bytesValue:
		return int64(len(v)), true
	case object:
		if c := v.Class(); c.length != nil {
			return c.length(v, fr), true
		}
	case *Undefined:
		if v.mode == Strict {
			raiseUndefined(v)
		}
		return 0, true
	}
	return 0, false
}

func length(fr *vframe, v any) int64 {
	n, ok := tryLen(fr, v)
	if !ok {
		raiseType("object of type '%s' has no len()", typeName(v))
	}
	return n
}

// truth is bool(v).
func truth(v any) bool {
	switch v := v.(type) {
	case bool:
		return v
	case nil:
		return false
	case string:
		return v != ""
	case int64:
		return v != 0
	case *List:
		return len(v.Items) > 0
	case *Undefined:
		if v.mode == Strict {
			raiseUndefined(v)
		}
		return false
	case *Dict:
		return v.n > 0
	case Tuple:
		return len(v) > 0
	case Markup:
		return v != ""
	case float64:
		return v != 0
	case *rangeValue:
		return v.len() > 0
	case *dictView:
		return v.d.n > 0
	case *setValue:
		return v.d.n > 0
	case bytesValue:
		return v != ""
	}
	return true
}
