package jinja

import (
	"fmt"
	"html"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

var (
	listMethods  = methodTable{}
	dictMethods  = methodTable{}
	tupleMethods = methodTable{}
	intMethods   = methodTable{}
	floatMethods = methodTable{}
	rangeMethods = methodTable{}
	bytesMethods = methodTable{}
	setMethods   = methodTable{}
	viewMethods  = methodTable{}
)

func init() {
	listMutators()
	listQueries()
	dictAccess()
	dictMutators()
	numberMethods()
	otherMethods()
}

func listMutators() {
	m := listMethods
	m.add("append", "/object", func(fr *vframe, recv any, a []any) any {
		l := recv.(*List)
		fr.alloc(32)
		l.Items = append(l.Items, a[0])
		return nil
	})
	m.add("extend", "/iterable", func(fr *vframe, recv any, a []any) any {
		l := recv.(*List)
		l.Items = append(l.Items, collect(fr, a[0])...)
		return nil
	})
	m.add("insert", "/index object", func(fr *vframe, recv any, a []any) any {
		l := recv.(*List)
		i := intArg(a[0])
		if i < 0 {
			i = max(0, i+len(l.Items))
		}
		i = min(i, len(l.Items))
		fr.alloc(32)
		fr.work(len(l.Items) - i)
		l.Items = slices.Insert(l.Items, i, a[1])
		return nil
	})
	m.add("pop", "/index=-1", func(fr *vframe, recv any, a []any) any {
		l := recv.(*List)
		i := intOr(a[0], -1)
		if len(l.Items) == 0 {
			raiseKind(KindRuntime, "IndexError", "pop from empty list")
		}
		if i < 0 {
			i += len(l.Items)
		}
		if i < 0 || i >= len(l.Items) {
			raiseKind(KindRuntime, "IndexError", "pop index out of range")
		}
		v := l.Items[i]
		fr.work(len(l.Items) - i)
		l.Items = slices.Delete(l.Items, i, i+1)
		return v
	})
	m.add("remove", "/value", func(fr *vframe, recv any, a []any) any {
		l := recv.(*List)
		fr.work(len(l.Items) >> 3)
		for i, v := range l.Items {
			if same(v, a[0]) || equal(fr, v, a[0]) {
				l.Items = slices.Delete(l.Items, i, i+1)
				return nil
			}
		}
		raiseValue("list.remove(x): x not in list")
		return nil
	})
	m.add("clear", "/", func(fr *vframe, recv any, _ []any) any {
		recv.(*List).Items = nil
		return nil
	})
	m.add("reverse", "/", func(fr *vframe, recv any, _ []any) any {
		fr.work(len(recv.(*List).Items) >> 3)
		slices.Reverse(recv.(*List).Items)
		return nil
	})
	m.addRaw("sort", func(fr *vframe, recv any, args []any, kw []kwArg) any {
		if len(args) > 0 {
			raiseType("sort() takes no positional arguments")
		}
		a := bind(sortSpec, nil, kw)
		l := recv.(*List)
		var key func(any) any
		if a[0] != missing && a[0] != nil {
			key = func(v any) any { return callValue(fr, a[0], []any{v}, nil, false, false) }
		}
		items := l.Items
		l.Items = nil
		sorted := sortItems(fr, items, key, a[1] != missing && truthInt(a[1]))
		l.Items = sorted
		return nil
	})
}

var sortSpec = &callable{name: "sort", params: []string{"key", "reverse"}}

// truthInt is the truth of an argument that Python wants as an integer.
func truthInt(v any) bool { return intArg(v) != 0 }

func listQueries() {
	index := func(items func(v any) []any, name string) func(fr *vframe, recv any, a []any) any {
		return func(fr *vframe, recv any, a []any) any {
			list := items(recv)
			var b sliceValue
			if a[1] != missing {
				b[0] = a[1]
			}
			if a[2] != missing {
				b[1] = a[2]
			}
			if b[0] == nil && a[1] != missing || b[1] == nil && a[2] != missing {
				raiseType("slice indices must be integers or have an __index__ method")
			}
			start, _, _, count := sliceIndices(&b, int64(len(list)))
			fr.work(int(count))
			for i := start; i < start+count; i++ {
				if same(list[i], a[0]) || equal(fr, list[i], a[0]) {
					return i
				}
			}
			raiseValue("%s is not in %s", repr(a[0]), name)
			return nil
		}
	}
	count := func(items func(v any) []any) func(fr *vframe, recv any, a []any) any {
		return func(fr *vframe, recv any, a []any) any {
			n := int64(0)
			fr.work(len(items(recv)))
			for _, v := range items(recv) {
				if same(v, a[0]) || equal(fr, v, a[0]) {
					n++
				}
			}
			return n
		}
	}
	ofList := func(v any) []any { return v.(*List).Items }
	ofTuple := func(v any) []any { t, _ := asTuple(v); return t }
	listMethods.add("index", "/value start=0 stop=None", index(ofList, "list"))
	listMethods.add("count", "/value", count(ofList))
	listMethods.add("copy", "/", func(fr *vframe, recv any, _ []any) any { return &List{Items: collect(fr, recv)} })
	tupleMethods.add("index", "/value start=0 stop=None", index(ofTuple, "tuple"))
	tupleMethods.add("count", "/value", count(ofTuple))
}

func dictAccess() {
	m := dictMethods
	for kind, name := range []string{"keys", "values", "items"} {
		m.add(name, "/", func(fr *vframe, recv any, _ []any) any { return &dictView{recv.(*Dict), viewKind(kind)} })
	}
	m.add("get", "/key default=None", func(fr *vframe, recv any, a []any) any {
		if v, ok := recv.(*Dict).get(fr, a[0]); ok {
			return v
		}
		if a[1] == missing {
			return nil
		}
		return a[1]
	})
	m.add("copy", "/", func(fr *vframe, recv any, _ []any) any {
		fr.allocN(recv.(*Dict).Len(), 64)
		return recv.(*Dict).copy()
	})
	m.add("fromkeys", "/iterable value=None", func(fr *vframe, _ any, a []any) any {
		d := newDict(0)
		val := a[1]
		if val == missing {
			val = nil
		}
		for _, k := range collect(fr, a[0]) {
			fr.alloc(64)
			d.set(fr, k, val)
		}
		return d
	})
}

func dictMutators() {
	m := dictMethods
	m.add("setdefault", "/key default=None", func(fr *vframe, recv any, a []any) any {
		d := recv.(*Dict)
		if v, ok := d.get(fr, a[0]); ok {
			return v
		}
		v := a[1]
		if v == missing {
			v = nil
		}
		fr.alloc(64)
		d.set(fr, a[0], v)
		return v
	})
	m.add("pop", "/key default=None", func(fr *vframe, recv any, a []any) any {
		d := recv.(*Dict)
		if d.Len() == 0 && a[1] != missing {
			return a[1]
		}
		if v, ok := d.delete(fr, a[0]); ok {
			return v
		}
		if a[1] == missing {
			raiseKind(KindRuntime, "KeyError", "%s", repr(a[0]))
		}
		return a[1]
	})
	m.add("popitem", "/", func(fr *vframe, recv any, _ []any) any {
		if key, val, ok := recv.(*Dict).popLast(fr); ok {
			return Tuple{key, val}
		}
		raiseKind(KindRuntime, "KeyError", "'popitem(): dictionary is empty'")
		return nil
	})
	m.add("clear", "/", func(fr *vframe, recv any, _ []any) any {
		recv.(*Dict).clear()
		return nil
	})
	m.addRaw("update", func(fr *vframe, recv any, args []any, kw []kwArg) any {
		if len(args) > 1 {
			raiseType("update expected at most 1 argument, got %d", len(args))
		}
		updateDict(fr, recv.(*Dict), args, kw)
		return nil
	})
}

// updateDict is dict.update and the constructor of dict.
func updateDict(fr *vframe, d *Dict, args []any, kw []kwArg) {
	if len(args) > 0 {
		switch src := args[0].(type) {
		case *Dict:
			fr.allocN(src.Len(), 64)
			d.update(src)
		case *Undefined:
			raiseUndefined(src) // when its keys() are called
		default:
			for i, pair := range collect(fr, src) {
				if it := iterableOf(fr, pair); it == nil {
					raiseType("cannot convert dictionary update sequence element #%d to a sequence", i)
				}
				kv := collect(fr, pair)
				if len(kv) != 2 {
					raiseValue("dictionary update sequence element #%d has length %d; 2 is required", i, len(kv))
				}
				fr.alloc(64)
				d.set(fr, kv[0], kv[1])
			}
		}
	}
	for _, k := range kw {
		d.setStr(k.name, k.val)
	}
}

func newBigFrom(s string, base int) (any, bool) {
	b, ok := new(big.Int).SetString(s, base)
	if !ok {
		return nil, false
	}
	return normBig(b), true
}

func numberMethods() {
	intOf := func(v any) *big.Int {
		x, large, _ := asInt(v)
		return toBig(x, large)
	}
	m := intMethods
	m.add("bit_length", "/", func(fr *vframe, recv any, _ []any) any { return int64(intOf(recv).BitLen()) })
	m.add("bit_count", "/", func(fr *vframe, recv any, _ []any) any {
		n := int64(0)
		for _, w := range new(big.Int).Abs(intOf(recv)).Bits() {
			for ; w != 0; w &= w - 1 {
				n++
			}
		}
		return n
	})
	m.add("conjugate", "/", func(fr *vframe, recv any, _ []any) any { return positive(fr, recv) })
	m.add("as_integer_ratio", "/", func(fr *vframe, recv any, _ []any) any { return Tuple{positive(fr, recv), int64(1)} })
	m.addRaw("to_bytes", intToBytes)
	m.addRaw("from_bytes", intFromBytes)
	f := floatMethods
	f.add("fromhex", "/string", floatFromHex)
	f.add("is_integer", "/", func(fr *vframe, recv any, _ []any) any {
		x := recv.(float64)
		return x == math.Trunc(x) && !math.IsInf(x, 0)
	})
	f.add("conjugate", "/", func(fr *vframe, recv any, _ []any) any { return recv })
	f.add("hex", "/", func(fr *vframe, recv any, _ []any) any { return floatHex(recv.(float64)) })
	f.add("as_integer_ratio", "/", func(fr *vframe, recv any, _ []any) any {
		x := recv.(float64)
		if math.IsInf(x, 0) {
			raiseKind(KindRuntime, "OverflowError", "cannot convert Infinity to integer ratio")
		}
		if math.IsNaN(x) {
			raiseValue("cannot convert NaN to integer ratio")
		}
		r := new(big.Rat).SetFloat64(x)
		return Tuple{normBig(r.Num()), normBig(r.Denom())}
	})
}

func floatHex(x float64) string {
	switch {
	case math.IsNaN(x) || math.IsInf(x, 0):
		return floatRepr(x)
	case x == 0:
		if math.Signbit(x) {
			return "-0x0.0p+0"
		}
		return "0x0.0p+0"
	}
	s := strconv.FormatFloat(x, 'x', 13, 64)
	mantissa, exp, _ := strings.Cut(s, "p")
	n, _ := strconv.Atoi(exp)
	return fmt.Sprintf("%sp%+d", mantissa, n)
}

func otherMethods() {
	rangeMethods.add("index", "/value", func(fr *vframe, recv any, a []any) any {
		r := recv.(*rangeValue)
		if !contains(fr, r, a[0]) {
			raiseValue("%s is not in range", repr(a[0]))
		}
		x, _, _ := asInt(a[0])
		return (x - r.start) / r.step
	})
	rangeMethods.add("count", "/value", func(fr *vframe, recv any, a []any) any {
		if contains(fr, recv, a[0]) {
			return int64(1)
		}
		return int64(0)
	})
	viewMethods.add("isdisjoint", "/other", func(fr *vframe, recv any, a []any) any {
		for _, v := range collect(fr, a[0]) {
			if contains(fr, recv, v) {
				return false
			}
		}
		return true
	})
}

// bytesValue is Python's bytes, which templates get from str.encode.
type bytesValue string

func bytesRepr(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		q = '"'
	}
	b.WriteByte('b')
	b.WriteByte(q)
	for i := range len(s) {
		switch c := s[i]; {
		case c == q || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c < ' ' || c >= 0x7f:
			fmt.Fprintf(b, `\x%02x`, c)
		default:
			b.WriteByte(c)
		}
	}
	b.WriteByte(q)
}

