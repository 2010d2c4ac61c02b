package jinja

import (
	"iter"
	"math"
	"math/big"
	"strconv"
	"strings"
)

// Dict is Python's dict: it keeps the order of insertion, and every name bound
// to it sees its changes. Keys may be of any hashable value.
type Dict struct {
	ents []dictEntry
	idx  map[any]int // nil while the dict is small
	n    int         // live entries
}

type dictEntry struct {
	key, val any
	hash     any // the canonical form of key, comparable by ==
	live     bool
}

// dictSmall is the number of entries up to which a scan beats a map.
const dictSmall = 8

func newDict(size int) *Dict {
	d := &Dict{ents: make([]dictEntry, 0, size)}
	if size > dictSmall {
		d.idx = make(map[any]int, size)
	}
	return d
}

// NewDict makes an empty dict.
func NewDict() *Dict { return newDict(0) }

// Len is the number of entries.
func (d *Dict) Len() int { return d.n }

// Get returns the value of a key.
func (d *Dict) Get(key any) (any, bool) {
	if s, ok := key.(string); ok {
		return d.getStr(s)
	}
	return d.get(nil, convert(key))
}

// Set binds a key to a value; the key must be hashable (no list, no dict). The
// value is converted like a variable of a render.
func (d *Dict) Set(key, val any) { d.set(nil, convert(key), convert(val)) }

// Keys returns the keys in their order.
func (d *Dict) Keys() []any {
	out := make([]any, 0, d.n)
	for i := range d.ents {
		if d.ents[i].live {
			out = append(out, d.ents[i].key)
		}
	}
	return out
}

func (d *Dict) find(hash any) int {
	if d.idx != nil {
		if i, ok := d.idx[hash]; ok {
			return i
		}
		return -1
	}
	for i := range d.ents {
		if d.ents[i].live && d.ents[i].hash == hash {
			return i
		}
	}
	return -1
}

func (d *Dict) findStr(s string) int {
	if d.idx != nil {
		return d.find(s)
	}
	for i := range d.ents {
		if h, ok := d.ents[i].hash.(string); ok && h == s && d.ents[i].live {
			return i
		}
	}
	return -1
}

func (d *Dict) getStr(s string) (any, bool) {
	if i := d.findStr(s); i >= 0 {
		return d.ents[i].val, true
	}
	return nil, false
}

func (d *Dict) get(fr *vframe, key any) (any, bool) {
	if i := d.find(hashKey(fr, key)); i >= 0 {
		return d.ents[i].val, true
	}
	return nil, false
}

func (d *Dict) setStr(s string, val any) { d.put(s, s, val) }

func (d *Dict) set(fr *vframe, key, val any) { d.put(key, hashKey(fr, key), val) }

func (d *Dict) put(key, hash, val any) {
	if i := d.find(hash); i >= 0 {
		d.ents[i].val = val
		return
	}
	if d.idx == nil && len(d.ents) >= dictSmall {
		d.compact()
		if len(d.ents) >= dictSmall {
			d.idx = make(map[any]int, 2*len(d.ents))
			for i := range d.ents {
				d.idx[d.ents[i].hash] = i
			}
		}
	}
	if d.idx != nil {
		d.idx[hash] = len(d.ents)
	}
	d.ents = append(d.ents, dictEntry{key, val, hash, true})
	d.n++
}

// compact drops the dead entries.
func (d *Dict) compact() {
	if d.n == len(d.ents) {
		return
	}
	live := d.ents[:0]
	for _, e := range d.ents {
		if e.live {
			live = append(live, e)
		}
	}
	clear(d.ents[len(live):])
	d.ents = live
	if d.idx != nil {
		clear(d.idx)
		for i := range d.ents {
			d.idx[d.ents[i].hash] = i
		}
	}
}

func (d *Dict) delete(fr *vframe, key any) (any, bool) {
	i := d.find(hashKey(fr, key))
	if i < 0 {
		return nil, false
	}
	e := d.ents[i]
	if d.idx != nil {
		delete(d.idx, e.hash)
	}
	d.ents[i] = dictEntry{}
	d.n--
	if len(d.ents) > 2*dictSmall && d.n < len(d.ents)/2 {
		d.compact()
	}
	return e.val, true
}

// addNew adds a key that the dict lacks, with no value, and says whether it did.
func (d *Dict) addNew(fr *vframe, key any) bool {
	hash := hashKey(fr, key)
	if d.find(hash) >= 0 {
		return false
	}
	d.put(key, hash, nil)
	return true
}

// all yields the entries in their order. The dict must not change meanwhile.
func (d *Dict) all() iter.Seq2[any, any] {
	return func(yield func(key, val any) bool) {
		for i := range d.ents {
			if e := &d.ents[i]; e.live && !yield(e.key, e.val) {
				return
			}
		}
	}
}

// update sets all entries of another dict.
func (d *Dict) update(other *Dict) {
	for i := range other.ents {
		if e := other.ents[i]; e.live {
			d.put(e.key, e.hash, e.val)
		}
	}
}

// filter makes a dict of the keys that another has, or has not; their values are nil.
func (d *Dict) filter(other *Dict, has bool) *Dict {
	out := newDict(0)
	for i := range d.ents {
		if e := &d.ents[i]; e.live && (other.find(e.hash) >= 0) == has {
			out.put(e.key, e.hash, nil)
		}
	}
	return out
}

// mapValues makes a dict of the same keys with other values.
func (d *Dict) mapValues(f func(val any) any) *Dict {
	out := newDict(d.n)
	for i := range d.ents {
		if e := &d.ents[i]; e.live {
			out.put(e.key, e.hash, f(e.val))
		}
	}
	return out
}

