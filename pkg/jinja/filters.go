package jinja

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var builtinFilters = map[string]*callable{}

func addFilter(name, params string, fn func(fr *frame, a []any) any) *callable {
	f := spec("do_"+name, params, fn)
	builtinFilters[name] = f
	return f
}

// opt is an optional argument.
func opt(v, otherwise any) any {
	if v == missing {
		return otherwise
	}
	return v
}

func optTrue(v any, otherwise bool) bool {
	if v == missing {
		return otherwise
	}
	return truth(v)
}

func init() {
	textFilters()
	numberFilters()
	sequenceFilters()
	orderFilters()
	mapFilters()
	markupFilters()
}

func textFilters() {
	soft := func(name string, f func(string) string) {
		addFilter(name, "s", func(fr *frame, a []any) any {
			v := softStr(fr, a[0])
			s, _ := asStr(v)
			fr.st.alloc(len(s))
			return like(v, f(s))
		})
	}
	soft("upper", upper)
	soft("lower", lower)
	soft("capitalize", capitalize)
	addFilter("title", "s", func(fr *frame, a []any) any {
		s, _ := asStr(softStr(fr, a[0]))
		fr.st.alloc(len(s))
		return titleFilter(s)
	})
	addFilter("trim", "value chars=None", func(fr *frame, a []any) any {
		v := softStr(fr, a[0])
		s, _ := asStr(v)
		if _, ok := v.(Markup); ok {
			if c, ok := a[1].(string); ok {
				a[1] = escapeString(c)
			}
		}
		return like(v, stripChars(s, a[1], true, true))
	})
	addFilter("center", "value width=80", func(fr *frame, a []any) any {
		v := softStr(fr, a[0])
		s, _ := asStr(v)
		return like(v, padText(fr, s, intArg(opt(a[1], int64(80))), " ", '^'))
	})
	addFilter("replace", "s old new count=None", replaceFilter)
	addFilter("indent", "s width=4 first=False blank=False", indentFilter)
	addFilter("truncate", "s length=255 killwords=False end='...' leeway=None", truncateFilter)
	addFilter("wordwrap", "s width=79 break_long_words=True wrapstring=None break_on_hyphens=True", wordwrapFilter)
	addFilter("wordcount", "s", func(fr *frame, a []any) any {
		s, _ := asStr(softStr(fr, a[0]))
		return int64(len(strings.FieldsFunc(s, func(r rune) bool { return !isRegexWord(r) })))
	})
	f := &callable{name: "do_format", pure: true, raw: formatFilter}
	builtinFilters["format"] = f
	addFilter("string", "s", func(fr *frame, a []any) any { return softStr(fr, a[0]) }).posOnly = true
	addFilter("pprint", "value", func(fr *frame, a []any) any { return pformat(fr, a[0]) })
	addFilter("urlencode", "value", urlencode)
	addFilter("tojson", "value indent=None", tojson)
	addFilter("default", "value default_value='' boolean=False", func(fr *frame, a []any) any {
		if IsUndefined(a[0]) || optTrue(a[2], false) && !truth(a[0]) {
			return opt(a[1], "")
		}
		return a[0]
	})
	builtinFilters["d"] = builtinFilters["default"]
	addFilter("attr", "obj name", func(fr *frame, a []any) any {
		name, ok := asStr(a[1])
		if !ok {
			raiseType("attribute name must be string, not '%s'", typeName(a[1]))
		}
		if unsafeAttr(a[0], name) {
			return unsafeUndefined(fr, a[0], name)
		}
		if _, ok := attribute(fr, a[0], name); !ok {
			return noElement(fr, a[0], name)
		}
		return getattr(fr, a[0], name)
	})
	builtinFilters["attr"].pure = true
}

// isRegexWord is \w of Python's regular expressions.
func isRegexWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return unicode.In(r, unicode.L, unicode.N)
}

// titleFilter upper-cases the first letter after white space and some brackets.
func titleFilter(s string) string {
	first := true
	item := 0
	return mapRunes(s, func(b *strings.Builder, i int, r rune) {
		sep := isSpace(r) || strings.ContainsRune("-({[<", r)
		if sep {
			first = true
			b.WriteRune(r)
			return
		}
		if first {
			item = i + utf8.RuneLen(r)
			writeUpper(b, r)
		} else {
			writeLower(b, s[item:], i-item, r)
		}
		first = false
	})
}

