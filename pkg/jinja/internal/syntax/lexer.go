package syntax

import (
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
)

// TokenType is the type of a token; those of arithmetic operators are the operators of
// [Binary].
type TokenType uint8

const (
	tokEOF TokenType = iota
	tokData
	tokBlockBegin
	tokBlockEnd
	tokVariableBegin
	tokVariableEnd
	tokName
	tokString
	tokInteger
	tokFloat
	tokError // the last token; str is the message
	// operators
	Add
	tokAssign
	tokColon
	tokComma
	Div
	tokDot
	tokEq
	FloorDiv
	tokGt
	tokGtEq
	tokLBrace
	tokLBracket
	tokLParen
	tokLt
	tokLtEq
	Mod
	Mul
	tokNe
	tokPipe
	Pow
	tokRBrace
	tokRBracket
	tokRParen
	tokSemicolon
	Sub
	tokTilde
)

// tokenNames are the names of tokens in Jinja2's messages.
var tokenNames = [...]string{
	tokEOF: "end of template", tokData: "template data / text",
	tokBlockBegin: "begin of statement block", tokBlockEnd: "end of statement block",
	tokVariableBegin: "begin of print statement", tokVariableEnd: "end of print statement",
	tokName: "name", tokString: "string", tokInteger: "integer", tokFloat: "float", tokError: "error",
	Add: "+", tokAssign: "=", tokColon: ":", tokComma: ",", Div: "/", tokDot: ".", tokEq: "==",
	FloorDiv: "//", tokGt: ">", tokGtEq: ">=", tokLBrace: "{", tokLBracket: "[", tokLParen: "(",
	tokLt: "<", tokLtEq: "<=", Mod: "%", Mul: "*", tokNe: "!=", tokPipe: "|", Pow: "**",
	tokRBrace: "}", tokRBracket: "]", tokRParen: ")", tokSemicolon: ";", Sub: "-", tokTilde: "~",
}

type token struct {
	typ TokenType
	pos int    // byte offset in the source
	str string // of a name, a string or data
	val any    // value of a number
}

// describe returns the name of a token in Jinja2's messages.
func (t token) describe() string {
	if t.typ == tokName {
		return t.str
	}
	return tokenNames[t.typ]
}

// Options say which tags a template may have and how white space around them is
// treated.
type Options struct {
	// TrimBlocks removes the first newline after a block tag.
	TrimBlocks bool
	// LstripBlocks removes blanks between the start of a line and a block tag.
	LstripBlocks bool
	// KeepTrailingNewline keeps the last newline of a source, which otherwise is
	// removed.
	KeepTrailingNewline bool
	// LineStatementPrefix and LineCommentPrefix start line statements and comments.
	// Empty means that there are none.
	LineStatementPrefix, LineCommentPrefix string
	// Do and LoopControls allow `{% do %}`, and `{% break %}` and `{% continue %}`.
	Do, LoopControls bool
}

// lexer splits a source into tokens, by the rules of Jinja2's regular expressions for
// the default delimiters, in the same order.
type lexer struct {
	opts   *Options
	src    string // with \n as its only line break
	pos    int
	toks   []token
	braces []byte // the closing brackets that are expected
	// lineStart reports that the last match ended a line, for LstripBlocks.
	lineStart bool
}

// normalizeSource replaces line breaks by \n and removes the last one.
func normalizeSource(src string, keepTrailing bool) string {
	if strings.IndexByte(src, '\r') >= 0 {
		src = strings.ReplaceAll(src, "\r\n", "\n")
		src = strings.ReplaceAll(src, "\r", "\n")
	}
	if !keepTrailing {
		src = strings.TrimSuffix(src, "\n")
	}
	return src
}

func lex(opts *Options, src string) []token {
	lx := &lexer{opts: opts, src: src, lineStart: true, toks: make([]token, 0, 16+len(src)/8)}
	lx.root()
	if n := len(lx.toks); n == 0 || lx.toks[n-1].typ != tokError {
		lx.emit(token{typ: tokEOF, pos: len(src)})
	}
	return lx.toks
}

func (lx *lexer) emit(t token) { lx.toks = append(lx.toks, t) }

func (lx *lexer) fail(pos int, msg string) {
	lx.emit(token{typ: tokError, pos: pos, str: msg})
	lx.pos = len(lx.src)
}

func (lx *lexer) failed() bool {
	return len(lx.toks) > 0 && lx.toks[len(lx.toks)-1].typ == tokError
}

func (lx *lexer) data(pos int, s string) {
	if s != "" {
		lx.emit(token{typ: tokData, pos: pos, str: s})
	}
}

type tagKind uint8

const (
	tagNone tagKind = iota
	tagVariable
	tagBlock
	tagRaw
	tagComment
	tagLineStatement
	tagLineComment
)

