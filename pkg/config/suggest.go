package config

import (
	"fmt"
	"strings"
)

// Nearest returns the candidate that is most like a name that somebody typed, ""
// if none is like enough to be worth a suggestion.
func Nearest(name string, candidates []string) string { return nearest(name, candidates) }

// nearest returns the candidate that is most like the name, "" if none is like
// enough to be worth a suggestion. Dashes and underscores are alike, and so are
// letters in either case.
func nearest(name string, candidates []string) string {
	name = strings.TrimLeft(name, "-")
	fold := func(s string) []rune { return []rune(strings.ToLower(canonical(s))) }
	word := fold(name)
	best, least := "", 0
	if len(word) > 64 { // no name of ours is near that
		return ""
	}
	for _, c := range candidates {
		other := fold(c)
		d := distance(word, other)
		// A third of the letters may differ, and never all of a short name.
		if d > max(1, min(len(word), len(other))/3) || d >= len(word) {
			continue
		}
		if best == "" || d < least || d == least && c < best {
			best, least = c, d
		}
	}
	return best
}

// didYouMean returns the hint for a misspelt name, "" if nothing is near it.
func didYouMean(name string, candidates []string) string {
	if n := nearest(name, candidates); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	return ""
}

// distance is the number of letters to insert, delete, replace or swap with their
// neighbour to make one word of the other (Damerau's, restricted).
func distance(a, b []rune) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
