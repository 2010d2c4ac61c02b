package pystr

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// specialUpper has the characters whose upper case is several characters (the
// unconditional rules of Unicode's SpecialCasing).
var specialUpper = map[rune]string{
	'ß': "SS", 'ŉ': "ʼN", 'ǰ': "J̌", 'ΐ': "Ϊ́", 'ΰ': "Ϋ́", 'և': "ԵՒ", 'ẖ': "H̱", 'ẗ': "T̈",
	'ẘ': "W̊", 'ẙ': "Y̊", 'ẚ': "Aʾ",
	'ﬀ': "FF", 'ﬁ': "FI", 'ﬂ': "FL", 'ﬃ': "FFI", 'ﬄ': "FFL", 'ﬅ': "ST", 'ﬆ': "ST",
	'ﬓ': "ՄՆ", 'ﬔ': "ՄԵ", 'ﬕ': "ՄԻ", 'ﬖ': "ՎՆ", 'ﬗ': "ՄԽ",
}

// specialTitle has the characters of specialUpper whose title case differs from their
// upper case.
var specialTitle = map[rune]string{
	'ß': "Ss", 'և': "Եւ", 'ﬀ': "Ff", 'ﬁ': "Fi", 'ﬂ': "Fl", 'ﬃ': "Ffi", 'ﬄ': "Ffl", 'ﬅ': "St", 'ﬆ': "St",
	'ﬓ': "Մն", 'ﬔ': "Մե", 'ﬕ': "Մի", 'ﬖ': "Վն", 'ﬗ': "Մխ",
}

// mapRunes builds a string from what f writes for each character and its offset.
func mapRunes(s string, f func(b *strings.Builder, i int, r rune)) string {
	var b strings.Builder
	b.Grow(len(s))
	for i, r := range s {
		f(&b, i, r)
	}
	return b.String()
}

// greekSpecial reports whether a Greek letter may have cases of several characters.
func greekSpecial(r rune) bool { return r == 0x390 || r == 0x3b0 || r >= 0x1f50 && r <= 0x1ffc }

func writeUpper(b *strings.Builder, r rune) {
	if greekSpecial(r) {
		b.WriteString(cases.Upper(language.Und).String(string(r)))
		return
	}
	if s, ok := specialUpper[r]; ok {
		b.WriteString(s)
		return
	}
	b.WriteRune(unicode.ToUpper(r))
}

func writeTitle(b *strings.Builder, r rune) {
	if greekSpecial(r) && unicode.ToTitle(r) == r && unicode.IsLower(r) {
		b.WriteString(cases.Title(language.Und).String(string(r)))
		return
	}
	if s, ok := specialTitle[r]; ok {
		b.WriteString(s)
	} else if s, ok := specialUpper[r]; ok {
		b.WriteString(s)
	} else {
		b.WriteRune(unicode.ToTitle(r))
	}
}

// writeLower writes the lower case of the character at an offset of s. A sigma has
// another form at the end of a word.
func writeLower(b *strings.Builder, s string, i int, r rune) {
	switch r {
	case 'Σ':
		if finalSigma(s, i) {
			b.WriteRune('ς')
			return
		}
	case 'İ':
		b.WriteString("i̇")
		return
	}
	b.WriteRune(unicode.ToLower(r))
}

// finalSigma reports whether the sigma at an offset ends a word.
func finalSigma(s string, i int) bool {
	before := false
	for j := i; j > 0; {
		r, size := utf8.DecodeLastRuneInString(s[:j])
		j -= size
		if caseIgnorable(r) {
			continue
		}
		before = isCased(r)
		break
	}
	if !before {
		return false
	}
	for _, r := range s[i+len("Σ"):] {
		if caseIgnorable(r) {
			continue
		}
		return !isCased(r)
	}
	return true
}

func caseIgnorable(r rune) bool {
	switch r {
	case '\'', '.', ':', '^', '`', '·', '’':
		return true
	}
	return unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf, unicode.Lm, unicode.Sk)
}

