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

// Wrap splits a text into lines. It finds one chunk after the other, since a list of the chunks
// of a text of single letters would take a dozen times its size.
func (w *Wrapper) Wrap(text string) []string {
	t := []rune(text)
	var lines []string
	// The next chunk, or what is left of it, is t[at:end]; it is empty at the end of the text.
	at, end := 0, w.chunkEnd(t, 0)
	next := func() { at, end = end, w.chunkEnd(t, end) }
	for at < len(t) {
		if len(lines) > 0 && blank(t[at:end]) {
			next()
		}
		// The line is t[start:at], and last is where its last chunk starts.
		start, last := at, at
		for at < len(t) && end-start <= w.Width {
			last = at
			next()
		}
		switch {
		case end-at <= w.Width: // the chunk fits in the next line, or there is none
		case w.BreakLong:
			space := w.Width - (at - start)
			if w.Width < 1 { // as in Python, for a width of 0.5
				space = 1
			}
			last = at
			at += w.breakAt(t[at:end], space)
		case at == start:
			next()
		}
		stop := at
		if blank(t[last:stop]) {
			stop = last
		}
		if stop > start {
			lines = append(lines, string(t[start:stop]))
		}
	}
	return lines
}

// breakAt returns how many characters of a long chunk fit in a space, with Hyphens up to a
// hyphen.
func (w *Wrapper) breakAt(chunk []rune, space int) int {
	end := min(space, len(chunk))
	if w.Hyphens && len(chunk) > space {
		if h := strings.LastIndex(string(chunk[:space]), "-"); h > 0 {
			head := string(chunk[:space])[:h]
			if strings.Trim(head, "-") != "" {
				end = Len(head) + 1
			}
		}
	}
	return end
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

// chunkEnd returns the end of the chunk that starts at i: a word, white space or, with Hyphens,
// a part of a word.
func (w *Wrapper) chunkEnd(t []rune, i int) int {
	switch {
	case i >= len(t):
		return i
	case !wrapSpace(t[i]) && w.Hyphens:
		return hyphenChunk(t, i)
	}
	end := i
	for space := wrapSpace(t[i]); end < len(t) && wrapSpace(t[end]) == space; end++ {
	}
	return end
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
