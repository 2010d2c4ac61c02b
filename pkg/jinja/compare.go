package jinja

import (
	"math"
	"math/big"
	"strings"
)

// same is Python's `is`, as far as values here have an identity.
func same(a, b any) bool {
	switch x := a.(type) {
	case Tuple:
		y, ok := b.(Tuple)
		return ok && len(x) == len(y) && (len(x) == 0 || &x[0] == &y[0])
	case nil:
		return b == nil
	case float64:
		y, ok := b.(float64)
		return ok && math.Float64bits(x) == math.Float64bits(y)
	}
	if _, ok := b.(Tuple); ok {
		return false
	}
	return a == b
}

// equal is a == b.
func equal(fr *vframe, a, b any) bool {
	if u, ok := a.(*Undefined); ok {
		return undefinedEqual(u, b)
	}
	if u, ok := b.(*Undefined); ok {
		return undefinedEqual(u, a)
	}
	switch x := a.(type) {
	case string:
		y, ok := asStr(b)
		if !ok || len(x) != len(y) {
			return false
		}
		fr.scan(len(x))
		return x == y
	case Markup:
		return equal(fr, string(x), b)
	case nil:
		return b == nil
	case int64, bool, float64, *big.Int:
		if !isNumber(b) {
			return false
		}
		fr.scanNumbers(a, b)
		return compareNumbers(a, b) == 0
	case *List:
		y, ok := b.(*List)
		return ok && (x == y || equalItems(fr, x.Items, y.Items))
	case Tuple:
		y, ok := asTuple(b)
		return ok && equalItems(fr, x, y)
	case *groupTuple:
		return equal(fr, x.tuple(), b)
	case *Dict:
		y, ok := b.(*Dict)
		return ok && (x == y || equalDicts(fr, x, y))
	case *rangeValue:
		y, ok := b.(*rangeValue)
		return ok && hashKey(fr, x) == hashKey(fr, y)
	case bytesValue:
		y, ok := b.(bytesValue)
		fr.scan(len(x))
		return ok && x == y
	case *dictView, *setValue:
		if isSet(a) && isSet(b) {
			return orderSets(fr, a, b, "==")
		}
	case object:
		if c := x.Class(); c.equal != nil {
			return c.equal(x, fr, b)
		}
	}
	return same(a, b)
}

func undefinedEqual(u *Undefined, other any) bool {
	if u.mode == Strict {
		raiseUndefined(u)
	}
	o, ok := other.(*Undefined)
	if ok && o.mode == Strict {
		raiseUndefined(o)
	}
	return ok && o.mode == u.mode
}

func equalItems(fr *vframe, x, y []any) bool {
	if len(x) != len(y) {
		return false
	}
	fr.enter()
	defer fr.leave()
	fr.work(len(x))
	for i := range x {
		if !same(x[i], y[i]) && !equal(fr, x[i], y[i]) {
			return false
		}
	}
	return true
}

func equalDicts(fr *vframe, x, y *Dict) bool {
	if x.n != y.n {
		return false
	}
	fr.enter()
	defer fr.leave()
	fr.work(len(x.ents))
	for i := range x.ents {
		e := &x.ents[i]
		if !e.live {
			continue
		}
		j := y.find(e.hash)
		if j < 0 || !same(e.val, y.ents[j].val) && !equal(fr, e.val, y.ents[j].val) {
			return false
		}
	}
	return true
}

// compareNumbers compares exactly, even an integer with a float; NaN compares as 2.
func compareNumbers(a, b any) int {
	x, bx, intA := asInt(a)
	y, by, intB := asInt(b)
	switch {
	case intA && intB:
		if bx == nil && by == nil {
			return cmp64(x, y)
		}
		return toBig(x, bx).Cmp(toBig(y, by))
	case intA:
		return -compareFloatInt(b.(float64), toBig(x, bx))
	case intB:
		return compareFloatInt(a.(float64), toBig(y, by))
	}
	f, g := a.(float64), b.(float64)
	switch {
	case f < g:
		return -1
	case f > g:
		return 1
	case f == g:
		return 0
	}
	return notComparable
}

// notComparable is the order of NaN and anything; it is its own negative in effect.
const notComparable = 2

