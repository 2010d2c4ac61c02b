package value

import (
	"math"
	"math/big"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Identical is `a is b`, as far as values have an identity here.
func Identical(a, b any) bool {
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

// Equal is a == b.
func Equal(fr *Frame, a, b any) bool {
	if u, ok := a.(*Undefined); ok {
		return undefinedEqual(fr, u, b)
	}
	if u, ok := b.(*Undefined); ok {
		return undefinedEqual(fr, u, a)
	}
	switch x := a.(type) {
	case string:
		y, ok := AsStr(b)
		if !ok || len(x) != len(y) {
			return false
		}
		fr.Scan(len(x))
		return x == y
	case Markup:
		return Equal(fr, string(x), b)
	case nil:
		return b == nil
	case int64, bool, float64, *big.Int:
		if !IsNumber(b) {
			return false
		}
		fr.scanNumbers(a, b)
		return compareNumbers(a, b) == 0
	case *List:
		y, ok := b.(*List)
		return ok && (x == y || equalItems(fr, x.Items, y.Items))
	case Tuple:
		y, ok := AsTuple(b)
		return ok && equalItems(fr, x, y)
	case *GroupTuple:
		return Equal(fr, x.Tuple(), b)
	case *Dict:
		y, ok := b.(*Dict)
		return ok && (x == y || equalDicts(fr, x, y))
	case *Range:
		y, ok := b.(*Range)
		return ok && HashKey(fr, x) == HashKey(fr, y)
	case Bytes:
		y, ok := b.(Bytes)
		fr.Scan(len(x))
		return ok && x == y
	case *DictView, *Set:
		if isSet(a) && isSet(b) {
			return orderSets(fr, a, b, "==")
		}
	case Object:
		if c := x.Class(); c.Equal != nil {
			return c.Equal(x, fr, b)
		}
	}
	return Identical(a, b)
}

func undefinedEqual(fr *Frame, u *Undefined, other any) bool {
	if u.mode == Strict {
		RaiseUndefined(u)
	}
	o, ok := other.(*Undefined)
	if ok && o.mode == Strict {
		RaiseUndefined(o)
	}
	fr.UseUndefined(u)
	fr.UseUndefined(other)
	return ok && o.mode == u.mode
}

func equalItems(fr *Frame, x, y []any) bool {
	if len(x) != len(y) {
		return false
	}
	fr.enter()
	defer fr.leave()
	fr.Work(len(x))
	for i := range x {
		if !Identical(x[i], y[i]) && !Equal(fr, x[i], y[i]) {
			return false
		}
	}
	return true
}

func equalDicts(fr *Frame, x, y *Dict) bool {
	if x.n != y.n {
		return false
	}
	fr.enter()
	defer fr.leave()
	fr.Work(len(x.entries))
	for i := range x.entries {
		e := &x.entries[i]
		if !e.live {
			continue
		}
		j := y.index(e.hash)
		if j < 0 || !Identical(e.val, y.entries[j].val) && !Equal(fr, e.val, y.entries[j].val) {
			return false
		}
	}
	return true
}

// compareNumbers compares exactly, also an integer with a float. NaN is notComparable.
func compareNumbers(a, b any) int {
	x, bx, intA := AsInt(a)
	y, by, intB := AsInt(b)
	switch {
	case intA && intB:
		if bx == nil && by == nil {
			return cmp64(x, y)
		}
		return ToBig(x, bx).Cmp(ToBig(y, by))
	case intA:
		return -compareFloatInt(b.(float64), ToBig(x, bx))
	case intB:
		return compareFloatInt(a.(float64), ToBig(y, by))
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

// notComparable is the result of comparing NaN with anything. Negated it is still
// neither -1, 0 nor 1.
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

// scanNumbers counts the work of comparing large integers.
func (fr *Frame) scanNumbers(a, b any) {
	for _, v := range [2]any{a, b} {
		if x, ok := v.(*big.Int); ok {
			fr.Scan(x.BitLen())
		}
	}
}

// Compare is `a op b` for one of < <= > >=.
func Compare(fr *Frame, a, b any, op string) bool {
	CheckUndefined(a, b)
	var c int
	switch x := a.(type) {
	case int64, bool, float64, *big.Int:
		if !IsNumber(b) {
			notOrdered(a, b, op)
		}
		fr.scanNumbers(a, b)
		if c = compareNumbers(a, b); c != -1 && c != 0 && c != 1 {
			return false
		}
	case string, Markup:
		s, _ := AsStr(a)
		t, ok := AsStr(b)
		if !ok {
			notOrdered(a, b, op)
		}
		fr.Scan(min(len(s), len(t)))
		c = strings.Compare(s, t)
	case *List:
		y, ok := b.(*List)
		if !ok {
			notOrdered(a, b, op)
		}
		return orderItems(fr, x.Items, y.Items, op)
	case Tuple:
		y, ok := AsTuple(b)
		if !ok {
			notOrdered(a, b, op)
		}
		return orderItems(fr, x, y, op)
	case *GroupTuple:
		return Compare(fr, x.Tuple(), b, op)
	case Bytes:
		y, ok := b.(Bytes)
		if !ok {
			notOrdered(a, b, op)
		}
		c = strings.Compare(string(x), string(y))
	case *DictView, *Set:
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
	raise.Type("'%s' not supported between instances of '%s' and '%s'", op, TypeName(a), TypeName(b))
}

func orderItems(fr *Frame, x, y []any, op string) bool {
	fr.enter()
	defer fr.leave()
	fr.Work(min(len(x), len(y)))
	for i := range min(len(x), len(y)) {
		if Identical(x[i], y[i]) || Equal(fr, x[i], y[i]) {
			continue
		}
		return Compare(fr, x[i], y[i], op)
	}
	return ordered(cmp64(int64(len(x)), int64(len(y))), op)
}

// Contains is `item in container`.
func Contains(fr *Frame, container, item any) bool {
	switch c := container.(type) {
	case string, Markup:
		s, _ := AsStr(container)
		t, ok := AsStr(item)
		if !ok {
			raise.Type("'in <string>' requires string as left operand, not %s", TypeName(item))
		}
		fr.Scan(len(s) + len(t))
		return strings.Contains(s, t)
	case *List:
		return containsItem(fr, c.Items, item)
	case Tuple:
		return containsItem(fr, c, item)
	case *Dict:
		return c.index(HashKey(fr, item)) >= 0
	case *Set:
		return c.Members.index(HashKey(fr, item)) >= 0
	case *DictView:
		switch c.Kind {
		case ViewKeys:
			return c.Dict.index(HashKey(fr, item)) >= 0
		case ViewItems:
			t, ok := AsTuple(item)
			if !ok || len(t) != 2 {
				return false
			}
			v, ok := c.Dict.Lookup(fr, t[0])
			return ok && (Identical(v, t[1]) || Equal(fr, v, t[1]))
		}
	case *Range:
		if x, large, ok := AsInt(item); ok {
			if large != nil {
				return false
			}
			n := c.Len()
			return n > 0 && (x-c.Start)%c.Step == 0 && (x-c.Start)/c.Step >= 0 && (x-c.Start)/c.Step < n
		}
	case *Undefined:
		if c.mode == Strict {
			RaiseUndefined(c)
		}
		fr.UseUndefined(c)
		return false
	case Bytes:
		fr.Scan(len(c))
		if x, _, ok := AsInt(item); ok {
			return strings.IndexByte(string(c), byte(x)) >= 0
		}
		if s, ok := item.(Bytes); ok {
			return strings.Contains(string(c), string(s))
		}
		raise.Type("a bytes-like object is required, not '%s'", TypeName(item))
	}
	it := IteratorOf(fr, container)
	if it == nil {
		raise.Type("argument of type '%s' is not iterable", TypeName(container))
	}
	for {
		v, ok := it.Next(fr)
		if !ok {
			return false
		}
		fr.Step()
		if Identical(v, item) || Equal(fr, v, item) {
			return true
		}
	}
}

func containsItem(fr *Frame, list []any, item any) bool {
	fr.Work(len(list))
	for _, v := range list {
		if Identical(v, item) || Equal(fr, v, item) {
			return true
		}
	}
	return false
}
