package pystr

import (
	"strings"
	"unicode/utf8"
)

// Split is s.split(None, limit), or rsplit from the right. A negative limit means no limit.
func Split(s string, limit int, right bool) []string {
	var parts []string
	if right {
		for s = strings.TrimRightFunc(s, IsSpace); s != ""; s = strings.TrimRightFunc(s, IsSpace) {
			if limit >= 0 && len(parts) == limit {
				parts = append(parts, s)
				break
			}
			i := strings.LastIndexFunc(s, IsSpace)
			if i < 0 {
				parts = append(parts, s)
				break
			}
			_, size := utf8.DecodeRuneInString(s[i:])
			parts = append(parts, s[i+size:])
			s = s[:i]
		}
		for i, j := 0, len(parts)-1; i < j; i, j = i+1, j-1 {
			parts[i], parts[j] = parts[j], parts[i]
		}
		return parts
	}
	for s = strings.TrimLeftFunc(s, IsSpace); s != ""; s = strings.TrimLeftFunc(s, IsSpace) {
		if limit >= 0 && len(parts) == limit {
			parts = append(parts, s)
			break
		}
		i := strings.IndexFunc(s, IsSpace)
		if i < 0 {
			parts = append(parts, s)
			break
		}
		parts = append(parts, s[:i])
		s = s[i:]
	}
	return parts
}

// SplitLines is str.splitlines. It knows more line breaks than \n.
func SplitLines(s string, keep bool) []string {
	var lines []string
	start := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		end := i + size
		switch r {
		case '\r':
			if end < len(s) && s[end] == '\n' {
				end++
			}
			fallthrough
		case '\n', '\v', '\f', 0x1c, 0x1d, 0x1e, 0x85, 0x2028, 0x2029:
			if keep {
				lines = append(lines, s[start:end])
			} else {
				lines = append(lines, s[start:i])
			}
			start = end
		}
		i = end
	}
	if start < len(s) {
		lines = append(lines, s[start:])
	}
	return lines
}

// WordsWithSpace splits a string into words with the white space that follows them.
func WordsWithSpace(s string) []string {
	var parts []string
	start, space := 0, false
	for i, r := range s {
		if IsSpace(r) {
			space = true
		} else if space {
			parts = append(parts, s[start:i])
			start, space = i, false
		}
	}
	return append(parts, s[start:])
}

// Slice returns count characters from start on, step apart.
func Slice(s string, start, step, count int64) string {
	if count == 0 {
		return ""
	}
	if IsASCII(s) {
		if step == 1 {
			return s[start : start+count]
		}
		out := make([]byte, count)
		for i := range out {
			out[i] = s[start+int64(i)*step]
		}
		return string(out)
	}
	r := []rune(s)
	out := make([]rune, count)
	for i := range out {
		out[i] = r[start+int64(i)*step]
	}
	return string(out)
}
