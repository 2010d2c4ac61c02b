package method

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// wideCodec is an encoding with units of two or four bytes.
type wideCodec struct {
	size  int
	order binary.ByteOrder
	// mark reports that text begins with a byte order mark, which decides the order when
	// decoding.
	mark bool
}

// wideCodecs are the encodings by their usual name.
var wideCodecs = map[string]wideCodec{
	"utf-16":    {2, binary.LittleEndian, true},
	"utf-16-le": {2, binary.LittleEndian, false},
	"utf-16-be": {2, binary.BigEndian, false},
	"utf-32":    {4, binary.LittleEndian, true},
	"utf-32-le": {4, binary.LittleEndian, false},
	"utf-32-be": {4, binary.BigEndian, false},
}

// wideAliases are further names of the encodings.
var wideAliases = map[string]string{
	"utf16": "utf-16", "u16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
	"utf32": "utf-32", "u32": "utf-32", "utf-32le": "utf-32-le", "utf-32be": "utf-32-be",
}

// wideNamed finds an encoding by its name in lower case with dashes.
func wideNamed(name string) (wideCodec, bool) {
	if other, ok := wideAliases[name]; ok {
		name = other
	}
	c, ok := wideCodecs[name]
	return c, ok
}

func (c wideCodec) put(out []byte, unit uint32) []byte {
	n := len(out)
	out = append(out, 0, 0, 0, 0)[:n+c.size]
	if c.size == 2 {
		c.order.PutUint16(out[n:], uint16(unit))
	} else {
		c.order.PutUint32(out[n:], unit)
	}
	return out
}

func (c wideCodec) get(b string) uint32 {
	if c.size == 2 {
		return uint32(c.order.Uint16([]byte(b[:2])))
	}
	return c.order.Uint32([]byte(b[:4]))
}

func (c wideCodec) encode(s string) value.Bytes {
	out := make([]byte, 0, c.size*(len(s)+1))
	if c.mark {
		out = c.put(out, 0xfeff)
	}
	for _, r := range s {
		if high, low := utf16.EncodeRune(r); c.size == 2 && high != utf8.RuneError {
			out = c.put(c.put(out, uint32(high)), uint32(low))
			continue
		}
		out = c.put(out, uint32(r))
	}
	return value.Bytes(out)
}

// decode decodes bytes; name and errors are the arguments of bytes.decode.
func (c wideCodec) decode(b, name, errors string) string {
	if c.mark && len(b) >= c.size {
		big := c
		big.order = binary.BigEndian
		switch {
		case c.get(b) == 0xfeff:
			b = b[c.size:]
		case big.get(b) == 0xfeff:
			c, b = big, b[c.size:]
		}
	}
	var out strings.Builder
	for len(b) > 0 {
		size := min(c.size, len(b))
		r := rune(utf8.RuneError)
		bad := size < c.size
		if !bad {
			unit := c.get(b)
			r, bad = rune(unit), unit > utf8.MaxRune || unit >= 0xd800 && unit < 0xe000
			if c.size == 2 && bad && len(b) >= 4 {
				if full := utf16.DecodeRune(r, rune(c.get(b[2:]))); full != utf8.RuneError {
					r, size, bad = full, 4, false
				}
			}
		}
		switch {
		case !bad:
			out.WriteRune(r)
		case errors == "ignore":
		case errors == "replace":
			out.WriteRune(utf8.RuneError)
		default:
			raise.Named("UnicodeError", "'%s' codec can't decode bytes", name)
		}
		b = b[size:]
	}
	return out.String()
}

// encode is str.encode, for common encodings.
func encode(fr *value.Frame, s string, encoding, errors any) any {
	name := "utf-8"
	if encoding != value.Missing {
		name = strings.ToLower(value.StrArg(encoding, "encode() argument 'encoding'"))
	}
	if errors != value.Missing {
		value.StrArg(errors, "encode() argument 'errors'")
	}
	fr.Alloc(len(s))
	limit := rune(0)
	switch strings.ReplaceAll(name, "_", "-") {
	case "utf-8", "utf8", "u8":
		return value.Bytes(s)
	case "ascii", "us-ascii":
		limit = 0x80
	case "latin-1", "latin1", "iso-8859-1", "iso8859-1":
		limit = 0x100
	default:
		if c, ok := wideNamed(strings.ReplaceAll(name, "_", "-")); ok {
			fr.Alloc(4 * len(s))
			return c.encode(s)
		}
		raise.Named("LookupError", "unknown encoding: %s", name)
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
			raise.Named("UnicodeError", "'%s' codec can't encode character", name)
		}
	}
	return value.Bytes(out)
}

// decode is bytes.decode, for common encodings.
func decode(fr *value.Frame, recv any, a []any) any {
	b := recv.(value.Bytes)
	name, errors := "utf-8", "strict"
	if a[0] != value.Missing {
		name = strings.ToLower(value.StrArg(a[0], "decode() argument 'encoding'"))
	}
	if a[1] != value.Missing {
		errors = value.StrArg(a[1], "decode() argument 'errors'")
	}
	fr.Alloc(3 * len(b))
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
		raise.Named("LookupError", "unknown encoding: %s", name)
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
			raise.Named("UnicodeError", "'%s' codec can't decode byte 0x%02x in position %d", name, b[i], i)
		}
		i += size
	}
	return out.String()
}

var encodeSpec = &value.Callable{Name: "encode", Params: []string{"encoding", "errors"}}
