package jinja

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

func strChecks() {
	check := func(name string, f func(s string) bool) {
		addStr(name, "/", false, func(fr *vframe, s string, _ []any) any { return f(s) })
	}
	all := func(f func(r rune) bool) func(s string) bool {
		return func(s string) bool {
			for _, r := range s {
				if !f(r) {
					return false
				}
			}
			return s != ""
		}
	}
	check("isalpha", all(unicode.IsLetter))
	check("isdigit", all(isDigit))
	check("isdecimal", all(func(r rune) bool { return unicode.Is(unicode.Nd, r) }))
	check("isnumeric", all(isNumeric))
	check("isalnum", all(func(r rune) bool { return unicode.IsLetter(r) || isNumeric(r) }))
	check("isspace", all(isSpace))
	check("isascii", isASCII)
	check("islower", isLower)
	check("isupper", isUpper)
	check("istitle", isTitle)
	check("isidentifier", isIdentifierText)
	check("isprintable", func(s string) bool {
		for _, r := range s {
			if !isPrintable(r) {
				return false
			}
		}
		return true
	})
	strMethods.addRaw("encode", func(fr *vframe, recv any, args []any, kw []kwArg) any {
		s, _ := asStr(recv)
		a := bind(encodeSpec, args, kw)
		return encode(fr, s, a[0], a[1])
	})
	strMethods.add("unescape", "/", func(fr *vframe, recv any, _ []any) any {
		s, _ := asStr(recv)
		return unescapeHTML(s)
	})
	strMethods.add("striptags", "/", func(fr *vframe, recv any, _ []any) any {
		s, _ := asStr(recv)
		return stripTags(s)
	})
	strMethods.add("escape", "/s", func(fr *vframe, _ any, a []any) any { return escape(fr, a[0]) })
	for _, name := range []string{"unescape", "striptags", "escape"} {
		strMethods[name].bound = true
	}
	strMethods.add("maketrans", "/x y=None z=None", func(fr *vframe, _ any, a []any) any { return makeTrans(fr, a) })
	addStr("translate", "/table", true, translate)
}

var encodeSpec = &callable{name: "encode", params: []string{"encoding", "errors"}}

// isIdentifierText is str.isidentifier for any text.
func isIdentifierText(s string) bool {
	for _, r := range s {
		if !isWord(r) {
			return false
		}
	}
	return isIdentifier(s)
}

// isNumeric is str.isnumeric for one character.
func isNumeric(r rune) bool { return unicode.In(r, unicode.N) || strings.ContainsRune(hanNumbers, r) }

// hanNumbers are the ideographs that stand for numbers.
const hanNumbers = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零參拾兩零六陸什𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭廾"

// isDigit is str.isdigit for one character: decimals, and superscripts and the like.
func isDigit(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= '0' && r <= '9'
	}
	switch {
	case unicode.Is(unicode.Nd, r), r == 0xb2, r == 0xb3, r == 0xb9, r == 0x2070, r >= 0x2074 && r <= 0x2079,
		r >= 0x2080 && r <= 0x2089, r >= 0x2460 && r <= 0x2468, r >= 0x2474 && r <= 0x247c, r >= 0x2488 && r <= 0x2490,
		r >= 0x1369 && r <= 0x1371, r == 0x24ea, r >= 0x24f5 && r <= 0x24fd, r == 0x24ff, r >= 0x2776 && r <= 0x277e,
		r >= 0x2780 && r <= 0x2788, r >= 0x278a && r <= 0x2792, r == 0x19da, r >= 0x10a40 && r <= 0x10a43,
		r >= 0x10e60 && r <= 0x10e68, r >= 0x11052 && r <= 0x1105a, r >= 0x1f100 && r <= 0x1f10a:
		return true
	}
	return false
}