// encode is str.encode for the encodings that templates may want.
func encode(fr *vframe, s string, encoding, errors any) any {
	name := "utf-8"
	if encoding != missing {
		name = strings.ToLower(strArg(encoding, "encode() argument 'encoding'"))
	}
	if errors != missing {
		strArg(errors, "encode() argument 'errors'")
	}
	fr.alloc(len(s))
	limit := rune(0)
	switch strings.ReplaceAll(name, "_", "-") {
	case "utf-8", "utf8", "u8":
		return bytesValue(s)
	case "ascii", "us-ascii":
		limit = 0x80
	case "latin-1", "latin1", "iso-8859-1", "iso8859-1":
		limit = 0x100
	default:
		if c, ok := wideNamed(strings.ReplaceAll(name, "_", "-")); ok {
			fr.alloc(4 * len(s))
			return c.encode(s)
		}
		raiseKind(KindRuntime, "LookupError", "unknown encoding: %s", name)
	}
	out := make([]byte, 0, len(s))
	for _, r := range s {
		if r < limit {
			out = append(out, byte(r))
			continue
		}
		switch errors {
		case "ignore":
		case "replace":
			out = append(out, '?')
		default:
			raiseKind(KindRuntime, "UnicodeError", "'%s' codec can't encode character", name)
		}
	}
	return bytesValue(out)
}

// unescapeHTML is html.unescape.
func unescapeHTML(s string) string { return html.UnescapeString(s) }

// stripTags is Markup.striptags: no comments, no tags, single spaces, no entities.
func stripTags(s string) string {
	s = cutBetween(cutBetween(s, "<!--", "-->"), "<", ">")
	return unescapeHTML(strings.Join(splitSpace(s, -1, false), " "))
}

// cutBetween drops every part from an opening to the next closing.
func cutBetween(s, open, end string) string {
	var b strings.Builder
	for {
		i := strings.Index(s, open)
		if i < 0 {
			break
		}
		j := strings.Index(s[i+len(open):], end)
		if j < 0 {
			break
		}
		b.WriteString(s[:i])
		s = s[i+len(open)+j+len(end):]
	}
	b.WriteString(s)
	return b.String()
}