// root splits the source into text and tags.
func (lx *lexer) root() {
	for lx.pos < len(lx.src) {
		start := lx.pos
		kind, at, end, sign := lx.nextTag()
		if kind == tagNone {
			lx.data(start, lx.src[start:])
			return
		}
		text := lx.src[start:at]
		switch {
		case sign == '-':
			text = strings.TrimRightFunc(text, pystr.IsSpace)
		case sign != '+' && lx.opts.LstripBlocks && kind != tagVariable:
			if l := strings.LastIndexByte(text, '\n') + 1; (l > 0 || lx.lineStart) && l < len(text) &&
				strings.TrimFunc(text[l:], pystr.IsSpace) == "" {
				text = text[:l]
			}
		}
		lx.data(start, text)
		lx.advance(end)
		switch kind {
		case tagVariable:
			lx.emit(token{typ: tokVariableBegin, pos: at})
			lx.inside(tagVariable)
		case tagBlock, tagLineStatement:
			lx.emit(token{typ: tokBlockBegin, pos: at})
			lx.inside(kind)
		case tagComment:
			lx.comment(at)
		case tagRaw:
			lx.raw(at)
		case tagLineComment:
			if i := strings.IndexByte(lx.src[lx.pos:], '\n'); i >= 0 {
				lx.advance(lx.pos + i)
			} else {
				lx.advance(len(lx.src))
			}
		}
		if lx.failed() {
			return
		}
	}
}

// advance moves to the end of a match.
func (lx *lexer) advance(end int) {
	lx.lineStart = end > lx.pos && lx.src[end-1] == '\n'
	lx.pos = end
}

// nextTag finds the next tag: its start, the end of its opening delimiter, and its
// sign.
func (lx *lexer) nextTag() (kind tagKind, at, end int, sign byte) {
	src, cfg := lx.src, lx.opts
	for i := lx.pos; i < len(src); i++ {
		if cfg.LineStatementPrefix != "" || cfg.LineCommentPrefix != "" {
			if kind, end, sign := lx.lineTag(i); kind != tagNone {
				if k, e, s := lx.tagAt(i); k != tagNone && len(cfg.LineStatementPrefix) <= 2 && kind == tagLineStatement {
					return k, i, e, s
				}
				return kind, i, end, sign
			}
		} else if j := strings.IndexByte(src[i:], '{'); j < 0 {
			return tagNone, 0, 0, 0
		} else {
			i += j
		}
		if kind, end, sign = lx.tagAt(i); kind != tagNone {
			return kind, i, end, sign
		}
	}
	return tagNone, 0, 0, 0
}

// tagAt recognizes an opening delimiter at an offset.
func (lx *lexer) tagAt(i int) (kind tagKind, end int, sign byte) {
	src := lx.src
	if i+1 >= len(src) || src[i] != '{' {
		return tagNone, 0, 0
	}
	switch src[i+1] {
	case '{':
		kind = tagVariable
	case '%':
		kind = tagBlock
	case '#':
		kind = tagComment
	default:
		return tagNone, 0, 0
	}
	end = i + 2
	if end < len(src) && (src[end] == '-' || src[end] == '+') {
		sign = src[end]
		end++
	}
	if kind == tagBlock {
		if e, ok := lx.rawBegin(end); ok {
			return tagRaw, e, sign
		}
	}
	return kind, end, sign
}

// rawBegin recognizes the rest of a raw tag.
func (lx *lexer) rawBegin(i int) (int, bool) {
	rest := strings.TrimLeftFunc(lx.src[i:], pystr.IsSpace)
	rest, ok := strings.CutPrefix(rest, "raw")
	if !ok {
		return 0, false
	}
	rest = strings.TrimLeftFunc(rest, pystr.IsSpace)
	if r, ok := strings.CutPrefix(rest, "-%}"); ok {
		return len(lx.src) - len(strings.TrimLeftFunc(r, pystr.IsSpace)), true
	}
	if r, ok := strings.CutPrefix(rest, "%}"); ok {
		return len(lx.src) - len(r), true
	}
	return 0, false
}

// lineTag recognizes a line statement or line comment. The longer prefix is tried
// first.
func (lx *lexer) lineTag(i int) (tagKind, int, byte) {
	stmt, comment := lx.opts.LineStatementPrefix, lx.opts.LineCommentPrefix
	tryStmt := func() (tagKind, int, byte) {
		if stmt != "" && (i == 0 || lx.src[i-1] == '\n') {
			rest := strings.TrimLeft(lx.src[i:], " \t\v")
			if r, ok := strings.CutPrefix(rest, stmt); ok {
				return lx.lineSign(tagLineStatement, len(lx.src)-len(r))
			}
		}
		return tagNone, 0, 0
	}
	tryComment := func() (tagKind, int, byte) {
		if comment == "" {
			return tagNone, 0, 0
		}
		if i > 0 && lx.src[i-1] != '\n' {
			if r, _ := utf8.DecodeLastRuneInString(lx.src[:i]); pystr.IsSpace(r) {
				return tagNone, 0, 0
			}
		}
		rest := strings.TrimLeftFunc(lx.src[i:], func(r rune) bool { return pystr.IsSpace(r) && r != '\n' && r != '\r' })
		if r, ok := strings.CutPrefix(rest, comment); ok {
			return lx.lineSign(tagLineComment, len(lx.src)-len(r))
		}
		return tagNone, 0, 0
	}
	first, second := tryStmt, tryComment
	if len(comment) > len(stmt) {
		first, second = tryComment, tryStmt
	}
	if k, e, s := first(); k != tagNone {
		return k, e, s
	}
	return second()
}