func replaceFilter(fr *frame, a []any) any {
	count := -1
	if a[3] != missing && a[3] != nil {
		count = -2
	}
	limit := func() int {
		if count == -2 {
			return intArg(a[3])
		}
		return -1
	}
	if !fr.ctx.escape.autoescape {
		return replace(fr, str(fr, a[0]), str(fr, a[1]), str(fr, a[2]), limit())
	}
	var s any
	if hasHTML(a[1]) || hasHTML(a[2]) && !hasHTML(a[0]) {
		s = escape(fr, a[0])
	} else {
		s = softStr(fr, a[0])
	}
	old, to := softStr(fr, a[1]), softStr(fr, a[2])
	if m, ok := s.(Markup); ok {
		return Markup(replace(fr, string(m), string(escape(fr, old)), string(escape(fr, to)), limit()))
	}
	x, _ := asStr(old)
	y, _ := asStr(to)
	return replace(fr, s.(string), x, y, limit())
}

func indentFilter(fr *frame, a []any) any {
	width := opt(a[1], int64(4))
	indent, ok := asStr(width)
	if !ok {
		v, isNum := repeat(fr, " ", width)
		if !isNum {
			checkUndefined(width, nil)
			raiseType("can't multiply sequence by non-int of type '%s'", typeName(width))
		}
		indent = v.(string)
	}
	_, markup := a[0].(Markup)
	if markup {
		if _, safe := width.(Markup); !safe {
			_ = indent
		}
	}
	s, isText := asStr(a[0])
	if !isText {
		checkUndefined(a[0], nil)
		add(fr, a[0], "\n")
		raiseType("'%s' object has no attribute 'splitlines'", typeName(a[0]))
	}
	lines := splitLines(s+"\n", false)
	fr.st.alloc(len(s))
	fr.st.allocN(len(lines), len(indent)+1)
	var b strings.Builder
	if optTrue(a[2], false) {
		b.WriteString(indent)
	}
	for i, line := range lines {
		if i > 0 {
			b.WriteByte('\n')
			if line != "" || optTrue(a[3], false) {
				b.WriteString(indent)
			}
		}
		b.WriteString(line)
	}
	return like(a[0], b.String())
}

func truncateFilter(fr *frame, a []any) any {
	length, end := opt(a[1], int64(255)), opt(a[3], "...")
	leeway := opt(a[4], nil)
	if leeway == nil {
		leeway = int64(5)
	}
	endLen := lengthOf(fr, end)
	if !order(fr, length, endLen, ">=") {
		raiseKind(KindRuntime, "AssertionError", "expected length >= %d, got %s", endLen, str(fr, length))
	}
	if !order(fr, leeway, int64(0), ">=") {
		raiseKind(KindRuntime, "AssertionError", "expected leeway >= 0, got %s", str(fr, leeway))
	}
	if order(fr, lengthOf(fr, a[0]), add(fr, length, leeway), "<=") {
		return a[0]
	}
	cut := slicing(fr, a[0], &sliceValue{nil, subtract(fr, length, endLen), nil})
	if optTrue(a[2], false) {
		return add(fr, cut, end)
	}
	s, ok := asStr(cut)
	if !ok {
		raiseType("'%s' object has no attribute 'rsplit'", typeName(cut))
	}
	if i := strings.LastIndexByte(s, ' '); i >= 0 {
		s = s[:i]
	}
	return add(fr, like(cut, s), end)
}

func lengthOf(fr *frame, v any) int64 { return length(fr, v) }

func formatFilter(fr *frame, args []any, kw []kwArg) any {
	if len(args) == 0 {
		raiseType("do_format() missing 1 required positional argument: 'value'")
	}
	if len(args) > 1 && len(kw) > 0 {
		raiseFilterArg("can't handle positional and keyword arguments at the same time")
	}
	v := softStr(fr, args[0])
	if len(kw) > 0 {
		d := newDict(len(kw))
		for _, k := range kw {
			d.setStr(k.name, k.val)
		}
		return modulo(fr, v, d)
	}
	return modulo(fr, v, Tuple(args[1:]))
}