func cmp64(x, y int64) int {
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

func compareFloatInt(f float64, i *big.Int) int {
	switch {
	case math.IsNaN(f):
		return notComparable
	case math.IsInf(f, 1):
		return 1
	case math.IsInf(f, -1):
		return -1
	}
	return new(big.Float).SetPrec(2000).SetFloat64(f).Cmp(new(big.Float).SetPrec(uint(max(2000, i.BitLen()))).SetInt(i))
}

// scanNumbers counts the work of comparing integers that are large.
func (fr *vframe) scanNumbers(a, b any) {
	for _, v := range [2]any{a, b} {
		if x, ok := v.(*big.Int); ok {
			fr.scan(x.BitLen())
		}
	}
}

// order is a op b for one of < <= > >=.
func order(fr *vframe, a, b any, op string) bool {
	checkUndefined(a, b)
	var c int
	switch x := a.(type) {
	case int64, bool, float64, *big.Int:
		if !isNumber(b) {
			notOrdered(a, b, op)
		}
		fr.scanNumbers(a, b)
		if c = compareNumbers(a, b); c != -1 && c != 0 && c != 1 {
			return false
		}
	case string, Markup:
		s, _ := asStr(a)
		t, ok := asStr(b)
		if !ok {
			notOrdered(a, b, op)
		}
		fr.scan(min(len(s), len(t)))
		c = strings.Compare(s, t)
	case *List:
		y, ok := b.(*List)
		if !ok {
			notOrdered(a, b, op)
		}
		return orderItems(fr, x.Items, y.Items, op)
	case Tuple:
		y, ok := asTuple(b)
		if !ok {
			notOrdered(a, b, op)
		}
		return orderItems(fr, x, y, op)
	case *groupTuple:
		return order(fr, x.tuple(), b, op)
	case bytesValue:
		y, ok := b.(bytesValue)
		if !ok {
			notOrdered(a, b, op)
		}
		c = strings.Compare(string(x), string(y))
	case *dictView, *setValue:
		if !isSet(a) || !isSet(b) {
			notOrdered(a, b, op)
		}
		return orderSets(fr, a, b, op)
	default:
		notOrdered(a, b, op)
	}
	return ordered(c, op)
}

func ordered(c int, op string) bool {
	switch op {
	case "<":
		return c < 0
	case "<=":
		return c <= 0
	case ">":
		return c > 0
	}
	return c >= 0
}

func notOrdered(a, b any, op string) {
	raiseType("'%s' not supported between instances of '%s' and '%s'", op, typeName(a), typeName(b))
}

func orderItems(fr *vframe, x, y []any, op string) bool {
	fr.enter()
	defer fr.leave()
	fr.work(min(len(x), len(y)))
	for i := range min(len(x), len(y)) {
		if same(x[i], y[i]) || equal(fr, x[i], y[i]) {
			continue
		}
		return order(fr, x[i], y[i], op)
	}
	return ordered(cmp64(int64(len(x)), int64(len(y))), op)
}

// contains is item in container.
func contains(fr *vframe, container, item any) bool {
	switch c := container.(type) {
	case string, Markup:
		s, _ := asStr(container)
		t, ok := asStr(item)
		if !ok {
			raiseType("'in <string>' requires string as left operand, not %s", typeName(item))
		}
		fr.scan(len(s) + len(t))
		return strings.Contains(s, t)
	case *List:
		return containsItem(fr, c.Items, item)
	case Tuple:
		return containsItem(fr, c, item)
	case *Dict:
		return c.find(hashKey(fr, item)) >= 0
	case *setValue:
		return c.d.find(hashKey(fr, item)) >= 0
	case *dictView:
		switch c.kind {
		case viewKeys:
			return c.d.find(hashKey(fr, item)) >= 0
		case viewItems:
			t, ok := asTuple(item)
			if !ok || len(t) != 2 {
				return false
			}
			v, ok := c.d.get(fr, t[0])
			return ok && (same(v, t[1]) || equal(fr, v, t[1]))
		}
	case *rangeValue:
		if x, large, ok := asInt(item); ok {
			if large != nil {
				return false
			}
			n := c.len()
			return n > 0 && (x-c.start)%c.step == 0 && (x-c.start)/c.step >= 0 && (x-c.start)/c.step < n
		}
	case *Undefined:
		if c.mode == Strict {
			raiseUndefined(c)
		}
		return false
	case bytesValue:
		fr.scan(len(c))
		if x, _, ok := asInt(item); ok {
			return strings.IndexByte(string(c), byte(x)) >= 0
		}
		if s, ok := item.(bytesValue); ok {
			return strings.Contains(string(c), string(s))
		}
		raiseType("a bytes-like object is required, not '%s'", typeName(item))
	}
	it := iterableOf(fr, container)
	if it == nil {
		raiseType("argument of type '%s' is not iterable", typeName(container))
	}
	for {
		v, ok := it.next(fr)
		if !ok {
			return false
		}
		fr.step()
		if same(v, item) || equal(fr, v, item) {
			return true
		}
	}
}

func containsItem(fr *vframe, list []any, item any) bool {
	fr.work(len(list))
	for _, v := range list {
		if same(v, item) || equal(fr, v, item) {
			return true
		}
	}
	return false
}
