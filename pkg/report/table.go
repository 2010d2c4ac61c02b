package report

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// column is a column of a table.
type column struct {
	title string
	right bool // aligned to the right, as numbers are
	// keep keeps the column in a table that is too wide. Other columns are dropped as a
	// whole, from the last to the first, because half a reference is useless.
	keep bool
}

// table returns the lines of a table of up to the given width, 0 for no limit.
// Columns that are empty in every row are omitted. Lines have no trailing spaces.
func (s style) table(width int, cols []column, rows [][]string) []string {
	const gap = 2
	widths := make([]int, len(cols))
	for i := range cols {
		used := false
		for _, row := range rows {
			widths[i] = max(widths[i], ansi.StringWidth(s.text(row[i])))
			used = used || row[i] != ""
		}
		if used {
			widths[i] = max(widths[i], ansi.StringWidth(cols[i].title))
		}
	}
	total := func() int {
		n := -gap
		for _, w := range widths {
			if w > 0 {
				n += w + gap
			}
		}
		return n
	}
	for i := len(cols) - 1; width > 0 && i >= 0; i-- {
		if total() > width && !cols[i].keep {
			widths[i] = 0
		}
	}
	// On a very narrow window even columns to keep are cut.
	for i := range cols {
		if excess := total() - width; width > 0 && excess > 0 && cols[i].keep {
			widths[i] = max(4, widths[i]-excess)
		}
	}
	line := func(t tone, cells func(int) string) string {
		var b strings.Builder
		for i, c := range cols {
			if widths[i] == 0 {
				continue
			}
			if b.Len() > 0 {
				b.WriteString(strings.Repeat(" ", gap))
			}
			if c.right {
				b.WriteString(s.padLeft(cells(i), widths[i]))
			} else {
				b.WriteString(s.pad(cells(i), widths[i]))
			}
		}
		return s.paint(t, strings.TrimRight(b.String(), " "))
	}
	out := []string{line(dimTone, func(i int) string { return cols[i].title })}
	for _, row := range rows {
		out = append(out, line(plainTone, func(i int) string { return row[i] }))
	}
	return out
}

// wrapList returns names, separated by commas, in lines of up to width columns with
// an indent. Width 0 means one line.
func (s style) wrapList(names []string, indent string, width int) []string {
	var lines []string
	line := ""
	for i, n := range names {
		n = s.text(n)
		if i < len(names)-1 {
			n += ","
		}
		switch {
		case line == "":
			line = n
		case width > 0 && ansi.StringWidth(indent)+ansi.StringWidth(line)+1+ansi.StringWidth(n) > width:
			lines = append(lines, indent+line)
			line = n
		default:
			line += " " + n
		}
	}
	if line != "" {
		lines = append(lines, indent+line)
	}
	return lines
}
