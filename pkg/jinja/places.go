package jinja

import (
	"context"
	"sort"
	"strings"
)

// Place is a line of a template.
type Place struct {
	Template string // its name
	Line     int    // 1-based
}

// mark is the origin of the output from an offset on.
type mark struct {
	offset int
	tmpl   *Template
	pos    int  // the offset in its source
	text   bool // its text, which has as many lines as the output
}

// Rendering is the output of a render, and what is known about it.
type Rendering struct {
	Text string
	// Places are the origins of the lines. The origin of the output of a macro, a filter or
	// an expression is the line that prints it.
	Places []Place
	// Undefined are the undefined values that were used, in the order of the uses.
	Undefined []UndefinedUse
}

// RenderPlaces renders the template as Render does, and returns where the output comes from.
// After an error, only Undefined is set.
func (t *Template) RenderPlaces(ctx context.Context, vars map[string]any) (r Rendering, err error) {
	var marks []mark
	text, undefined, err := t.render(ctx, vars, &marks)
	r.Undefined = undefined
	if err == nil {
		r.Text, r.Places = text, placesOf(text, marks)
	}
	return r, err
}

// mark records the origin of the following output.
func (b *buffer) mark(t *Template, pos int, text bool) {
	if b.marks != nil {
		*b.marks = append(*b.marks, mark{len(b.b), t, pos, text})
	}
}

// placesOf returns the places of the lines of a text. The place of a line is where its first
// character that is not white space comes from.
func placesOf(text string, marks []mark) []Place {
	var places []Place
	starts := map[*Template][]int{} // offsets of lines
	lineOf := func(t *Template, pos int) int {
		s, ok := starts[t]
		if !ok {
			s = []int{0}
			for i := range len(t.src) {
				if t.src[i] == '\n' {
					s = append(s, i+1)
				}
			}
			starts[t] = s
		}
		return sort.SearchInts(s, pos+1)
	}
	next := 0
	for offset := 0; offset < len(text); {
		line, _, more := strings.Cut(text[offset:], "\n")
		at := offset + len(line) - len(strings.TrimLeft(line, " \t"))
		for next < len(marks) && marks[next].offset <= at {
			next++
		}
		if next == 0 {
			places = append(places, Place{})
		} else {
			m := marks[next-1]
			p := Place{Template: m.tmpl.name, Line: lineOf(m.tmpl, m.pos)}
			if m.text {
				end := len(text)
				if next < len(marks) {
					end = marks[next].offset
				}
				p.Line = lineOf(m.tmpl, m.start(text[m.offset:end])) + strings.Count(text[m.offset:at], "\n")
			}
			places = append(places, p)
		}
		offset += len(line)
		if more {
			offset++
		}
	}
	return places
}

// start returns the offset in the source at which a text begins: white space at the
// beginning may have been removed from it.
func (m mark) start(text string) int {
	const enough = 80
	if len(text) > enough {
		text = text[:enough]
	}
	if m.pos > len(m.tmpl.src) {
		return m.pos
	}
	rest := m.tmpl.src[m.pos:]
	if i := strings.Index(rest, text); i > 0 && strings.TrimSpace(rest[:i]) == "" {
		return m.pos + i
	}
	return m.pos
}
