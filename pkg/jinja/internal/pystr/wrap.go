package pystr

import (
	"strings"
	"unicode"
)

// Wrapper is Python's textwrap.TextWrapper: Width is the length of lines in
// characters, BreakLong breaks longer words, and Hyphens breaks after hyphens.
type Wrapper struct {
	Width              int
	BreakLong, Hyphens bool
}

// Wrap splits a text into lines.
func (w *Wrapper) Wrap(text string) []string {
	chunks := w.split([]rune(text))
	var lines []string
	for len(chunks) > 0 {
		var cur [][]rune
		n := 0
		if len(lines) > 0 && blank(chunks[0]) {
			chunks = chunks[1:]
		}
		for len(chunks) > 0 && n+len(chunks[0]) <= w.Width {
			n += len(chunks[0])
			cur = append(cur, chunks[0])
			chunks = chunks[1:]
		}
		if len(chunks) > 0 && len(chunks[0]) > w.Width {
			space := w.Width - n
			switch {
			case w.BreakLong:
				end := min(space, len(chunks[0]))
				if w.Hyphens && len(chunks[0]) > space {
					if h := strings.LastIndex(string(chunks[0][:space]), "-"); h > 0 {
						head := string(chunks[0][:space])[:h]
						if strings.Trim(head, "-") != "" {
							end = Len(head) + 1
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
		if !IsSpace(c) {
			return false
		}
	}
	return true
}

// wrapSpace reports white space of textwrap, which is ASCII only.
func wrapSpace(r rune) bool { return r == ' ' || r >= '\t' && r <= '\r' }

// split splits a text into words, white space and, with Hyphens, parts of words.
func (w *Wrapper) split(t []rune) [][]rune {
	var chunks [][]rune
	for i := 0; i < len(t); {
		end := i
		if wrapSpace(t[i]) {
			for end < len(t) && wrapSpace(t[end]) {
				end++
			}
		} else if w.Hyphens {
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

// isLetter reports whether the character at an index is a letter.
func isLetter(t []rune, i int) bool {
	return i >= 0 && i < len(t) && IsRegexWord(t[i]) && !unicode.Is(unicode.Nd, t[i])
}

// wordPunct reports whether the character at an index may precede a dash between
// words.
func wordPunct(t []rune, i int) bool {
	return i >= 0 && i < len(t) && (IsRegexWord(t[i]) || strings.ContainsRune(`!"'&.,?`, t[i]))
}

// dashes returns the number of hyphens at an index that form a dash before a word, or
// 0.
func dashes(t []rune, i int) int {
	n := 0
	for i+n < len(t) && t[i+n] == '-' {
		n++
	}
	if n < 2 || i+n >= len(t) || !IsRegexWord(t[i+n]) {
		return 0
	}
	return n
}

// hyphenChunk returns the end of the chunk that starts at i.
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