func numberFilters() {
	builtinFilters["abs"] = positional("abs", "x", func(fr *frame, a []any) any {
		if f, ok := a[0].(float64); ok {
			return math.Abs(f)
		}
		x, large, ok := asInt(a[0])
		if !ok {
			raiseType("bad operand type for abs(): '%s'", typeName(a[0]))
		}
		if large != nil || x == math.MinInt64 {
			return normBig(new(big.Int).Abs(toBig(x, large)))
		}
		return abs64(x)
	})
	addFilter("int", "value default=0 base=10", func(fr *frame, a []any) any {
		var v any
		if fr.st.try(func() {
			if s, ok := asStr(a[0]); ok {
				base, large, isInt := asInt(opt(a[2], int64(10)))
				if !isInt {
					raiseType("'%s' object cannot be interpreted as an integer", typeName(a[2]))
				}
				if large != nil {
					raiseValue("int() base must be >= 2 and <= 36, or 0")
				}
				v = parseInt(s, int(base))
				return
			}
			v = toInt(a[0])
		}, "TypeError", "ValueError") == nil {
			return v
		}
		if fr.st.try(func() { v = normBig(toBigInt(toFloat(a[0]))) }, "TypeError", "ValueError") == nil {
			return v
		}
		return opt(a[1], int64(0))
	})
	addFilter("float", "value default=0.0", func(fr *frame, a []any) any {
		var v any
		if fr.st.try(func() { v = toFloat(a[0]) }, "TypeError", "ValueError") == nil {
			return v
		}
		return opt(a[1], 0.0)
	})
	addFilter("round", "value precision=0 method='common'", roundFilter)
	addFilter("filesizeformat", "value binary=False", fileSize)
}

// toInt is int(v) for what is not text.
func toInt(v any) any {
	if x, large, ok := asInt(v); ok {
		return normBig(toBig(x, large))
	}
	switch v := v.(type) {
	case float64:
		return normBig(toBigInt(v))
	case *Undefined:
		v.fail()
	}
	raiseType("int() argument must be a string, a bytes-like object or a real number, not '%s'", typeName(v))
	return nil
}

// toFloat is float(v).
func toFloat(v any) float64 {
	if f, ok := asFloat(v); ok {
		return f
	}
	if s, ok := asStr(v); ok {
		t := strings.ToLower(asciiDigits(strings.TrimFunc(s, isSpace)))
		bad := strings.HasPrefix(t, "_") || strings.HasSuffix(t, "_") || strings.Contains(t, "__") || strings.ContainsAny(t, "xp")
		for i := 1; i+1 < len(t) && !bad; i++ {
			bad = t[i] == '_' && (t[i-1] < '0' || t[i-1] > '9' || t[i+1] < '0' || t[i+1] > '9')
		}
		f, err := strconv.ParseFloat(strings.ReplaceAll(t, "_", ""), 64)
		if ne, ok := err.(*strconv.NumError); ok && ne.Err == strconv.ErrRange {
			err = nil
		}
		if bad || err != nil {
			raiseValue("could not convert string to float: %s", repr(s))
		}
		return f
	}
	if u, ok := v.(*Undefined); ok {
		u.fail()
	}
	raiseType("float() argument must be a string or a real number, not '%s'", typeName(v))
	return 0
}

func roundFilter(fr *frame, a []any) any {
	method := opt(a[2], "common")
	hashKey(method)
	m, _ := asStr(method)
	if m != "common" && m != "ceil" && m != "floor" {
		raiseFilterArg("method must be common, ceil or floor")
	}
	precision := opt(a[1], int64(0))
	if m == "common" {
		return roundNumber(a[0], precision)
	}
	scale := power(fr, int64(10), precision)
	scaled := multiply(fr, a[0], scale)
	var whole any
	if f, ok := scaled.(float64); ok {
		if m == "ceil" {
			f = math.Ceil(f)
		} else {
			f = math.Floor(f)
		}
		whole = normBig(toBigInt(f))
	} else if _, _, ok := asInt(scaled); ok {
		whole = scaled
	} else {
		raiseType("must be real number, not %s", typeName(scaled))
	}
	return divide(fr, whole, power(fr, int64(10), precision))
}

