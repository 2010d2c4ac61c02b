package render

import (
	"regexp"
	"strings"
)

// tag is a statement or expression of a template, for Lint. The scan only finds where
// the parts of a template begin and end; the engine parses them.
type tag struct {
	line, column int    // of its opening braces, 1-based
	statement    bool   // {% … %}, not {{ … }}
	text         string // the content without white space control
}

// piece is a part of a template: a tag, or text between tags.
type piece struct {
	tag  *tag
	data string
	line int // where data begins, 1-based
}

var rawEnd = regexp.MustCompile(`\{%[-+]?\s*endraw\s*[-+]?%\}`)

// scanTemplate splits a template into its pieces. Comments are omitted, and the content
// of raw is text.
func scanTemplate(src string) []piece {
	var out []piece
	line, lineStart := 1, 0
	pos := 0
	advance := func(to int) {
		for i := pos; i < to; i++ {
			if src[i] == '\n' {
				line++
				lineStart = i + 1
			}
		}
		pos = to
	}
	text := func(to int) {
		if to > pos {
			out = append(out, piece{data: src[pos:to], line: line})
			advance(to)
		}
	}
	for pos < len(src) {
		open := nextOpen(src, pos)
		if open < 0 {
			text(len(src))
			break
		}
		text(open)
		kind := src[open+1]
		end := closing(src, open+2, kind)
		if kind == '#' {
			advance(end)
			continue
		}
		t := &tag{line: line, column: 1 + len([]rune(src[lineStart:open])), statement: kind == '%'}
		inner := strings.TrimSuffix(strings.TrimSuffix(src[open+2:end], "}"), string(closeByte(kind)))
		t.text = strings.TrimSpace(strings.Trim(inner, "-+"))
		out = append(out, piece{tag: t, line: line})
		advance(end)
		if t.statement && t.text == "raw" {
			if at := rawEnd.FindStringIndex(src[pos:]); at != nil {
				stop := pos + at[1]
				text(pos + at[0])
				advance(stop)
			}
		}
	}
	return out
}

func closeByte(kind byte) byte {
	if kind == '{' {
		return '}'
	}
	return kind
}

func nextOpen(src string, from int) int {
	for i := from; i+1 < len(src); i++ {
		if src[i] == '{' && (src[i+1] == '%' || src[i+1] == '{' || src[i+1] == '#') {
			return i
		}
	}
	return -1
}

// closing returns the offset after the end of a tag, ignoring end markers in strings.
func closing(src string, from int, kind byte) int {
	end := string(closeByte(kind)) + "}"
	depth := 0
	for i := from; i < len(src); i++ {
		if kind != '#' {
			switch c := src[i]; {
			case c == '"' || c == '\'':
				for i++; i < len(src) && src[i] != c; i++ {
					if src[i] == '\\' {
						i++
					}
				}
				continue
			case c == '{':
				depth++
				continue
			case c == '}' && depth > 0:
				depth--
				continue
			}
		}
		if strings.HasPrefix(src[i:], end) {
			return i + 2
		}
	}
	return len(src)
}
