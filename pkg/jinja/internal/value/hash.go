package value

import (
	"math"
	"math/big"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Canonical forms of keys. The types keep those of tuples, large integers and objects
// apart from each other and from strings.
type (
	tupleHash  string
	bigHash    string
	objectHash struct{ ptr any }
	undefHash  UndefinedMode
)

// hashBig is the canonical form of an integer of more than 64 bits.
func hashBig(b *big.Int) any { return bigHash(b.Text(16)) }

// charge counts the work of reading n bytes; fr may be nil.
func charge(fr *Frame, n int) {
	if fr != nil {
		fr.Scan(n)
	}
}

// HashKey returns the canonical form of a dict key: forms compare by ==, and are equal
// for equal keys. It raises TypeError for a value that is not hashable. fr may be nil.
func HashKey(fr *Frame, key any) any {
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
			return objectHash{new(byte)} // equals nothing
		}
		return k
	case *big.Int:
		charge(fr, k.BitLen())
		return hashBig(k)
	case Tuple:
		var b strings.Builder
		hashTuple(fr, &b, k, 0)
		return tupleHash(b.String())
	case *GroupTuple:
		return HashKey(fr, Tuple{k.Grouper, k.List})
	case *Undefined:
		if k.mode == Strict {
			RaiseUndefined(k)
		}
		return undefHash(k.mode)
	case Bytes:
		charge(fr, len(k))
		return tupleHash("b" + string(k))
	case *Range:
		if n := k.Len(); n == 0 {
			return tupleHash("range0")
		} else if n == 1 {
			return tupleHash("range1," + strconv.FormatInt(k.Start, 10))
		}
		return tupleHash("range" + strconv.FormatInt(k.Len(), 10) + "," + strconv.FormatInt(k.Start, 10) + "," +
			strconv.FormatInt(k.Step, 10))
	case *List, *Dict, *Set:
		raise.Type("unhashable type: '%s'", TypeName(key))
	case *DictView:
		if k.Kind != viewValues {
			raise.Type("unhashable type: '%s'", TypeName(key))
		}
	}
	return objectHash{key}
}

func hashTuple(fr *Frame, b *strings.Builder, t Tuple, depth int) {
	if depth > 100 {
		raise.Limit("tuple nested too deep to hash")
	}
	b.WriteByte('(')
	for _, v := range t {
		if fr != nil {
			fr.Work(1 + b.Len()>>12)
		}
		switch h := HashKey(fr, v).(type) {
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
			b.WriteString(ObjectAddress(h.ptr))
		}
		b.WriteByte(',')
	}
	b.WriteByte(')')
}
