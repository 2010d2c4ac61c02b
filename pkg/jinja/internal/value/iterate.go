package value

import (
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Iterator gives one value after another; it raises what its source raises.
type Iterator interface {
	Next(fr *Frame) (any, bool)
}

// IterObject is an iterator as a value of templates: a generator, or what
// reversed() and iter() return.
type IterObject struct {
	TypeName string
	name     string // of a generator's function
	Fn       func() (any, bool)
	started  bool
	done     bool
}

// NewIterator makes an iterator whose class has a name.
func NewIterator(typeName string, next func() (any, bool)) *IterObject {
	return &IterObject{TypeName: typeName, Fn: next}
}

func NewGenerator(name string, fn func() (any, bool)) *IterObject {
	return &IterObject{TypeName: "generator", name: name, Fn: fn}
}

func (g *IterObject) Next(fr *Frame) (any, bool) {
	if g.done {
		return nil, false
	}
	g.started = true
	g.done = true // stays so when fn raises, or calls itself
	v, ok := g.Fn()
	g.done = !ok
	return v, ok
}

// isGenerator says whether the iterator is a generator.
func (g *IterObject) IsGenerator() bool { return g.TypeName == "generator" }

// hasStarted says whether the iterator was asked for a value.
func (g *IterObject) HasStarted() bool { return g.started }

// ended says whether the iterator has no more values.
func (g *IterObject) Ended() bool { return g.done }

// close ends the iterator.
func (g *IterObject) Close() { g.done = true }

// listIter follows the list while it changes, as Python's does.
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

type SliceIter struct {
	Items []any
	i     int
}

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

// dictIter refuses to go on when its dict has grown or shrunk.
type dictIter struct {
	view DictView
	i, n int
	done bool
}

func (it *dictIter) Next(fr *Frame) (any, bool) {
	if it.done {
		return nil, false
	}
	d := it.view.D
	if d.n != it.n {
		it.n = -1
		raise.Named("RuntimeError", "dictionary changed size during iteration")
	}
	start := it.i
	for it.i < len(d.entries) {
		it.i++
		if d.entries[it.i-1].live {
			fr.Work((it.i - start) >> 3) // dead entries that were passed over
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

// IteratorOf returns an iterator over a value, or nil when it has none.
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
		return &dictIter{view: *v, n: v.D.n}
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
		return &SliceIter{}
	case Object:
		if c := v.Class(); c.Iterate != nil {
			return c.Iterate(v, fr)
		}
	}
	return nil
}

func Iterate(fr *Frame, v any) Iterator {
	it := IteratorOf(fr, v)
	if it == nil {
		raise.Type("'%s' object is not iterable", TypeName(v))
	}
	return it
}

// Collect makes a slice of all a value iterates over: list(v). The slice is new.
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

// Unpack takes a value apart into n values for an assignment.
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

// TryLength is len(v) for what has a length.
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
		return int64(v.D.n), true
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
		return v.D.n > 0
	case *Set:
		return v.Members.n > 0
	case Bytes:
		return v != ""
	}
	return true
}

// GroupTuple is what groupby gives: a tuple with names.
type GroupTuple struct {
	Grouper any
	List    *List
}

func (g *GroupTuple) Tuple() Tuple { return Tuple{g.Grouper, g.List} }
