package jinja

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// wideCodec is one of Python's encodings with two or four bytes per unit.
type wideCodec struct {
	size  int
	order binary.ByteOrder
	// mark says that the text begins with a byte order mark, which decides when decoding.
	mark bool
}

// wideCodecs are those encodings by their normal name.
var wideCodecs = map[string]wideCodec{
	"utf-16":    {2, binary.LittleEndian, true},
	"utf-16-le": {2, binary.LittleEndian, false},
	"utf-16-be": {2, binary.BigEndian, false},
	"utf-32":    {4, binary.LittleEndian, true},
	"utf-32-le": {4, binary.LittleEndian, false},
	"utf-32-be": {4, binary.BigEndian, false},
}

// wideAliases are other names that Python has for them.
var wideAliases = map[string]string{
	"utf16": "utf-16", "u16": "utf-16", "utf-16le": "utf-16-le", "utf-16be": "utf-16-be",
	"utf32": "utf-32", "u32": "utf-32", "utf-32le": "utf-32-le", "utf-32be": "utf-32-be",
}

// wideNamed finds an encoding by a lower-case name with dashes.
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

func (c wideCodec) encode(s string) bytesValue {
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
	return bytesValue(out)
}

// decode turns bytes into text; name and errors are as in bytes.decode.
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
			raiseKind(KindRuntime, "UnicodeError", "'%s' codec can't decode bytes", name)
		}
		b = b[size:]
	}
	return out.String()
}
