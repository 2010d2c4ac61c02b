// Package apt reads apt's own files: paragraphs of fields ("deb822") and lists
// of package sources. It takes text and returns values; it must not know where
// the text comes from, which may be an untrusted image or a server.
package apt

import (
	"bytes"
	"slices"
	"strings"
)

// Paragraph holds the fields of a paragraph, with their names in lower case.
type Paragraph map[string]string

// maxFields is how many fields of a paragraph are read. Real ones have fewer than 50, and each takes a
// hundred bytes of memory, whatever its length.
const maxFields = 1000

// Paragraphs calls yield with each paragraph of a deb822 text. Values have their
// first line only, except those of the fields named in multiline (in lower
// case), whose lines are joined by newlines. Lines that are not fields are
// ignored.
//
// The time is linear in the length of the text, whatever the text contains;
// pault.ag/go/debian/control is quadratic in the lines of a field.
func Paragraphs(text []byte, multiline []string, yield func(Paragraph)) {
	paragraph := Paragraph{}
	var field string // the multiline field that is being read, or ""
	var lines []string
	endField := func() {
		if field != "" {
			paragraph[field] = strings.Join(lines, "\n")
		}
		field, lines = "", nil
	}
	endParagraph := func() {
		endField()
		if len(paragraph) > 0 {
			yield(paragraph)
		}
		paragraph = Paragraph{}
	}
	for len(text) > 0 {
		var line []byte
		line, text, _ = bytes.Cut(text, []byte{'\n'})
		line = bytes.TrimRight(line, " \t\r")
		switch {
		case len(line) == 0:
			endParagraph()
		case line[0] == '#':
		case line[0] == ' ' || line[0] == '\t':
			if field != "" {
				lines = append(lines, strings.TrimSpace(string(line)))
			}
		default:
			endField()
			name, value, ok := bytes.Cut(line, []byte{':'})
			if !ok {
				continue
			}
			if len(paragraph) >= maxFields {
				continue
			}
			key := strings.ToLower(string(bytes.TrimSpace(name)))
			paragraph[key] = strings.TrimSpace(string(value))
			if slices.Contains(multiline, key) {
				field, lines = key, []string{paragraph[key]}
			}
		}
	}
	endParagraph()
}
