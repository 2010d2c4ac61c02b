package report

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxLine is the longest line of build output, in characters, that is shown;
// what is beyond it is in the log file.
const MaxLine = 2000

// Sanitize makes one line of untrusted output safe to show: what it returns is
// valid UTF-8 in one line, with no control characters and no escape sequences,
// and at most MaxLine characters, with " …" after them if more was there.
//
// Escape sequences are removed whole. An unterminated string sequence (an OSC
// that never ends) loses only its introducer, so that output cannot hide the
// rest of a line by it. A carriage return starts the line over, as on a
// terminal, so that of a progress bar the last state is left; a backspace takes
// one character back; tabs become spaces. Invalid UTF-8 shows as U+FFFD.
// Invisible format characters, such as those that turn the direction of text,
// are dropped: with them, output could show a path that is not there.
func Sanitize(line []byte) string {
	var out []rune
	cut := false
	line = trimLineEnd(line)
	for i := 0; i < len(line); {
		r, n := utf8.DecodeRune(line[i:])
		switch {
		case r == 0x1b:
			i += escapeLen(line[i:])
			continue
		case r == 0x9b: // CSI as a C1 character
			i += n + csiLen(line[i+n:])
			continue
		case r == '\r':
			out, cut = out[:0], false
		case r == '\b':
			if len(out) > 0 {
				out = out[:len(out)-1]
			}
		case r == '\t':
			// The cut keeps a line of tabs from growing eightfold.
			for len(out) < MaxLine {
				out = append(out, ' ')
				if len(out)%8 == 0 {
					break
				}
			}
		case r == '\u2028' || r == '\u2029' || r == '\n' || r == '\v' || r == '\f':
			out, cut = appendRune(out, ' ', cut)
		case !printable(r):
		default:
			out, cut = appendRune(out, r, cut)
		}
		i += n
	}
	s := string(out)
	if cut {
		s += " …"
	}
	return s
}

func appendRune(out []rune, r rune, cut bool) ([]rune, bool) {
	if len(out) >= MaxLine {
		return out, true
	}
	return append(out, r), cut
}

// printable reports whether r may reach a terminal as it is.
func printable(r rune) bool {
	switch {
	case r < 0x20, r >= 0x7f && r < 0xa0:
		return false
	case r == 0x200c || r == 0x200d: // joiners: scripts and emoji need them
		return true
	case unicode.Is(unicode.Cf, r):
		return false
	case r >= 0xe0000 && r <= 0xe0fff: // tags and variation selectors
		return false
	}
	return true
}

// escapeLen is the length of the escape sequence that b, whose first byte is
// ESC, begins with.
func escapeLen(b []byte) int {
	if len(b) < 2 {
		return len(b)
	}
	switch c := b[1]; {
	case c == '[':
		return 2 + csiLen(b[2:])
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 {
				return i + 1
			}
			if b[i] == 0x1b {
				if i+1 < len(b) && b[i+1] == '\\' {
					return i + 2
				}
				return 2
			}
		}
		return 2
	case c >= 0x20 && c <= 0x2f: // intermediates, such as ESC ( B
		i := 1
		for i < len(b) && b[i] >= 0x20 && b[i] <= 0x2f {
			i++
		}
		if i < len(b) && b[i] >= 0x30 && b[i] <= 0x7e {
			i++
		}
		return i
	case c >= 0x30 && c <= 0x7e:
		return 2
	}
	return 1
}

// csiLen is the length of a control sequence after its introducer. A malformed
// one ends before the first byte that cannot belong to it.
func csiLen(b []byte) int {
	i := 0
	for i < len(b) && b[i] >= 0x30 && b[i] <= 0x3f {
		i++
	}
	for i < len(b) && b[i] >= 0x20 && b[i] <= 0x2f {
		i++
	}
	if i < len(b) && b[i] >= 0x40 && b[i] <= 0x7e {
		i++
	}
	return i
}

func trimLineEnd(b []byte) []byte {
	for len(b) > 0 && (b[len(b)-1] == '\n' || b[len(b)-1] == '\r') {
		b = b[:len(b)-1]
	}
	return b
}

// oneLine is Sanitize for text that should be one line but may hold several,
// such as an error: its lines are joined by spaces.
func oneLine(s string) string {
	return Sanitize([]byte(strings.Join(strings.Fields(s), " ")))
}

// brief shortens a command to what tells it from others. RUN lines can be
// thousands of characters long, and the summary shows the failed one whole.
func brief(s string) string {
	const most = 120
	if r := []rune(s); len(r) > most {
		return string(r[:most-1]) + "…"
	}
	return s
}

// maxRaw bounds what a lineSplitter holds of one line.
const maxRaw = 4 * MaxLine

// lineSplitter cuts a stream of output into sanitised lines. It holds at most
// maxRaw bytes, whatever the stream does: a segment that a carriage return
// overwrites is forgotten at once, and the middle of an endless line is not kept.
type lineSplitter struct {
	buf []byte
	cr  bool // the last byte was a carriage return
}

// write hands each line that data completes to emit.
func (l *lineSplitter) write(data []byte, emit func(string)) {
	for _, c := range data {
		switch {
		case c == '\n':
			emit(Sanitize(l.buf))
			l.buf, l.cr = l.buf[:0], false
			continue
		case c == '\r':
			l.cr = true
			continue
		case l.cr:
			l.buf, l.cr = l.buf[:0], false
		}
		if len(l.buf) < maxRaw {
			l.buf = append(l.buf, c)
		}
	}
}

// flush hands on an unfinished last line, if there is one.
func (l *lineSplitter) flush(emit func(string)) {
	if len(l.buf) > 0 {
		emit(Sanitize(l.buf))
	}
	l.buf, l.cr = nil, false
}