// popFirst removes the first entry; the work of finding it is counted.
func (d *Dict) popFirst(fr *vframe) (key, val any, ok bool) {
	for i := range d.ents {
		if e := d.ents[i]; e.live {
			fr.work(i >> 3)
			d.delete(fr, e.key)
			return e.key, e.val, true
		}
	}
	return nil, nil, false
}

// popLast removes the last entry.
func (d *Dict) popLast(fr *vframe) (key, val any, ok bool) {
	for i := len(d.ents) - 1; i >= 0; i-- {
		if e := d.ents[i]; e.live {
			d.delete(fr, e.key)
			d.ents = d.ents[:min(i, len(d.ents))] // so that the next one is found at once
			return e.key, e.val, true
		}
	}
	return nil, nil, false
}

func (d *Dict) clear() { *d = Dict{} }

func (d *Dict) copy() *Dict {
	out := newDict(d.n)
	for i := range d.ents {
		if e := &d.ents[i]; e.live {
			out.put(e.key, e.hash, e.val)
		}
	}
	return out
}

// tupleHash and objectHash keep the canonical forms of tuples and of objects
// apart from those of strings.
type (
	tupleHash  string
	bigHash    string
	objectHash struct{ ptr any }
	undefHash  UndefinedMode
)

// hashBig is the canonical form of an integer that needs more than 64 bits.
func hashBig(b *big.Int) any { return bigHash(b.Text(16)) }

// charge counts the work of reading n bytes; fr may be nil.
func charge(fr *vframe, n int) {
	if fr != nil {
		fr.scan(n)
	}
}

// hashKey is the canonical form of a dict key: equal keys have equal forms, and
// forms compare by ==. It raises TypeError for what cannot be hashed. The work is
// counted for fr, which may be nil.
func hashKey(fr *vframe, key any) any {
	switch k := key.(type) {
	case string:
		charge(fr, len(k))
		return k
	case Markup:
		charge(fr, len(k))
		return string(k)
	case int64:
		return k
	case bool:
		if k {
			return int64(1)
		}
		return int64(0)
	case nil:
		return objectHash{nil}
	case float64:
		if k == math.Trunc(k) && !math.IsInf(k, 0) {
			if math.Abs(k) < 1<<62 {
				return int64(k)
			}
			b, _ := big.NewFloat(k).Int(nil)
			return hashBig(b)
		}
		if math.IsNaN(k) {
			return objectHash{new(byte)} // equal to nothing
		}
		return k
	case *big.Int:
		charge(fr, k.BitLen())
		return hashBig(k)
	case Tuple:
		var b strings.Builder
		hashTuple(fr, &b, k, 0)
		return tupleHash(b.String())
	case *groupTuple:
		return hashKey(fr, Tuple{k.grouper, k.list})
	case *Undefined:
		if k.mode == Strict {
			raiseUndefined(k)
		}
		return undefHash(k.mode)
	case bytesValue:
		charge(fr, len(k))
		return tupleHash("b" + string(k))
	case *rangeValue:
		if n := k.len(); n == 0 {
			return tupleHash("range0")
		} else if n == 1 {
			return tupleHash("range1," + strconv.FormatInt(k.start, 10))
		}
		return tupleHash("range" + strconv.FormatInt(k.len(), 10) + "," + strconv.FormatInt(k.start, 10) + "," + strconv.FormatInt(k.step, 10))
	case *List, *Dict, *setValue:
		raiseType("unhashable type: '%s'", typeName(key))
	case *dictView:
		if k.kind != viewValues {
			raiseType("unhashable type: '%s'", typeName(key))
		}
	}
	return objectHash{key}
}

func hashTuple(fr *vframe, b *strings.Builder, t Tuple, depth int) {
	if depth > 100 {
		raiseLimit("tuple nested too deep to hash")
	}
	b.WriteByte('(')
	for _, v := range t {
		if fr != nil {
			fr.work(1 + b.Len()>>12)
		}
		switch h := hashKey(fr, v).(type) {
		case string:
			b.WriteByte('s')
			b.WriteString(strconv.Itoa(len(h)))
			b.WriteByte(':')
			b.WriteString(h)
		case int64:
			b.WriteByte('i')
			b.WriteString(strconv.FormatInt(h, 10))
		case float64:
			b.WriteByte('f')
			b.WriteString(strconv.FormatUint(math.Float64bits(h), 16))
		case bigHash:
			b.WriteByte('x')
			b.WriteString(string(h))
		case tupleHash:
			b.WriteByte('t')
			b.WriteString(strconv.Itoa(len(h)))
			b.WriteByte(':')
			b.WriteString(string(h))
		case undefHash:
			b.WriteByte('u')
			b.WriteByte('0' + byte(h))
		case objectHash:
			b.WriteByte('o')
			b.WriteString(objectAddress(h.ptr))
		}
		b.WriteByte(',')
	}
	b.WriteByte(')')
}

type viewKind int

const (
	viewKeys viewKind = iota
	viewValues
	viewItems
)

func (k viewKind) typeName() string {
	return [...]string{"dict_keys", "dict_values", "dict_items"}[k]
}

// dictView is what keys(), values() and items() return: it follows its dict.
type dictView struct {
	d    *Dict
	kind viewKind
}

func (v *dictView) at(i int) any {
	e := &v.d.ents[i]
	switch v.kind {
	case viewKeys:
		return e.key
	case viewValues:
		return e.val
	}
	return Tuple{e.key, e.val}
}
