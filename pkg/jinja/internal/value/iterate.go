package value

import (
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Iterator yields values one by one. Next raises what its source raises.
type Iterator interface {
	Next(fr *Frame) (any, bool)
}

// IterObject is an iterator as a value of templates: a generator, or the result of
// reversed() and the like.
type IterObject struct {
	TypeName string
	name     string // of a generator's function
	Fn       func() (any, bool)
	started  bool
	done     bool
}

// NewIterator returns an iterator of a named class.
func NewIterator(typeName string, next func() (any, bool)) *IterObject {
	return &IterObject{TypeName: typeName, Fn: next}
}

// NewGenerator returns a generator; name is the name of its function.
func NewGenerator(name string, fn func() (any, bool)) *IterObject {
	return &IterObject{TypeName: "generator", name: name, Fn: fn}
}

// Next returns the next value.
func (g *IterObject) Next(fr *Frame) (any, bool) {
	if g.done {
		return nil, false
	}
	g.started = true
	g.done = true // also if fn raises, or calls Next
	v, ok := g.Fn()
	g.done = !ok
	return v, ok
}

// IsGenerator reports whether the iterator is a generator.
func (g *IterObject) IsGenerator() bool { return g.TypeName == "generator" }

// HasStarted reports whether Next was called.
func (g *IterObject) HasStarted() bool { return g.started }

// Ended reports whether the iterator has no more values.
func (g *IterObject) Ended() bool { return g.done }

// Close ends the iterator.
func (g *IterObject) Close() { g.done = true }

// listIter follows the list while it changes, as Python's iterator does.
type listIter struct {
	l *List
	i int
}

func (it *listIter) Next(*Frame) (any, bool) {
	if it.i >= len(it.l.Items) {
		it.i = int(^uint(0) >> 1)
		return nil, false
	}
	it.i++
	return it.l.Items[it.i-1], true
}

// SliceIter is an iterator over a slice.
type SliceIter struct {
	Items []any
	i     int
}

// Next returns the next item.
func (it *SliceIter) Next(*Frame) (any, bool) {
	if it.i >= len(it.Items) {
		return nil, false
	}
	it.i++
	return it.Items[it.i-1], true
}

type stringIter struct{ s string }

func (it *stringIter) Next(*Frame) (any, bool) {
	if it.s == "" {
		return nil, false
	}
	_, size := utf8.DecodeRuneInString(it.s)
	c := it.s[:size]
	it.s = it.s[size:]
	return c, true
}

// dictIter fails once the size of its dict has changed.
type dictIter struct {
	view DictView
	i, n int
	done bool
}

func (it *dictIter) Next(fr *Frame) (any, bool) {
	if it.done {
		return nil, false
	}
	d := it.view.Dict
	if d.n != it.n {
		it.n = -1
		raise.Named("RuntimeError", "dictionary changed size during iteration")
	}
	start := it.i
	for it.i < len(d.entries) {
		it.i++
		if d.entries[it.i-1].live {
			fr.Work((it.i - start) >> 3) // deleted entries in between
			return it.view.at(it.i - 1), true
		}
	}
	it.done = true
	return nil, false
}

type rangeIter struct {
	r    *Range
	i, n int64
}

func (it *rangeIter) Next(*Frame) (any, bool) {
	if it.i >= it.n {
		return nil, false
	}
	it.i++
	return it.r.At(it.i - 1), true
}

type bytesIter struct {
	b Bytes
	i int
}

func (it *bytesIter) Next(*Frame) (any, bool) {
	if it.i >= len(it.b) {
		return nil, false
	}
	it.i++
	return int64(it.b[it.i-1]), true
}

// IteratorOf returns an iterator over a value, or nil if it is not iterable.
func IteratorOf(fr *Frame, v any) Iterator {
	switch v := v.(type) {
	case *List:
		return &listIter{l: v}
	case Tuple:
		return &SliceIter{Items: v}
	case *GroupTuple:
		return &SliceIter{Items: v.Tuple()}
	case string:
		return &stringIter{s: v}
	case Markup:
		return &stringIter{s: string(v)}
	case *Dict:
		return &dictIter{view: DictView{v, ViewKeys}, n: v.n}
	case *DictView:
		return &dictIter{view: *v, n: v.Dict.n}
	case *Range:
		return &rangeIter{r: v, n: v.Len()}
	case *IterObject:
		return v
	case *Set:
		return &dictIter{view: DictView{v.Members, ViewKeys}, n: v.Members.n}
	case Bytes:
		return &bytesIter{b: v}
	case *Undefined:
		if v.mode == Strict {
			RaiseUndefined(v)
		}
		fr.UseUndefined(v)
		return &SliceIter{}
	case Object:
		if c := v.Class(); c.Iterate != nil {
			return c.Iterate(v, fr)
		}
	}
	return nil
}

// Iterate returns an iterator over a value. It raises TypeError if it is not iterable.
func Iterate(fr *Frame, v any) Iterator {
	it := IteratorOf(fr, v)
	if it == nil {
		raise.Type("'%s' object is not iterable", TypeName(v))
	}
	return it
}

// Collect returns a new slice of the items of a value: list(v).
func Collect(fr *Frame, v any) []any {
	switch v := v.(type) {
	case *List:
		fr.AllocN(len(v.Items), 16)
		return append(make([]any, 0, len(v.Items)), v.Items...)
	case Tuple:
		fr.AllocN(len(v), 16)
		return append(make([]any, 0, len(v)), v...)
	}
	it := Iterate(fr, v)
	var out []any
	for {
		item, ok := it.Next(fr)
		if !ok {
			return out
		}
		fr.Step()
		fr.Alloc(32)
		out = append(out, item)
	}
}

// Unpack returns the n items of a value that is assigned to n names.
func Unpack(fr *Frame, v any, n int) []any {
	var items []any
	switch v := v.(type) {
	case Tuple:
		items = v
	case *List:
		items = v.Items
	default:
		it := IteratorOf(fr, v)
		if it == nil {
			raise.Type("cannot unpack non-iterable %s object", TypeName(v))
		}
		for len(items) <= n {
			item, ok := it.Next(fr)
			if !ok {
				break
			}
			items = append(items, item)
		}
	}
	if len(items) > n {
		raise.Value("too many values to unpack (expected %d)", n)
	}
	if len(items) < n {
		raise.Value("not enough values to unpack (expected %d, got %d)", n, len(items))
	}
	return items
}

// TryLength returns len(v), and whether the value has a length.
func TryLength(fr *Frame, v any) (int64, bool) {
	switch v := v.(type) {
	case string:
		fr.Scan(len(v))
		return int64(utf8.RuneCountInString(v)), true
	case Markup:
		fr.Scan(len(v))
		return int64(utf8.RuneCountInString(string(v))), true
	case *List:
		return int64(len(v.Items)), true
	case Tuple:
		return int64(len(v)), true
	case *GroupTuple:
		return 2, true
	case *Dict:
		return int64(v.n), true
	case *DictView:
		return int64(v.Dict.n), true
	case *Set:
		return int64(v.Members.n), true
	case *Range:
		return v.Len(), true
	case Bytes:
		return int64(len(v)), true
	case Object:
		if c := v.Class(); c.Length != nil {
			return c.Length(v, fr), true
		}
	case *Undefined:
		if v.mode == Strict {
			RaiseUndefined(v)
		}
		return 0, true
	}
	return 0, false
}

// Length is len(v).
func Length(fr *Frame, v any) int64 {
	n, ok := TryLength(fr, v)
	if !ok {
		raise.Type("object of type '%s' has no len()", TypeName(v))
	}
	return n
}

// Truth is bool(v).
func Truth(v any) bool {
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
			RaiseUndefined(v)
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
	case *Range:
		return v.Len() > 0
	case *DictView:
		return v.Dict.n > 0
	case *Set:
		return v.Members.n > 0
	case Bytes:
		return v != ""
	}
	return true
}

// GroupTuple is a tuple with named items, an item of what groupby returns.
type GroupTuple struct {
	Grouper any
	List    *List
}

// Tuple returns the plain tuple.
func (g *GroupTuple) Tuple() Tuple { return Tuple{g.Grouper, g.List} }