// roundNumber is round(v, n).
func roundNumber(v, n any) any {
	if !isNumber(v) {
		if u, ok := v.(*Undefined); ok {
			raiseType("type %s doesn't define __round__ method", typeName(u))
		}
		raiseType("type %s doesn't define __round__ method", typeName(v))
	}
	f, isF := v.(float64)
	if n == nil {
		if isF {
			return normBig(toBigInt(math.RoundToEven(f)))
		}
		return positive(nil, v)
	}
	digits, large, ok := asInt(n)
	if !ok {
		raiseType("'%s' object cannot be interpreted as an integer", typeName(n))
	}
	if !isF {
		x, b, _ := asInt(v)
		if large != nil {
			if large.Sign() > 0 {
				return v
			}
			raiseLimit("round() to more digits than there can be")
		}
		return roundInt(toBig(x, b), digits, positive(nil, v))
	}
	switch {
	case large != nil:
		raiseKind(KindRuntime, "OverflowError", "Python int too large to convert to C ssize_t")
	case math.IsNaN(f) || math.IsInf(f, 0) || f == 0:
		return f
	case digits > 400:
		return f
	case digits < -400:
		return math.Copysign(0, f)
	case digits >= 0:
		r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', int(digits), 64), 64)
		if err != nil {
			raiseKind(KindRuntime, "OverflowError", "rounded value too large to represent")
		}
		return r
	}
	return roundTens(f, -digits)
}

// roundTens rounds a float to a multiple of a power of ten, exactly, halves to even.
func roundTens(f float64, n int64) any {
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(n), nil)
	q := new(big.Rat).Quo(new(big.Rat).SetFloat64(f), new(big.Rat).SetInt(unit))
	whole := roundRat(q)
	r, _ := new(big.Rat).SetInt(whole.Mul(whole, unit)).Float64()
	if math.IsInf(r, 0) {
		raiseKind(KindRuntime, "OverflowError", "rounded value too large to represent")
	}
	if r == 0 {
		return math.Copysign(0, f)
	}
	return r
}

// roundRat rounds to an integer, halves to even.
func roundRat(q *big.Rat) *big.Int {
	two := big.NewInt(2)
	// floor(q + 1/2), less one where q + 1/2 was odd and exact.
	sum := new(big.Rat).Add(q, big.NewRat(1, 2))
	whole, rem := new(big.Int).DivMod(sum.Num(), sum.Denom(), new(big.Int))
	if rem.Sign() == 0 && new(big.Int).Mod(whole, two).Sign() != 0 {
		whole.Sub(whole, big.NewInt(1))
	}
	return whole
}

func roundInt(x *big.Int, digits int64, same any) any {
	if digits >= 0 {
		return same
	}
	if -digits > int64(x.BitLen())+2 {
		return int64(0)
	}
	unit := new(big.Int).Exp(big.NewInt(10), big.NewInt(-digits), nil)
	whole := roundRat(new(big.Rat).SetFrac(x, unit))
	return normBig(whole.Mul(whole, unit))
}

