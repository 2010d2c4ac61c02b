package jinja

import (
	"fmt"
	"math/big"
	"strings"
	"unicode/utf8"
)

// The methods of bytes are those of text, confined to ASCII. So bytes are given
// to them as text in which every byte that means something to a str but nothing
// to bytes stands as a character of a private range, which is no letter, no space,
// no digit and no line break.

// byteRune is where that range begins.
const byteRune = 0xf700

// foreign says which bytes a str would see more in than bytes do.
func foreign(c byte) bool { return c >= 0x80 || c >= 0x1c && c <= 0x1f }

func bytesText(b bytesValue) string {
	var s strings.Builder
	for i := range len(b) {
		if foreign(b[i]) {
			s.WriteRune(byteRune + rune(b[i]))
		} else {
			s.WriteByte(b[i])
		}
	}
	return s.String()
}

func textBytes(s string) bytesValue {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= byteRune {
			r -= byteRune
		}
		b = append(b, byte(r))
	}
	return bytesValue(b)
}

// asTexts turns bytes in arguments to text; plain text is an error there.
func asTexts(v any) any {
	switch v := v.(type) {
	case bytesValue:
		return bytesText(v)
	case string, Markup:
		raiseType("a bytes-like object is required, not '%s'", typeName(v))
	case Tuple:
		out := make(Tuple, len(v))
		for i := range v {
			out[i] = asTexts(v[i])
		}
		return out
	}
	return v
}

// asBytes turns the texts of a result to bytes.
func asBytes(v any) any {
	switch v := v.(type) {
	case string:
		return textBytes(v)
	case *List:
		for i := range v.Items {
			v.Items[i] = asBytes(v.Items[i])
		}
	case Tuple:
		for i := range v {
			v[i] = asBytes(v[i])
		}
	}
	return v
}

// addBytesMethods fills the table of bytes from that of str, which must be complete.
func addBytesMethods() {
	// With numbers, a number as the first argument stands for a byte.
	lend := func(numbers bool, names ...string) {
		for _, name := range names {
			plain := strMethods[name]
			m := *plain
			m.owner = ""
			m.run = func(fr *vframe, recv any, a []any) any {
				fr.alloc(3 * len(recv.(bytesValue)))
				args := make([]any, len(a))
				for i, v := range a {
					args[i] = asTexts(v)
				}
				if n, large, ok := asInt(args[0]); numbers && ok {
					if large != nil || n < 0 || n > 255 {
						raiseValue("byte must be in range(0, 256)")
					}
					args[0] = bytesText(bytesValue([]byte{byte(n)}))
				}
				return asBytes(plain.run(fr, bytesText(recv.(bytesValue)), args))
			}
			bytesMethods[name] = &m
		}
	}
	lend(true, "count", "find", "index", "rfind", "rindex")
	lend(false, "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "strip", "lstrip", "rstrip",
		"replace", "center", "ljust", "rjust", "split", "rsplit", "expandtabs", "zfill")
	for _, name := range []string{
		"capitalize", "lower", "upper", "swapcase", "title",
		"isalnum", "isalpha", "isascii", "isdigit", "islower", "isspace", "istitle", "isupper",
	} {
		plain := strMethods[name].run
		bytesMethods.add(name, "/", func(fr *vframe, recv any, _ []any) any {
			fr.alloc(3 * len(recv.(bytesValue)))
			return asBytes(plain(fr, bytesText(recv.(bytesValue)), nil))
		})
	}
	bytesMethods.add("splitlines", "keepends=False", func(fr *vframe, recv any, a []any) any {
		fr.alloc(32 * len(recv.(bytesValue)))
		s := strings.NewReplacer("\v", string(rune(byteRune+'\v')), "\f", string(rune(byteRune+'\f'))).Replace(bytesText(recv.(bytesValue)))
		return asBytes(listOf(splitLines(s, a[0] != missing && truthInt(a[0]))))
	})
	bytesMethods.add("join", "/iterable", func(fr *vframe, recv any, a []any) any {
		items := collect(fr, a[0])
		parts := make([]string, len(items))
		for i, v := range items {
			b, ok := v.(bytesValue)
			if !ok {
				raiseType("sequence item %d: expected a bytes-like object, %s found", i, typeName(v))
			}
			parts[i] = string(b)
		}
		return bytesValue(joinStrings(fr, parts, string(recv.(bytesValue))))
	})
	bytesMethods.add("decode", "encoding='utf-8' errors='strict'", decode)
	bytesMethods.add("hex", "sep=None bytes_per_sep=1", bytesHex)
	bytesMethods.add("fromhex", "/string", func(fr *vframe, _ any, a []any) any {
		s := strArg(a[0], "fromhex() argument")
		fr.alloc(len(s))
		return fromHex(s)
	})
	bytesMethods.add("maketrans", "/frm to", func(fr *vframe, _ any, a []any) any {
		from, to := bytesArg(a[0]), bytesArg(a[1])
		if len(from) != len(to) {
			raiseValue("maketrans arguments must have same length")
		}
		table := make([]byte, 256)
		for i := range table {
			table[i] = byte(i)
		}
		for i := range len(from) {
			table[from[i]] = to[i]
		}
		return bytesValue(table)
	})
	translateMethod := methodTable{}
	translateMethod.add("translate", "table delete=b''", func(fr *vframe, recv any, a []any) any {
		b := recv.(bytesValue)
		fr.alloc(len(b))
		drop := bytesValue("")
		if a[1] != missing {
			drop = bytesArg(a[1])
		}
		table := bytesValue("")
		if a[0] != nil {
			if table = bytesArg(a[0]); len(table) != 256 {
				raiseValue("translation table must be 256 characters long")
			}
		}
		out := make([]byte, 0, len(b))
		for i := range len(b) {
			if strings.IndexByte(string(drop), b[i]) >= 0 {
				continue
			}
			if table != "" {
				out = append(out, table[b[i]])
			} else {
				out = append(out, b[i])
			}
		}
		return bytesValue(out)
	})
	bytesMethods["translate"] = translateMethod["translate"]
}

