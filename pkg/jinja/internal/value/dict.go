package value

import (
	"iter"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Dict is Python's dict. It keeps the order of insertion, and is shared by all names
// that are bound to it. Keys may be any hashable values.
type Dict struct {
	entries []dictEntry
	idx     map[any]int // nil while the dict is small
	n       int         // live entries
}

type dictEntry struct {
	key, val any
	hash     any // the canonical form of key, comparable by ==
	live     bool
}

// dictSmall is the number of entries up to which searching them is faster than a map.
const dictSmall = 8

// NewDictSize returns an empty dict with room for a number of entries.
func NewDictSize(size int) *Dict {
	d := &Dict{entries: make([]dictEntry, 0, size)}
	if size > dictSmall {
		d.idx = make(map[any]int, size)
	}
	return d
}

// NewDict returns an empty dict.
func NewDict() *Dict { return NewDictSize(0) }

// Len returns the number of entries.
func (d *Dict) Len() int { return d.n }

// Get returns the value of a key.
func (d *Dict) Get(key any) (any, bool) {
	if s, ok := key.(string); ok {
		return d.GetStr(s)
	}
	return d.Lookup(nil, Convert(key))
}

// Set sets the value of a key, which must be hashable: not a list or a dict. Both are
// converted like variables of a render.
func (d *Dict) Set(key, val any) { d.Put(nil, Convert(key), Convert(val)) }

// Keys returns the keys in order.
func (d *Dict) Keys() []any {
	out := make([]any, 0, d.n)
	for i := range d.entries {
		if d.entries[i].live {
			out = append(out, d.entries[i].key)
		}
	}
	return out
}

// index returns the position of the entry with the canonical form of a key, or -1.
func (d *Dict) index(hash any) int {
	if d.idx != nil {
		if i, ok := d.idx[hash]; ok {
			return i
		}
		return -1
	}
	for i := range d.entries {
		if d.entries[i].live && d.entries[i].hash == hash {
			return i
		}
	}
	return -1
}

func (d *Dict) findStr(s string) int {
	if d.idx != nil {
		return d.index(s)
	}
	for i := range d.entries {
		if h, ok := d.entries[i].hash.(string); ok && h == s && d.entries[i].live {
			return i
		}
	}
	return -1
}

// GetStr returns the value of a string key.
func (d *Dict) GetStr(s string) (any, bool) {
	if i := d.findStr(s); i >= 0 {
		return d.entries[i].val, true
	}
	return nil, false
}

// Lookup returns the value of a key that is a value of templates; fr may be nil.
func (d *Dict) Lookup(fr *Frame, key any) (any, bool) {
	if i := d.index(HashKey(fr, key)); i >= 0 {
		return d.entries[i].val, true
	}
	return nil, false
}

// SetStr sets the value of a string key.
func (d *Dict) SetStr(s string, val any) { d.insert(s, s, val) }

// Put sets the value of a key. Both are values of templates; fr may be nil.
func (d *Dict) Put(fr *Frame, key, val any) { d.insert(key, HashKey(fr, key), val) }

func (d *Dict) insert(key, hash, val any) {
	if i := d.index(hash); i >= 0 {
		d.entries[i].val = val
		return
	}
	if d.idx == nil && len(d.entries) >= dictSmall {
		d.compact()
		if len(d.entries) >= dictSmall {
			d.idx = make(map[any]int, 2*len(d.entries))
			for i := range d.entries {
				d.idx[d.entries[i].hash] = i
			}
		}
	}
	if d.idx != nil {
		d.idx[hash] = len(d.entries)
	}
	d.entries = append(d.entries, dictEntry{key, val, hash, true})
	d.n++
}

// compact removes the deleted entries.
func (d *Dict) compact() {
	if d.n == len(d.entries) {
		return
	}
	live := d.entries[:0]
	for _, e := range d.entries {
		if e.live {
			live = append(live, e)
		}
	}
	clear(d.entries[len(live):])
	d.entries = live
	if d.idx != nil {
		clear(d.idx)
		for i := range d.entries {
			d.idx[d.entries[i].hash] = i
		}
	}
}

// Remove removes a key and returns its value.
func (d *Dict) Remove(fr *Frame, key any) (any, bool) {
	i := d.index(HashKey(fr, key))
	if i < 0 {
		return nil, false
	}
	e := d.entries[i]
	if d.idx != nil {
		delete(d.idx, e.hash)
	}
	d.entries[i] = dictEntry{}
	d.n--
	if len(d.entries) > 2*dictSmall && d.n < len(d.entries)/2 {
		d.compact()
	}
	return e.val, true
}

// AddNew adds a key without a value unless the dict has it, and reports whether it
// did.
func (d *Dict) AddNew(fr *Frame, key any) bool {
	hash := HashKey(fr, key)
	if d.index(hash) >= 0 {
		return false
	}
	d.insert(key, hash, nil)
	return true
}

// All yields the entries in order. The dict must not change in the meantime.
func (d *Dict) All() iter.Seq2[any, any] {
	return func(yield func(key, val any) bool) {
		for i := range d.entries {
			if e := &d.entries[i]; e.live && !yield(e.key, e.val) {
				return
			}
		}
	}
}

// Update sets all entries of another dict.
func (d *Dict) Update(other *Dict) {
	for i := range other.entries {
		if e := other.entries[i]; e.live {
			d.insert(e.key, e.hash, e.val)
		}
	}
}

// Filter returns a dict of those keys that another dict has, or lacks. Values are nil.
func (d *Dict) Filter(other *Dict, included bool) *Dict {
	out := NewDictSize(0)
	for i := range d.entries {
		if e := &d.entries[i]; e.live && (other.index(e.hash) >= 0) == included {
			out.insert(e.key, e.hash, nil)
		}
	}
	return out
}

// MapValues returns a dict of the same keys with the results of f as values.
func (d *Dict) MapValues(f func(val any) any) *Dict {
	out := NewDictSize(d.n)
	for i := range d.entries {
		if e := &d.entries[i]; e.live {
			out.insert(e.key, e.hash, f(e.val))
		}
	}
	return out
}

// PopFirst removes and returns the first entry.
func (d *Dict) PopFirst(fr *Frame) (key, val any, ok bool) {
	for i := range d.entries {
		if e := d.entries[i]; e.live {
			fr.Work(i >> 3)
			d.Remove(fr, e.key)
			return e.key, e.val, true
		}
	}
	return nil, nil, false
}

// PopLast removes and returns the last entry.
func (d *Dict) PopLast(fr *Frame) (key, val any, ok bool) {
	for i := len(d.entries) - 1; i >= 0; i-- {
		if e := d.entries[i]; e.live {
			d.Remove(fr, e.key)
			d.entries = d.entries[:min(i, len(d.entries))] // makes the next search short
			return e.key, e.val, true
		}
	}
	return nil, nil, false
}

// Clear removes all entries.
func (d *Dict) Clear() { *d = Dict{} }

// Copy returns a dict with the same entries.
func (d *Dict) Copy() *Dict {
	out := NewDictSize(d.n)
	for i := range d.entries {
		if e := &d.entries[i]; e.live {
			out.insert(e.key, e.hash, e.val)
		}
	}
	return out
}

// UpdateDict is dict.update, and the constructor of dict.
func UpdateDict(fr *Frame, d *Dict, args []any, kw []Keyword) {
	if len(args) > 0 {
		switch src := args[0].(type) {
		case *Dict:
			fr.AllocN(src.Len(), 64)
			d.Update(src)
		case *Undefined:
			RaiseUndefined(src) // when its keys() are called
		default:
			for i, pair := range Collect(fr, src) {
				if it := IteratorOf(fr, pair); it == nil {
					raise.Type("cannot convert dictionary update sequence element #%d to a sequence", i)
				}
				kv := Collect(fr, pair)
				if len(kv) != 2 {
					raise.Value("dictionary update sequence element #%d has length %d; 2 is required", i, len(kv))
				}
				fr.Alloc(64)
				d.Put(fr, kv[0], kv[1])
			}
		}
	}
	for _, k := range kw {
		d.SetStr(k.Name, k.Value)
	}
}
