package syntax

import (
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
)

var operators2 = map[string]TokenType{
	"//": FloorDiv, "**": Pow, "==": tokEq, "!=": tokNe, ">=": tokGtEq, "<=": tokLtEq,
}

var operators1 = [128]TokenType{
	'+': Add, '-': Sub, '/': Div, '*': Mul, '%': Mod, '~': tokTilde, '[': tokLBracket,
	']': tokRBracket, '(': tokLParen, ')': tokRParen, '{': tokLBrace, '}': tokRBrace, '>': tokGt,
	'<': tokLt, '=': tokAssign, '.': tokDot, ':': tokColon, '|': tokPipe, ',': tokComma, ';': tokSemicolon,
}

// tagToken reads one token of a tag.
func (lx *lexer) tagToken() {
	src, pos := lx.src, lx.pos
	r, size := rune(src[pos]), 1
	if r >= utf8.RuneSelf {
		r, size = utf8.DecodeRuneInString(src[pos:])
	}
	switch {
	case pystr.IsSpace(r):
		end := pos + size
		for end < len(src) {
			r, size := utf8.DecodeRuneInString(src[end:])
			if !pystr.IsSpace(r) {
				break
			}
			end += size
		}
		lx.advance(end)
	case r >= '0' && r <= '9':
		lx.number()
	case pystr.IsWordChar(r):
		end := pos + size
		for end < len(src) {
			r, size := rune(src[end]), 1
			if r >= utf8.RuneSelf {
				r, size = utf8.DecodeRuneInString(src[end:])
			}
			if !pystr.IsWordChar(r) {
				break
			}
			end += size
		}
		name := src[pos:end]
		if !pystr.IsIdentifierWord(name) {
			lx.fail(pos, "Invalid character in identifier")
			return
		}
		lx.emit(token{typ: tokName, pos: pos, str: name})
		lx.advance(end)
	case r == '\'' || r == '"':
		lx.stringToken(byte(r))
	default:
		lx.operator(r)
	}
}

func (lx *lexer) operator(r rune) {
	src, pos := lx.src, lx.pos
	if pos+1 < len(src) {
		if t, ok := operators2[src[pos:pos+2]]; ok {
			lx.emit(token{typ: t, pos: pos})
			lx.advance(pos + 2)
			return
		}
	}
	if r >= 128 || operators1[r] == 0 {
		lx.fail(pos, "unexpected char "+pystr.Repr(string(r))+" at "+strconv.Itoa(utf8.RuneCountInString(src[:pos])))
		return
	}
	switch r {
	case '{':
		lx.braces = append(lx.braces, '}')
	case '(':
		lx.braces = append(lx.braces, ')')
	case '[':
		lx.braces = append(lx.braces, ']')
	case '}', ')', ']':
		n := len(lx.braces)
		if n == 0 {
			lx.fail(pos, "unexpected '"+string(r)+"'")
			return
		}
		want := lx.braces[n-1]
		lx.braces = lx.braces[:n-1]
		if rune(want) != r {
			lx.fail(pos, "unexpected '"+string(r)+"', expected '"+string(want)+"'")
			return
		}
	}
	lx.emit(token{typ: operators1[r], pos: pos})
	lx.advance(pos + 1)
}

// digits returns the end of a match of (\d+_)*\d+.
func digits(s string, i int) int {
	end := i
	for i < len(s) {
		if s[i] >= '0' && s[i] <= '9' {
			i++
			end = i
		} else if s[i] == '_' && end == i && end > 0 && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9' {
			i++
		} else {
			break
		}
	}
	return end
}

// number reads an integer, or a float unless a dot precedes it.
func (lx *lexer) number() {
	src, pos := lx.src, lx.pos
	if pos == 0 || src[pos-1] != '.' {
		if end, ok := floatEnd(src, pos); ok {
			f, _ := strconv.ParseFloat(strings.ReplaceAll(src[pos:end], "_", ""), 64)
			lx.emit(token{typ: tokFloat, pos: pos, val: f})
			lx.advance(end)
			return
		}
	}
	end, base := integerEnd(src, pos)
	text := strings.ReplaceAll(src[pos:end], "_", "")
	if base != 10 {
		text = text[2:]
	} else if len(text) > pystr.MaxIntDigits {
		lx.fail(pos, "Exceeds the limit (4300 digits) for integer string conversion")
		return
	}
	var val any
	if n, err := strconv.ParseInt(text, base, 64); err == nil {
		val = n
	} else {
		b, _ := new(big.Int).SetString(text, base)
		val = b
	}
	lx.emit(token{typ: tokInteger, pos: pos, val: val})
	lx.advance(end)
}

func floatEnd(s string, pos int) (int, bool) {
	i := digits(s, pos)
	frac := i
	if i+1 < len(s) && s[i] == '.' && s[i+1] >= '0' && s[i+1] <= '9' {
		frac = digits(s, i+1)
	}
	if e, ok := exponentEnd(s, frac); ok {
		return e, true
	}
	return frac, frac > i
}

func exponentEnd(s string, i int) (int, bool) {
	if i >= len(s) || s[i]|0x20 != 'e' {
		return 0, false
	}
	i++
	if i < len(s) && (s[i] == '+' || s[i] == '-') {
		i++
	}
	if i >= len(s) || s[i] < '0' || s[i] > '9' {
		return 0, false
	}
	return digits(s, i), true
}

func integerEnd(s string, pos int) (end, base int) {
	if s[pos] == '0' && pos+1 < len(s) {
		var ok func(c byte) bool
		switch s[pos+1] | 0x20 {
		case 'b':
			base, ok = 2, func(c byte) bool { return c == '0' || c == '1' }
		case 'o':
			base, ok = 8, func(c byte) bool { return c >= '0' && c <= '7' }
		case 'x':
			base, ok = 16, func(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f' }
		}
		if ok != nil {
			i := pos + 2
			for i < len(s) {
				if ok(s[i]) {
					i++
				} else if s[i] == '_' && i+1 < len(s) && ok(s[i+1]) {
					i += 2
				} else {
					break
				}
			}
			if i > pos+2 {
				return i, base
			}
		}
	}
	if s[pos] != '0' {
		return digits(s, pos), 10
	}
	i := pos + 1
	for i < len(s) {
		if s[i] == '0' {
			i++
		} else if s[i] == '_' && i+1 < len(s) && s[i+1] == '0' {
			i += 2
		} else {
			break
		}
	}
	return i, 10
}

func (lx *lexer) stringToken(quote byte) {
	src := lx.src
	for i := lx.pos + 1; i < len(src); i++ {
		switch src[i] {
		case '\\':
			i++
		case quote:
			s := src[lx.pos+1 : i]
			if strings.IndexByte(s, '\\') >= 0 {
				var msg string
				if s, msg = unescape(s); msg != "" {
					lx.fail(lx.pos, msg)
					return
				}
			}
			lx.emit(token{typ: tokString, pos: lx.pos, str: s})
			lx.advance(i + 1)
			return
		}
	}
	lx.operator(rune(quote))
}