func bytesArg(v any) bytesValue {
	b, ok := v.(bytesValue)
	if !ok {
		raiseType("a bytes-like object is required, not '%s'", typeName(v))
	}
	return b
}

// decode is bytes.decode for the encodings that templates may want.
func decode(fr *vframe, recv any, a []any) any {
	b := recv.(bytesValue)
	name, errors := "utf-8", "strict"
	if a[0] != missing {
		name = strings.ToLower(strArg(a[0], "decode() argument 'encoding'"))
	}
	if a[1] != missing {
		errors = strArg(a[1], "decode() argument 'errors'")
	}
	fr.alloc(3 * len(b))
	limit := 0
	switch strings.ReplaceAll(name, "_", "-") {
	case "utf-8", "utf8", "u8":
	case "ascii", "us-ascii":
		limit = 0x80
	case "latin-1", "latin1", "iso-8859-1", "iso8859-1":
		limit = 0x100
	default:
		if c, ok := wideNamed(strings.ReplaceAll(name, "_", "-")); ok {
			return c.decode(string(b), name, errors)
		}
		raiseKind(KindRuntime, "LookupError", "unknown encoding: %s", name)
	}
	var out strings.Builder
	for i := 0; i < len(b); {
		r, size := rune(b[i]), 1
		bad := int(b[i]) >= limit
		if limit == 0 {
			r, size = utf8.DecodeRuneInString(string(b[i:min(len(b), i+4)]))
			bad = r == utf8.RuneError && size == 1
		}
		switch {
		case !bad:
			out.WriteRune(r)
		case errors == "ignore":
		case errors == "replace":
			out.WriteRune(utf8.RuneError)
		default:
			raiseKind(KindRuntime, "UnicodeError", "'%s' codec can't decode byte 0x%02x in position %d", name, b[i], i)
		}
		i += size
	}
	return out.String()
}

func bytesHex(fr *vframe, recv any, a []any) any {
	b := recv.(bytesValue)
	fr.alloc(3 * len(b))
	digits := fmt.Sprintf("%x", string(b))
	if a[0] == missing {
		return digits
	}
	sep, ok := asStr(a[0])
	if s, isBytes := a[0].(bytesValue); isBytes {
		sep, ok = string(s), true
	}
	if !ok {
		raiseType("sep must be str or bytes.")
	}
	if len(sep) != 1 {
		raiseValue("sep must be length 1.")
	}
	every := intOr(a[1], 1)
	if every == 0 {
		return digits
	}
	// A positive number counts from the right, a negative one from the left.
	first := 2 * every
	if every > 0 {
		if first = len(digits) % (2 * every); first == 0 {
			first = 2 * every
		}
	} else {
		every, first = -every, -first
	}
	var parts []string
	for n := first; digits != ""; n = 2 * every {
		n = min(n, len(digits))
		parts = append(parts, digits[:n])
		digits = digits[n:]
	}
	return strings.Join(parts, sep)
}