func isCased(r rune) bool {
	if r < utf8.RuneSelf {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	return unicode.In(r, unicode.Lu, unicode.Ll, unicode.Lt, unicode.Other_Lowercase, unicode.Other_Uppercase)
}

// Upper is str.upper.
func Upper(s string) string {
	if IsASCII(s) {
		return strings.ToUpper(s)
	}
	return mapRunes(s, func(b *strings.Builder, _ int, r rune) { writeUpper(b, r) })
}

// Lower is str.lower.
func Lower(s string) string {
	if IsASCII(s) {
		return strings.ToLower(s)
	}
	return mapRunes(s, func(b *strings.Builder, i int, r rune) { writeLower(b, s, i, r) })
}

// Title is str.title.
func Title(s string) string {
	inWord := false
	return mapRunes(s, func(b *strings.Builder, i int, r rune) {
		if inWord {
			writeLower(b, s, i, r)
		} else {
			writeTitle(b, r)
		}
		inWord = isCased(r)
	})
}

// Capitalize is str.capitalize.
func Capitalize(s string) string {
	return mapRunes(s, func(b *strings.Builder, i int, r rune) {
		if i == 0 {
			writeTitle(b, r)
		} else {
			writeLower(b, s, i, r)
		}
	})
}

// Swapcase is str.swapcase.
func Swapcase(s string) string {
	return mapRunes(s, func(b *strings.Builder, i int, r rune) {
		switch {
		case isUpperRune(r):
			writeLower(b, s, i, r)
		case isLowerRune(r):
			writeUpper(b, r)
		default:
			b.WriteRune(r)
		}
	})
}

// Casefold is str.casefold.
func Casefold(s string) string {
	if IsASCII(s) {
		return strings.ToLower(s)
	}
	return cases.Fold().String(s)
}

func isUpperRune(r rune) bool {
	return unicode.IsUpper(r) || r >= utf8.RuneSelf && unicode.Is(unicode.Other_Uppercase, r)
}

func isLowerRune(r rune) bool {
	return unicode.IsLower(r) || r >= utf8.RuneSelf && unicode.Is(unicode.Other_Lowercase, r)
}

// IsLower is str.islower.
func IsLower(s string) bool {
	cased := false
	for _, r := range s {
		if isUpperRune(r) || unicode.IsTitle(r) {
			return false
		}
		cased = cased || unicode.IsLower(r) || r >= utf8.RuneSelf && unicode.Is(unicode.Other_Lowercase, r)
	}
	return cased
}

// IsUpper is str.isupper.
func IsUpper(s string) bool {
	cased := false
	for _, r := range s {
		if unicode.IsLower(r) || unicode.IsTitle(r) || r >= utf8.RuneSelf && unicode.Is(unicode.Other_Lowercase, r) {
			return false
		}
		cased = cased || isUpperRune(r)
	}
	return cased
}

// IsTitle is str.istitle.
func IsTitle(s string) bool {
	cased, previous := false, false
	for _, r := range s {
		switch {
		case isUpperRune(r) || unicode.IsTitle(r):
			if previous {
				return false
			}
			cased, previous = true, true
		case isLowerRune(r):
			if !previous {
				return false
			}
			cased = true
		default:
			previous = false
		}
	}
	return cased
}

// TitleWords is the filter title: the first letter after white space and some brackets
// becomes upper case, the others lower case.
func TitleWords(s string) string {
	first := true
	item := 0
	return mapRunes(s, func(b *strings.Builder, i int, r rune) {
		sep := IsSpace(r) || strings.ContainsRune("-({[<", r)
		if sep {
			first = true
			b.WriteRune(r)
			return
		}
		if first {
			_, size := utf8.DecodeRuneInString(s[i:]) // 1 if it is not UTF-8
			item = i + size
			writeUpper(b, r)
		} else {
			writeLower(b, s[item:], i-item, r)
		}
		first = false
	})
}