func (lx *lexer) lineSign(kind tagKind, end int) (tagKind, int, byte) {
	if end < len(lx.src) && (lx.src[end] == '-' || lx.src[end] == '+') {
		return kind, end + 1, lx.src[end]
	}
	return kind, end, 0
}

// closing finds the end of a closing delimiter with its sign: +%}, -%} and the white
// space after it, or %} and, with TrimBlocks, a newline.
func (lx *lexer) closing(i int, delim string) (int, bool) {
	rest := lx.src[i:]
	if rest == "" {
		return 0, false
	}
	switch rest[0] {
	case '+':
		if strings.HasPrefix(rest[1:], delim) {
			return i + 1 + len(delim), true
		}
		return 0, false
	case '-':
		if r, ok := strings.CutPrefix(rest[1:], delim); ok {
			return len(lx.src) - len(strings.TrimLeftFunc(r, pystr.IsSpace)), true
		}
		return 0, false
	}
	if r, ok := strings.CutPrefix(rest, delim); ok {
		if lx.opts.TrimBlocks {
			r = strings.TrimPrefix(r, "\n")
		}
		return len(lx.src) - len(r), true
	}
	return 0, false
}

func (lx *lexer) comment(at int) {
	for i := lx.pos; i < len(lx.src); i++ {
		if c := lx.src[i]; c != '#' && c != '-' && c != '+' {
			continue
		}
		if end, ok := lx.closing(i, "#}"); ok {
			lx.advance(end)
			return
		}
	}
	if lx.pos < len(lx.src) {
		lx.fail(at, "Missing end of comment tag")
	}
}

func (lx *lexer) raw(at int) {
	start := lx.pos
	for i := start; i < len(lx.src); {
		j := strings.Index(lx.src[i:], "{%")
		if j < 0 {
			break
		}
		i += j
		k := i + 2
		var sign byte
		if k < len(lx.src) && (lx.src[k] == '-' || lx.src[k] == '+') {
			sign = lx.src[k]
			k++
		}
		rest := strings.TrimLeftFunc(lx.src[k:], pystr.IsSpace)
		if r, ok := strings.CutPrefix(rest, "endraw"); ok {
			r = strings.TrimLeftFunc(r, pystr.IsSpace)
			if end, ok := lx.closing(len(lx.src)-len(r), "%}"); ok {
				text := lx.src[start:i]
				if sign == '-' {
					text = strings.TrimRightFunc(text, pystr.IsSpace)
				} else if sign != '+' && lx.opts.LstripBlocks {
					if l := strings.LastIndexByte(text, '\n') + 1; (l > 0 || lx.lineStart) && l < len(text) &&
						strings.TrimFunc(text[l:], pystr.IsSpace) == "" {
						text = text[:l]
					}
				}
				lx.data(start, text)
				lx.advance(end)
				return
			}
		}
		i += 2
	}
	if lx.pos < len(lx.src) {
		lx.fail(at, "Missing end of raw directive")
	}
}

// inside splits a tag into tokens, up to its end.
func (lx *lexer) inside(kind tagKind) {
	lx.braces = lx.braces[:0]
	for {
		if len(lx.braces) == 0 && lx.tagEnd(kind) {
			return
		}
		if lx.pos >= len(lx.src) {
			return
		}
		lx.tagToken()
		if lx.failed() {
			return
		}
	}
}

func (lx *lexer) tagEnd(kind tagKind) bool {
	switch kind {
	case tagVariable:
		rest := lx.src[lx.pos:]
		if r, ok := strings.CutPrefix(rest, "-}}"); ok {
			lx.emit(token{typ: tokVariableEnd, pos: lx.pos})
			lx.advance(len(lx.src) - len(strings.TrimLeftFunc(r, pystr.IsSpace)))
			return true
		}
		if strings.HasPrefix(rest, "}}") {
			lx.emit(token{typ: tokVariableEnd, pos: lx.pos})
			lx.advance(lx.pos + 2)
			return true
		}
	case tagBlock:
		if end, ok := lx.closing(lx.pos, "%}"); ok {
			lx.emit(token{typ: tokBlockEnd, pos: lx.pos})
			lx.advance(end)
			return true
		}
	case tagLineStatement:
		rest := lx.src[lx.pos:]
		space := len(rest) - len(strings.TrimLeftFunc(rest, pystr.IsSpace))
		end := lx.pos + space
		if end < len(lx.src) {
			nl := strings.LastIndexByte(rest[:space], '\n')
			if nl < 0 {
				return false
			}
			end = lx.pos + nl + 1
		}
		lx.emit(token{typ: tokBlockEnd, pos: lx.pos})
		lx.advance(end)
		return true
	}
	return false
}