func fromHex(s string) any {
	var out []byte
	for s = strings.TrimLeft(s, " \t\n\r\v\f"); s != ""; s = strings.TrimLeft(s, " \t\n\r\v\f") {
		var c byte
		for i := range 2 {
			d := -1
			if i < len(s) {
				d = strings.IndexByte("0123456789abcdef", s[i]|0x20)
			}
			if d < 0 || s[i] < '0' {
				raiseValue("non-hexadecimal number found in fromhex() arg")
			}
			c = c<<4 | byte(d)
		}
		out = append(out, c)
		s = s[2:]
	}
	return bytesValue(out)
}

// byteOrder reads the arguments that to_bytes and from_bytes share.
func byteOrder(v any) (little bool) {
	order := "big"
	if v != missing {
		order = strArg(v, "byteorder")
	}
	if order != "big" && order != "little" {
		raiseValue("byteorder must be either 'little' or 'big'")
	}
	return order == "little"
}

var (
	toBytesSpec   = &callable{name: "to_bytes", params: []string{"length", "byteorder", "signed"}}
	fromBytesSpec = &callable{name: "from_bytes", params: []string{"bytes", "byteorder", "signed"}, req: 1}
)

func intToBytes(fr *vframe, recv any, args []any, kw []kwArg) any {
	if len(args) > 2 {
		raiseType("to_bytes() takes at most 2 positional arguments (%d given)", len(args))
	}
	a := bind(toBytesSpec, args, kw)
	n, signed := intOr(a[0], 1), a[2] != missing && truth(a[2])
	little := byteOrder(a[1])
	if n < 0 {
		raiseValue("length argument must be non-negative")
	}
	small, large, _ := asInt(recv)
	x := toBig(small, large)
	if x.Sign() < 0 && !signed {
		raiseKind(KindRuntime, "OverflowError", "can't convert negative int to unsigned")
	}
	fr.alloc(n)
	bits := x.BitLen()
	if signed {
		if bits++; x.Sign() < 0 && x.TrailingZeroBits() == uint(bits-2) {
			bits-- // -128 fits a byte
		}
	}
	if (bits+7)/8 > n {
		raiseKind(KindRuntime, "OverflowError", "int too big to convert")
	}
	if x.Sign() < 0 {
		x = new(big.Int).Add(x, new(big.Int).Lsh(big.NewInt(1), uint(8*n)))
	}
	out := x.FillBytes(make([]byte, n))
	if little {
		reverseBytes(out)
	}
	return bytesValue(out)
}

func reverseBytes(b []byte) {
	for i, j := 0, len(b)-1; i < j; i, j = i+1, j-1 {
		b[i], b[j] = b[j], b[i]
	}
}

func intFromBytes(fr *vframe, recv any, args []any, kw []kwArg) any {
	if len(args) > 2 {
		raiseType("from_bytes() takes at most 2 positional arguments (%d given)", len(args))
	}
	a := bind(fromBytesSpec, args, kw)
	little := byteOrder(a[1])
	var b []byte
	switch v := a[0].(type) {
	case bytesValue:
		b = []byte(v)
	case string, Markup:
		raiseType("cannot convert 'str' object to bytes")
	default:
		if iterableOf(fr, v) == nil {
			raiseType("cannot convert '%s' object to bytes", typeName(v))
		}
		for _, item := range collect(fr, v) {
			n := intArg(item)
			if n < 0 || n > 255 {
				raiseValue("bytes must be in range(0, 256)")
			}
			b = append(b, byte(n))
		}
	}
	if len(b) > maxIntBits/8 {
		raiseLimit("integer of more than %d bits", maxIntBits)
	}
	fr.alloc(2 * len(b))
	if little {
		b = append([]byte(nil), b...)
		reverseBytes(b)
	}
	x := new(big.Int).SetBytes(b)
	if a[2] != missing && truth(a[2]) && len(b) > 0 && b[0] >= 0x80 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if _, isBool := recv.(bool); isBool {
		return x.Sign() != 0
	}
	return normBig(x)
}
