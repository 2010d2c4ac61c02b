package jinja

import (
	"math"
	"strings"
	"unicode"
)

// wordwrapFilter wraps each line of a text by itself, as Python's textwrap does.
func wordwrapFilter(fr *vframe, a []any) any {
	s, ok := asStr(a[0])
	if !ok {
		checkUndefined(a[0], nil)
		raiseKind(KindRuntime, "AttributeError", "'%s' object has no attribute 'splitlines'", typeName(a[0]))
	}
	sep := "\n"
	if v := opt(a[3], nil); v != nil {
		sep = strArg(v, "wrapstring")
	}
	breakLong, hyphens := optTrue(a[2], true), optTrue(a[4], true)
	fr.alloc(8 * len(s))
	var out []string
	for _, line := range splitLines(s, false) {
		fr.work(len(line))
		w := wrapper{width: wrapWidth(opt(a[1], int64(79)), line), breakLong: breakLong, hyphens: hyphens}
		out = append(out, strings.Join(w.wrap(line), sep))
	}
	return joinStrings(fr, out, sep)
}

func wrapWidth(v any, line string) int {
	f, ok := v.(float64)
	if ok {
		if f <= 0 {
			raiseValue("invalid width %s (must be > 0)", floatRepr(f))
		}
		for _, chunk := range strings.FieldsFunc(line, isSpace) {
			if float64(runeLen(chunk)) > f {
				raiseType("slice indices must be integers or None or have an __index__ method")
			}
		}
		return int(math.Floor(min(f, 1<<30)))
	}
	n := intArg(v)
	if n <= 0 {
		raiseValue("invalid width %d (must be > 0)", n)
	}
	return n
}

type wrapper struct {
	width              int
	breakLong, hyphens bool
}

// wrap fills lines with the chunks of a text.
func (w *wrapper) wrap(text string) []string {
	chunks := w.split([]rune(text))
	var lines []string
	for len(chunks) > 0 {
		var cur [][]rune
		n := 0
		if len(lines) > 0 && blank(chunks[0]) {
			chunks = chunks[1:]
		}
		for len(chunks) > 0 && n+len(chunks[0]) <= w.width {
			n += len(chunks[0])
			cur = append(cur, chunks[0])
			chunks = chunks[1:]
		}
		if len(chunks) > 0 && len(chunks[0]) > w.width {
			space := w.width - n
			switch {
			case w.breakLong:
				end := min(space, len(chunks[0]))
				if w.hyphens && len(chunks[0]) > space {
					if h := strings.LastIndex(string(chunks[0][:space]), "-"); h > 0 {
						head := string(chunks[0][:space])[:h]
						if strings.Trim(head, "-") != "" {
							end = runeLen(head) + 1
						}
					}
				}
				cur = append(cur, chunks[0][:end])
				chunks[0] = chunks[0][end:]
			case len(cur) == 0:
				cur = append(cur, chunks[0])
				chunks = chunks[1:]
			}
		}
		if len(cur) > 0 && blank(cur[len(cur)-1]) {
			cur = cur[:len(cur)-1]
		}
		if len(cur) > 0 {
			var b strings.Builder
			for _, c := range cur {
				b.WriteString(string(c))
			}
			lines = append(lines, b.String())
		}
	}
	return lines
}

func blank(r []rune) bool {
	for _, c := range r {
		if !isSpace(c) {
			return false
		}
	}
	return true
}

// wrapSpace is textwrap's white space: ASCII only.
func wrapSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// split cuts a text into words, spaces and, where asked, at hyphens and dashes.
func (w *wrapper) split(t []rune) [][]rune {
	var chunks [][]rune
	for i := 0; i < len(t); {
		end := i
		if wrapSpace(t[i]) {
			for end < len(t) && wrapSpace(t[end]) {
				end++
			}
		} else if w.hyphens {
			end = hyphenChunk(t, i)
		} else {
			for end < len(t) && !wrapSpace(t[end]) {
				end++
			}
		}
		chunks = append(chunks, t[i:end])
		i = end
	}
	return chunks
}

func isLetter(t []rune, i int) bool {
	return i >= 0 && i < len(t) && isRegexWord(t[i]) && !unicode.Is(unicode.Nd, t[i])
}

// wordPunct is what may stand before a dash between words.
func wordPunct(t []rune, i int) bool {
	return i >= 0 && i < len(t) && (isRegexWord(t[i]) || strings.ContainsRune(`!"'&.,?`, t[i]))
}

// dashes is the number of hyphens of a dash that a word follows, or 0.
func dashes(t []rune, i int) int {
	n := 0
	for i+n < len(t) && t[i+n] == '-' {
		n++
	}
	if n < 2 || i+n >= len(t) || !isRegexWord(t[i+n]) {
		return 0
	}
	return n
}

// hyphenChunk finds the end of the chunk that begins at i.
func hyphenChunk(t []rune, i int) int {
	if wordPunct(t, i-1) {
		if n := dashes(t, i); n > 0 {
			return i + n
		}
	}
	for p := i + 1; ; p++ {
		if p < len(t) && t[p] == '-' {
			before := isLetter(t, p-1) && isLetter(t, p-2) || isLetter(t, p-1) && p >= 2 && t[p-2] == '-' && isLetter(t, p-3)
			after := isLetter(t, p+1) && (isLetter(t, p+2) || p+2 < len(t) && t[p+2] == '-' && isLetter(t, p+3))
			if before && after {
				return p + 1
			}
		}
		if p >= len(t) || wrapSpace(t[p]) {
			return p
		}
		if wordPunct(t, p-1) && dashes(t, p) > 0 {
			return p
		}
	}
}
