package pystr

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// IsRegexWord is \w of Python's regular expressions.
func IsRegexWord(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return unicode.In(r, unicode.L, unicode.N)
}

// IsSpace is str.isspace for one character, and \s.
func IsSpace(r rune) bool {
	switch {
	case r == ' ' || r >= '\t' && r <= '\r' || r >= 0x1c && r <= 0x1f:
		return true
	case r < 0x80:
		return false
	}
	return unicode.IsSpace(r)
}

// IsWordChar is \w with the further characters that identifiers may contain.
func IsWordChar(r rune) bool {
	if r < utf8.RuneSelf {
		return r == '_' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
	}
	return unicode.In(r, unicode.L, unicode.N, unicode.M, unicode.Pc, unicode.Other_ID_Continue)
}

// IsIdentifierWord is str.isidentifier for a string of word characters.
func IsIdentifierWord(s string) bool {
	for i, r := range s {
		if r < utf8.RuneSelf {
			if i == 0 && r >= '0' && r <= '9' {
				return false
			}
			continue
		}
		start := unicode.In(r, unicode.L, unicode.Nl, unicode.Other_ID_Start)
		if !start && (i == 0 || !unicode.In(r, unicode.M, unicode.Nd, unicode.Pc, unicode.Other_ID_Continue)) {
			return false
		}
	}
	return s != ""
}

// MaxIntDigits is Python's limit on the decimal digits of an integer that is read or
// written.
const MaxIntDigits = 4300

// IsIdentifier is str.isidentifier.
func IsIdentifier(s string) bool {
	for _, r := range s {
		if !IsWordChar(r) {
			return false
		}
	}
	return IsIdentifierWord(s)
}

// IsNumeric is str.isnumeric for one character.
func IsNumeric(r rune) bool { return unicode.In(r, unicode.N) || strings.ContainsRune(hanNumbers, r) }

// hanNumbers are the ideographs of numbers.
const hanNumbers = "㐅㒃㠪㭍一七万三九二五亖亿什仟仨伍佰億兆兩八六十千卄卅卌叁参參叄四壱壹幺廾廿弌弍弎弐拾捌柒漆玖百肆萬貮貳贰阡陆陌陸零參拾兩零六陸什𠀁𠁤𠃢𠄡𠤪𠦃𠦌𠦜𠫪𠫽𠬙𢎐𢦘𣬛𦉭廾"

// IsDigit is str.isdigit for one character: decimal digits, superscripts and the like.
func IsDigit(r rune) bool {
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

// ASCIIDigits replaces the decimal digits of other scripts by ASCII ones.
func ASCIIDigits(s string) string {
	if IsASCII(s) {
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

// IsDecimal reports whether a string consists of ASCII digits.
func IsDecimal(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return s != ""
}

// IsPrintable is str.isprintable for one character.
func IsPrintable(r rune) bool {
	if r == ' ' {
		return true
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S)
}

// Len returns the number of characters.
func Len(s string) int { return utf8.RuneCountInString(s) }

// IsASCII is str.isascii.
func IsASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}
