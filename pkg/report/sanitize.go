package report

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/redact"
)

// MaxLine is the length in characters to which a line of output is cut. The log file
// has the complete line.
const MaxLine = 2000

// Sanitize makes a line of untrusted output safe to show. The result is a line of
// valid UTF-8 without control characters and escape sequences, of up to MaxLine
// characters, followed by " …" if it was cut.
//
// Escape sequences are removed completely. Of an unterminated string sequence (an
// OSC without an end) only the introducer is removed, so that it cannot hide the
// rest of a line. As on a terminal, a carriage return starts the line again, which
// leaves the last state of a progress bar, and a backspace removes a character.
// Tabs become spaces, and invalid UTF-8 becomes U+FFFD. Invisible format characters,
// such as those that change the direction of text, are removed: with them, output
// could show a path that does not exist.
//
// The logins of URLs are masked, even if escape sequences interrupt them.
func Sanitize(line []byte) string {
	var out []rune
	cut := false
	line = trimLineEnd(line)
	if bytes.Contains(line, []byte("://")) {
		line = []byte(redact.InPlace(string(line))) // before it is cut
	}
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
			// A line of tabs is limited to MaxLine.
			for len(out) < MaxLine {
				out = append(out, ' ')
				if len(out)%8 == 0 {
					break
				}
			}
		case r == '\u2028' || r == '\u2029' || r == '\n' || r == '\v' || r == '\f':
			out, cut = appendRune(out, ' ', cut)
		case !printable.Rune(r):
		default:
			out, cut = appendRune(out, r, cut)
		}
		i += n
	}
	s := string(out)
	if strings.Contains(s, "://") {
		s = redact.InPlace(s)
	}
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

// escapeLen returns the length of the escape sequence at the start of b, whose first
// byte is ESC.
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

// csiLen returns the length of a control sequence after its introducer. A malformed
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

// oneLine is Sanitize for text that may have several lines, such as an error. Its
// lines are joined by spaces.
func oneLine(s string) string {
	return Sanitize([]byte(strings.Join(strings.Fields(s), " ")))
}

// brief shortens a command. RUN lines can have thousands of characters, and the
// summary shows the failed one completely.
func brief(s string) string {
	const length = 120 // characters
	return printable.Characters(s, length)
}

// maxRaw is how many bytes of a line a lineSplitter keeps.
const maxRaw = 4 * MaxLine

// lineSplitter splits a stream of output into sanitised lines. It keeps up to maxRaw
// bytes: text that a carriage return overwrites is discarded at once, and so is
// the rest of an endless line.
type lineSplitter struct {
	buf []byte
	cr  bool // the last byte was a carriage return
}

// write calls emit for each line that data completes.
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

// flush calls emit for an incomplete last line, if there is one.
func (l *lineSplitter) flush(emit func(string)) {
	if len(l.buf) > 0 {
		emit(Sanitize(l.buf))
	}
	l.buf, l.cr = nil, false
}
