package method

import (
	"fmt"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// bytes has the methods of str, limited to ASCII. They are called with a string in which
// each byte that str treats differently, such as white space beyond ASCII, is replaced by a
// character of a private range: not a letter, white space, digit or line break.

// privateBase is the start of that range.
const privateBase = 0xf700

// differsInStr reports whether str treats the character of a byte differently.
func differsInStr(c byte) bool { return c >= 0x80 || c >= 0x1c && c <= 0x1f }

// bytesText returns the string that represents bytes.
func bytesText(b value.Bytes) string {
	var s strings.Builder
	for i := range len(b) {
		if differsInStr(b[i]) {
			s.WriteRune(privateBase + rune(b[i]))
		} else {
			s.WriteByte(b[i])
		}
	}
	return s.String()
}

// textBytes returns the bytes that a string represents.
func textBytes(s string) value.Bytes {
	b := make([]byte, 0, len(s))
	for _, r := range s {
		if r >= privateBase {
			r -= privateBase
		}
		b = append(b, byte(r))
	}
	return value.Bytes(b)
}

// asTexts replaces bytes in arguments by strings. Strings there are an error.
func asTexts(v any) any {
	switch v := v.(type) {
	case value.Bytes:
		return bytesText(v)
	case string, value.Markup:
		raise.Type("a bytes-like object is required, not '%s'", value.TypeName(v))
	case value.Tuple:
		out := make(value.Tuple, len(v))
		for i := range v {
			out[i] = asTexts(v[i])
		}
		return out
	}
	return v
}

// asBytes replaces the strings of a result by bytes.
func asBytes(v any) any {
	switch v := v.(type) {
	case string:
		return textBytes(v)
	case *value.List:
		for i := range v.Items {
			v.Items[i] = asBytes(v.Items[i])
		}
	case value.Tuple:
		for i := range v {
			v[i] = asBytes(v[i])
		}
	}
	return v
}

// addBytesMethods adds the methods of bytes. It needs the complete methods of str.
func addBytesMethods() {
	lendStrMethods(true, "count", "find", "index", "rfind", "rindex")
	lendStrMethods(false, "startswith", "endswith", "removeprefix", "removesuffix", "partition", "rpartition", "strip",
		"lstrip", "rstrip", "replace", "center", "ljust", "rjust", "split", "rsplit", "expandtabs", "zfill")
	for _, name := range []string{
		"capitalize", "lower", "upper", "swapcase", "title",
		"isalnum", "isalpha", "isascii", "isdigit", "islower", "isspace", "istitle", "isupper",
	} {
		plain := strMethods[name].run
		bytesMethods.Add(name, "/", func(fr *value.Frame, recv any, _ []any) any {
			fr.Alloc(3 * len(recv.(value.Bytes)))
			return asBytes(plain(fr, bytesText(recv.(value.Bytes)), nil))
		})
	}
	bytesMethods.Add("splitlines", "keepends=False", bytesSplitLines)
	bytesMethods.Add("join", "/iterable", bytesJoin)
	bytesMethods.Add("decode", "encoding='utf-8' errors='strict'", decode)
	bytesMethods.Add("hex", "sep=None bytes_per_sep=1", bytesHex)
	bytesMethods.Add("fromhex", "/string", func(fr *value.Frame, _ any, a []any) any {
		s := value.StrArg(a[0], "fromhex() argument")
		fr.Alloc(len(s))
		return fromHex(s)
	})
	bytesMethods.Add("maketrans", "/frm to", bytesMakeTrans)
	bytesMethods.Add("translate", "table delete=b''", bytesTranslate)
}

// lendStrMethods makes methods of str methods of bytes. With numbers, the first argument may
// be the number of a byte.
func lendStrMethods(numbers bool, names ...string) {
	for _, name := range names {
		plain := strMethods[name]
		m := *plain
		m.owner = ""
		m.run = func(fr *value.Frame, recv any, a []any) any {
			fr.Alloc(3 * len(recv.(value.Bytes)))
			args := make([]any, len(a))
			for i, v := range a {
				args[i] = asTexts(v)
			}
			if n, large, ok := value.AsInt(args[0]); numbers && ok {
				if large != nil || n < 0 || n > 255 {
					raise.Value("byte must be in range(0, 256)")
				}
				args[0] = bytesText(value.Bytes([]byte{byte(n)}))
			}
			return asBytes(plain.run(fr, bytesText(recv.(value.Bytes)), args))
		}
		bytesMethods[name] = &m
	}
}

func bytesSplitLines(fr *value.Frame, recv any, a []any) any {
	fr.Alloc(32 * len(recv.(value.Bytes)))
	s := strings.NewReplacer("\v", string(rune(privateBase+'\v')), "\f",
		string(rune(privateBase+'\f'))).Replace(bytesText(recv.(value.Bytes)))
	return asBytes(listOf(pystr.SplitLines(s, a[0] != value.Missing && value.BoolArg(a[0]))))
}

func bytesJoin(fr *value.Frame, recv any, a []any) any {
	items := value.Collect(fr, a[0])
	parts := make([]string, len(items))
	for i, v := range items {
		b, ok := v.(value.Bytes)
		if !ok {
			raise.Type("sequence item %d: expected a bytes-like object, %s found", i, value.TypeName(v))
		}
		parts[i] = string(b)
	}
	return value.Bytes(value.JoinStrings(fr, parts, string(recv.(value.Bytes))))
}

func bytesMakeTrans(_ *value.Frame, _ any, a []any) any {
	from, to := bytesArg(a[0]), bytesArg(a[1])
	if len(from) != len(to) {
		raise.Value("maketrans arguments must have same length")
	}
	table := make([]byte, 256)
	for i := range table {
		table[i] = byte(i)
	}
	for i := range len(from) {
		table[from[i]] = to[i]
	}
	return value.Bytes(table)
}

func bytesTranslate(fr *value.Frame, recv any, a []any) any {
	b := recv.(value.Bytes)
	fr.Alloc(len(b))
	drop := value.Bytes("")
	if a[1] != value.Missing {
		drop = bytesArg(a[1])
	}
	table := value.Bytes("")
	if a[0] != nil {
		if table = bytesArg(a[0]); len(table) != 256 {
			raise.Value("translation table must be 256 characters long")
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
	return value.Bytes(out)
}

func bytesArg(v any) value.Bytes {
	b, ok := v.(value.Bytes)
	if !ok {
		raise.Type("a bytes-like object is required, not '%s'", value.TypeName(v))
	}
	return b
}

func bytesHex(fr *value.Frame, recv any, a []any) any {
	b := recv.(value.Bytes)
	fr.Alloc(3 * len(b))
	digits := fmt.Sprintf("%x", string(b))
	if a[0] == value.Missing {
		return digits
	}
	sep, ok := value.AsStr(a[0])
	if s, isBytes := a[0].(value.Bytes); isBytes {
		sep, ok = string(s), true
	}
	if !ok {
		raise.Type("sep must be str or bytes.")
	}
	if len(sep) != 1 {
		raise.Value("sep must be length 1.")
	}
	groupSize := value.IntOr(a[1], 1)
	if groupSize == 0 {
		return digits
	}
	// A positive number groups from the right, a negative one from the left.
	first := 2 * groupSize
	if groupSize > 0 {
		if first = len(digits) % (2 * groupSize); first == 0 {
			first = 2 * groupSize
		}
	} else {
		groupSize, first = -groupSize, -first
	}
	var parts []string
	for n := first; digits != ""; n = 2 * groupSize {
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
				raise.Value("non-hexadecimal number found in fromhex() arg")
			}
			c = c<<4 | byte(d)
		}
		out = append(out, c)
		s = s[2:]
	}
	return value.Bytes(out)
}
