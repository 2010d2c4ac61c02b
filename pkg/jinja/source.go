package jinja

import "unicode/utf8"

// lineColumn turns an offset into line and column, both from 1.
func lineColumn(src string, pos int) (line, col int) {
	pos = max(0, min(pos, len(src)))
	line, start := 1, 0
	for i := range pos {
		if src[i] == '\n' {
			line++
			start = i + 1
		}
	}
	return line, utf8.RuneCountInString(src[start:pos]) + 1
}

// raiseAt raises an error at a place of a source, an offset in bytes.
func raiseAt(kind Kind, class, message, hint, name, src string, pos int) {
	e := &Error{Kind: kind, class: class, Message: message, Hint: hint}
	locate(e, name, src, pos)
	raiseError(e)
}

// raiseError raises an error that has a place already.
func raiseError(e *Error) {
	panic(&raised{class: e.class, kind: e.Kind, msg: e.Message, where: e})
}

// locate fills in the place of an error.
func locate(e *Error, name, src string, pos int) {
	e.Template = name
	e.Line, e.Column = lineColumn(src, pos)
	start := min(pos, len(src))
	for start > 0 && src[start-1] != '\n' {
		start--
	}
	end := start
	for end < len(src) && src[end] != '\n' {
		end++
	}
	e.SourceLine = src[start:end]
}