func makeTrans(fr *vframe, a []any) any {
	d := newDict(0)
	if a[1] == missing {
		table, ok := a[0].(*Dict)
		if !ok {
			raiseType("if you give only one argument to maketrans it must be a dict")
		}
		for k, v := range table.all() {
			if s, ok := asStr(k); ok {
				if runeLen(s) != 1 {
					raiseValue("string keys in translate table must be of length 1")
				}
				r, _ := utf8.DecodeRuneInString(s)
				k = int64(r)
			} else if _, _, ok := asInt(k); !ok {
				raiseType("keys in translate table must be strings or integers")
			}
			d.set(fr, k, v)
		}
		return d
	}
	from, to := []rune(strArg(a[0], "maketrans() argument 1")), []rune(strArg(a[1], "maketrans() argument 2"))
	if len(from) != len(to) {
		raiseValue("the first two maketrans arguments must have equal length")
	}
	for i := range from {
		d.set(fr, int64(from[i]), int64(to[i]))
	}
	if a[2] != missing {
		for _, r := range strArg(a[2], "maketrans() argument 3") {
			d.set(fr, int64(r), nil)
		}
	}
	return d
}

func translate(fr *vframe, s string, a []any) any {
	var b strings.Builder
	fr.work(len(s))
	for _, r := range s {
		var v any
		if fr.try(func() { v = subscript(fr, a[0], int64(r)) }, "LookupError") != nil {
			b.WriteRune(r)
			continue
		}
		switch v := v.(type) {
		case nil:
		case int64:
			if v < 0 || v > unicode.MaxRune {
				raiseValue("character mapping must be in range(0x110000)")
			}
			b.WriteRune(rune(v))
		case string:
			fr.alloc(len(v))
			b.WriteString(v)
		case Markup:
			b.WriteString(string(v))
		default:
			raiseType("character mapping must return integer, None or str")
		}
	}
	fr.alloc(b.Len())
	return b.String()
}

// reprStart is the repr of a text for a message, of its beginning if it is long.
func reprStart(s string) string {
	const most = 200
	if len(s) > 4*most {
		s = s[:4*most]
	}
	r := []rune(repr(s))
	if len(r) > most {
		r = r[:most]
	}
	return string(r)
}

// parseInt is int(text, base); the error is Python's.
func parseInt(s string, base int) any {
	raw := s
	bad := func() { raiseValue("invalid literal for int() with base %d: %s", base, reprStart(raw)) }
	if base != 0 && (base < 2 || base > 36) {
		raiseValue("int() base must be >= 2 and <= 36, or 0")
	}
	s = strings.TrimFunc(s, isSpace)
	s = asciiDigits(s)
	neg := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		neg = s[0] == '-'
		s = s[1:]
	}
	actual := base
	if len(s) > 1 && s[0] == '0' {
		prefix := map[byte]int{'x': 16, 'o': 8, 'b': 2}[s[1]|0x20]
		if prefix != 0 && (base == 0 || base == prefix) {
			actual = prefix
			s = s[2:]
			s = strings.TrimPrefix(s, "_")
		} else if base == 0 && strings.Trim(s, "0_") != "" {
			bad()
		}
	}
	if actual == 0 {
		actual = 10
	}
	if s == "" || s[0] == '_' || s[len(s)-1] == '_' || strings.Contains(s, "__") || s[0] == '-' || s[0] == '+' {
		bad()
	}
	s = strings.ReplaceAll(s, "_", "")
	if actual&(actual-1) != 0 && len(s) > maxIntDigits {
		raiseValue("Exceeds the limit (%d digits) for integer string conversion: value has %d digits; use sys.set_int_max_str_digits() to increase the limit", maxIntDigits, len(s))
	}
	if neg {
		s = "-" + s
	}
	if n, err := strconv.ParseInt(s, actual, 64); err == nil {
		return n
	}
	v, ok := newBigFrom(s, actual)
	if !ok {
		bad()
	}
	return v
}

// asciiDigits replaces the decimal digits of other scripts.
func asciiDigits(s string) string {
	if isASCII(s) {
		return s
	}
	return strings.Map(func(r rune) rune {
		if r >= utf8.RuneSelf && unicode.Is(unicode.Nd, r) {
			zero := r
			for unicode.Is(unicode.Nd, zero-1) && r-zero < 9 {
				zero--
			}
			return '0' + (r-zero)%10
		}
		return r
	}, s)
}
