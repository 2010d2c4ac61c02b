package raise

import (
	"unicode/utf8"
)

// LineColumn returns the line and the column of an offset, both from 1, the column in
// characters.
func LineColumn(src string, pos int) (line, col int) {
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

// Locate sets the place of an error: an offset, in bytes, of the source of a template.
func Locate(e *Error, name, src string, pos int) {
	e.Template = name
	e.Line, e.Column = LineColumn(src, pos)
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
