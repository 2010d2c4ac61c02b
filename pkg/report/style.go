package report

import (
	"os"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// style is what the output supports: colours, Unicode.
//
// Escape sequences and widths come from charmbracelet/x/ansi: it is maintained,
// consists of plain functions, and measures grapheme clusters, as terminals do today.
// See tty.go for why the drawing itself is not done by a library.
type style struct {
	color bool
	utf8  bool
}

// tone is the meaning of a text, which decides its colour.
type tone int

const (
	plainTone tone = iota
	goodTone
	badTone
	warnTone
	dimTone
	boldTone
)

func (s style) paint(t tone, text string) string {
	if !s.color || t == plainTone || text == "" {
		return text
	}
	attr := map[tone]ansi.Attr{
		goodTone: ansi.AttrGreenForegroundColor,
		badTone:  ansi.AttrRedForegroundColor,
		warnTone: ansi.AttrYellowForegroundColor,
		dimTone:  ansi.AttrFaint,
		boldTone: ansi.AttrBold,
	}[t]
	return ansi.SGR(attr) + text + ansi.ResetStyle
}

// mark returns the coloured sign before the name of a finished image.
func (s style) mark(t tone) string { return s.paint(t, s.sign(t)) }

func (s style) sign(t tone) string {
	unicode, ascii := "–", "-"
	switch t {
	case goodTone:
		unicode, ascii = "✓", "+"
	case badTone:
		unicode, ascii = "✗", "x"
	}
	if s.utf8 {
		return unicode
	}
	return ascii
}

func (s style) ellipsis() string {
	if s.utf8 {
		return "…"
	}
	return "..."
}

func (s style) dot() string {
	if s.utf8 {
		return " · "
	}
	return ", "
}

// text adapts sanitised text to the locale: without UTF-8, characters that are not
// ASCII become question marks.
func (s style) text(t string) string {
	if s.utf8 {
		return t
	}
	t = strings.NewReplacer("…", "...", "–", "-", "—", "-", "‘", "'", "’", "'", "“", `"`, "”",
		`"`).Replace(t)
	return strings.Map(func(r rune) rune {
		if r >= 0x7f {
			return '?'
		}
		return r
	}, t)
}

// fit cuts t to width columns, with an ellipsis if something was cut.
func (s style) fit(t string, width int) string {
	t = s.text(t)
	if width <= 0 {
		return ""
	}
	if ansi.StringWidth(t) <= width {
		return t
	}
	e := s.ellipsis()
	if width <= len(e) {
		e = ""
	}
	return ansi.Truncate(t, width, e)
}

// pad fits t and fills it with spaces to width columns.
func (s style) pad(t string, width int) string {
	t = s.fit(t, width)
	return t + strings.Repeat(" ", max(0, width-ansi.StringWidth(t)))
}

// padLeft is pad with the spaces before the text.
func (s style) padLeft(t string, width int) string {
	t = s.fit(t, width)
	return strings.Repeat(" ", max(0, width-ansi.StringWidth(t))) + t
}

// utf8Locale reports whether the character set of the environment is UTF-8. As in
// POSIX, the first of the variables that is set decides.
func utf8Locale(getenv func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := getenv(name); v != "" {
			v = strings.ToLower(v)
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}

// colorful reports whether the environment allows colours on a terminal.
func colorful(getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb"
}

// terminalSize returns columns and rows, 80 and 24 if they are unknown.
func terminalSize(f *os.File) (int, int) {
	w, h, err := term.GetSize(int(f.Fd()))
	if err != nil || w <= 0 || h <= 0 {
		return 80, 24
	}
	return w, h
}