func fileSize(fr *frame, a []any) any {
	n := toFloat(a[0])
	base, units := 1000.0, []string{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"}
	if optTrue(a[1], false) {
		base, units = 1024, []string{"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"}
	}
	switch {
	case n == 1:
		return "1 Byte"
	case n < base:
		return str(fr, normBig(toBigInt(n))) + " Bytes"
	}
	unit := base
	for i, name := range units {
		unit *= base
		if n < unit || i == len(units)-1 {
			return formatFloat(fr, base*n/unit, formatSpec{fill: " ", precision: 1, typ: 'f'}, "float") + " " + name
		}
	}
	return nil
}

func sequenceFilters() {
	length := positional("len", "obj", func(fr *frame, a []any) any { return length(fr, a[0]) })
	builtinFilters["length"] = length
	builtinFilters["count"] = length
	addFilter("first", "seq", func(fr *frame, a []any) any {
		if v, ok := iterate(fr, a[0]).next(fr); ok {
			return v
		}
		return &Undefined{hint: "No first item, sequence was empty.", mode: fr.fn.tmpl.env.cfg.Undefined}
	})
	addFilter("last", "seq", func(fr *frame, a []any) any {
		if v, ok := reversed(fr, a[0]).next(fr); ok {
			return v
		}
		return &Undefined{hint: "No last item, sequence was empty.", mode: fr.fn.tmpl.env.cfg.Undefined}
	})
	impure(addFilter("random", "seq", func(fr *frame, a []any) any {
		n := lengthOf(fr, a[0])
		if n == 0 {
			return &Undefined{hint: "No random item, sequence was empty.", mode: fr.fn.tmpl.env.cfg.Undefined}
		}
		return subscript(fr, a[0], rand.Int64N(n))
	}))
	addFilter("list", "value", func(fr *frame, a []any) any { return &List{Items: collect(fr, a[0])} })
	addFilter("join", "value d='' attribute=None", joinFilter)
	addFilter("reverse", "value", func(fr *frame, a []any) any {
		if s, ok := asStr(a[0]); ok {
			r := []rune(s)
			slices.Reverse(r)
			fr.st.alloc(len(s))
			return like(a[0], string(r))
		}
		if it := reversedOf(fr, a[0]); it != nil {
			return it
		}
		if iterableOf(fr, a[0]) == nil {
			raiseFilterArg("argument must be iterable")
		}
		items := collect(fr, a[0])
		slices.Reverse(items)
		return &List{Items: items}
	})
	addFilter("items", "value", func(fr *frame, a []any) any {
		value := a[0]
		var it iterator
		return newGenerator("do_items", func() (any, bool) {
			if it == nil {
				switch d := value.(type) {
				case *Undefined:
					it = &sliceIter{}
				case *Dict:
					it = iterate(fr, &dictView{d, viewItems})
				default:
					raiseType("Can only get item pairs from a mapping.")
				}
			}
			return it.next(fr)
		})
	})
	addFilter("slice", "value slices fill_with=None", sliceFilter)
	addFilter("batch", "value linecount fill_with=None", batchFilter)
	addFilter("sum", "iterable attribute=None start=0", func(fr *frame, a []any) any {
		total := opt(a[2], int64(0))
		if _, ok := asStr(total); ok {
			raiseType("sum() can't sum strings [use ''.join(seq) instead]")
		}
		if _, ok := total.(bytesValue); ok {
			raiseType("sum() can't sum bytes [use b''.join(seq) instead]")
		}
		get := attrGetter(fr, opt(a[1], nil), nil, false)
		it := iterate(fr, a[0])
		for {
			v, ok := it.next(fr)
			if !ok {
				return total
			}
			fr.st.step()
			total = add(fr, total, get(v))
		}
	})
}

// reversedOf is reversed(v), or nil for what cannot be.
func reversedOf(fr *frame, v any) *iterObj {
	backwards := func(typeName string, n func() int, at func(i int) any) *iterObj {
		i := n() - 1
		return &iterObj{typeName: typeName, fn: func() (any, bool) {
			if i >= n() {
				i = -1
			}
			if i < 0 {
				return nil, false
			}
			i--
			return at(i + 1), true
		}}
	}
	switch o := v.(type) {
	case *List:
		return backwards("list_reverseiterator", func() int { return len(o.Items) }, func(i int) any { return o.Items[i] })
	case Tuple:
		return backwards("reversed", func() int { return len(o) }, func(i int) any { return o[i] })
	case *groupTuple:
		return reversedOf(fr, o.tuple())
	case string, Markup:
		s, _ := asStr(v)
		r := []rune(s)
		fr.st.allocN(len(r), 4)
		return backwards("reversed", func() int { return len(r) }, func(i int) any { return like(v, string(r[i])) })
	case *rangeValue:
		return backwards("range_iterator", func() int { return int(o.len()) }, func(i int) any { return o.at(int64(i)) })
	case *Dict:
		return reversedOf(fr, &dictView{o, viewKeys})
	case *dictView:
		items := collect(fr, o)
		name := [...]string{"dict_reversekeyiterator", "dict_reversevalueiterator", "dict_reverseitemiterator"}[o.kind]
		return backwards(name, func() int { return len(items) }, func(i int) any { return items[i] })
	case bytesValue:
		return backwards("reversed", func() int { return len(o) }, func(i int) any { return int64(o[i]) })
	case *Undefined:
		// It has a length and items, as far as reversed() looks.
		if o.mode == Strict {
			o.fail()
		}
		return backwards("reversed", func() int { return 0 }, nil)
	}
	return nil
}

func reversed(fr *frame, v any) iterator {
	it := reversedOf(fr, v)
	if it == nil {
		raiseType("'%s' object is not reversible", typeName(v))
	}
	return it
}

func joinFilter(fr *frame, a []any) any {
	var items []any
	if l, ok := a[0].(*List); ok && (a[2] == missing || a[2] == nil) {
		items = l.Items
	} else {
		items = collect(fr, a[0])
	}
	if a[2] != missing && a[2] != nil {
		get := attrGetter(fr, a[2], nil, false)
		for i := range items {
			items[i] = get(items[i])
		}
	}
	sep := opt(a[1], "")
	parts := make([]string, len(items))
	if !fr.ctx.escape.autoescape {
		for i, v := range items {
			parts[i] = str(fr, v)
		}
		return joinStrings(fr, parts, str(fr, sep))
	}
	markup := hasHTML(sep)
	for _, v := range items {
		markup = markup || hasHTML(v)
	}
	for i, v := range items {
		if markup {
			parts[i] = string(escape(fr, softStr(fr, v)))
		} else {
			parts[i] = str(fr, v)
		}
	}
	if markup {
		return Markup(joinStrings(fr, parts, string(escape(fr, sep))))
	}
	return joinStrings(fr, parts, str(fr, sep))
}

func sliceFilter(fr *frame, a []any) any {
	var seq []any
	started := false
	var n, per, extra, number, offset int64
	fill := opt(a[2], nil)
	return newGenerator("sync_do_slice", func() (any, bool) {
		if !started {
			started = true
			seq = collect(fr, a[0])
			size := int64(len(seq))
			if !isNumber(a[1]) {
				floorDivide(fr, size, a[1])
			}
			if isFloat(a[1]) {
				floorDivide(fr, size, a[1])
				raiseType("'float' object cannot be interpreted as an integer")
			}
			per, _, _ = asInt(floorDivide(fr, size, a[1]))
			extra, _, _ = asInt(modulo(fr, size, a[1]))
			n = int64(intArg(a[1]))
		}
		if number >= n {
			return nil, false
		}
		fr.st.step()
		start := offset + number*per
		if number < extra {
			offset++
		}
		end := offset + (number+1)*per
		part := slicing(fr, &List{Items: seq}, &sliceValue{start, end, nil}).(*List)
		if fill != nil && number >= extra {
			part.Items = append(part.Items, fill)
		}
		number++
		return part, true
	})
}

func batchFilter(fr *frame, a []any) any {
	var it iterator
	fill := opt(a[2], nil)
	done := false
	var pending any
	havePending := false
	return newGenerator("do_batch", func() (any, bool) {
		if it == nil {
			it = iterate(fr, a[0])
		}
		if done {
			return nil, false
		}
		var row []any
		if havePending {
			row = append(row, pending)
			havePending = false
		}
		for {
			v, ok := it.next(fr)
			if !ok {
				done = true
				if len(row) == 0 {
					return nil, false
				}
				if fill != nil && order(fr, int64(len(row)), a[1], "<") {
					missingItems := intArg(subtract(fr, a[1], int64(len(row))))
					fr.st.allocN(missingItems, 16)
					for range missingItems {
						row = append(row, fill)
					}
				}
				return &List{Items: row}, true
			}
			fr.st.step()
			fr.st.alloc(16)
			if equal(fr, int64(len(row)), a[1]) {
				pending, havePending = v, true
				return &List{Items: row}, true
			}
			row = append(row, v)
		}
	})
}
