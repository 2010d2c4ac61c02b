// Package suggest finds the names that a user may have meant by a misspelled one. It
// must not know where names come from.
package suggest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
)

// maxName is the longest name, in bytes, that is compared at all. No option,
// image or variable has a longer one, and the comparison is quadratic.
const maxName = 100

// Nearest returns the candidate most similar to name, or "" if no candidate is
// similar enough. Up to a third of the letters may differ; letter case does not
// count, and dashes equal underscores. The name itself is not a candidate.
func Nearest(name string, candidates []string) string {
	if near := similar(name, candidates, false); len(near) > 0 {
		return near[0]
	}
	return ""
}

// Near returns up to limit candidates, the most similar first: those that Nearest
// considers, then those that contain name or are contained in it.
func Near(name string, candidates []string, limit int) []string {
	near := similar(name, candidates, true)
	return near[:min(len(near), limit)]
}

// NearParts returns what Near does, else up to limit of the words between the dashes of
// candidates that are similar to name: nova of nova-api for noova. Every name of three letters
// is similar to one of them.
func NearParts(name string, candidates []string, limit int) []string {
	near := similar(name, candidates, true)
	if len(near) == 0 && len(name) > 3 {
		var parts []string
		for _, c := range candidates {
			parts = append(parts, strings.Split(c, "-")...)
		}
		near = similar(name, parts, false)
	}
	return near[:min(len(near), limit)]
}

// DidYouMean returns the hint for a name that does not exist, such as
// `did you mean "nova-api"?`, or "" if no candidate is similar enough.
func DidYouMean(name string, candidates []string) string {
	near := Nearest(name, candidates)
	if near == "" {
		return ""
	}
	return fmt.Sprintf("did you mean %q?", near)
}

// DidYouMeanAny returns the hint with similar names, such as those of Near, or "" if there are
// none.
func DidYouMeanAny(near []string) string {
	if len(near) == 0 {
		return ""
	}
	return "did you mean " + strings.Join(near, ", ") + "?"
}

// DidYouMeanOfMany is DidYouMean for tens of thousands of candidates, such as the packages of
// a distribution, among which is something similar to every word: one letter of five may
// differ, two at most.
func DidYouMeanOfMany(name string, candidates []string) string {
	word := fold(name)
	most := max(1, min(2, len(word)/5))
	var near []string
	for _, c := range candidates {
		if d := len(c) - len(name); d >= -most && d <= most && distance(word, fold(c), most) <= most {
			near = append(near, c)
		}
	}
	return DidYouMean(name, near)
}

func similar(name string, candidates []string, parts bool) []string {
	if len(name) > maxName {
		return nil
	}
	type scored struct {
		name  string
		score int
	}
	var found []scored
	word := fold(name)
	for _, c := range candidates {
		if c == name || c == "" || len(c) > maxName {
			continue
		}
		other := fold(c)
		limit := max(1, min(len(word), len(other))/3)
		d := distance(word, other, limit)
		switch {
		case d <= limit && d < len(word): // not every letter of a short name
			if first, _, more := strings.Cut(string(word), "-"); more && strings.HasPrefix(string(other), first+"-") {
				d /= 2 // of the same service, which is rarely misspelled by several letters
			}
			found = append(found, scored{c, d})
		case parts && (len(word) > 2 && strings.Contains(string(other), string(word)) ||
			len(other) > 2 && strings.Contains(string(word), string(other))):
			found = append(found, scored{c, maxName + max(len(other)-len(word), len(word)-len(other))})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.name, b.name))
	})
	var names []string
	for _, f := range found {
		names = append(names, f.name)
	}
	return slices.Compact(names)
}

func fold(s string) []rune { return []rune(strings.ReplaceAll(strings.ToLower(s), "_", "-")) }

// distance returns the number of insertions, deletions, replacements and exchanges of
// neighbouring letters that turn one word into the other, or limit+1 if it is larger
// than limit. The library counts an exchange as two edits, so a single exchange, the
// usual typing mistake, is tried here.
func distance(a, b []rune, limit int) int {
	d := edits(a, b, limit+1)
	if d < 2 || d > limit+1 {
		return min(d, limit+1) // an exchange saves no more than one edit
	}
	for i := range len(a) - 1 {
		if a[i] == a[i+1] {
			continue
		}
		swapped := slices.Clone(a)
		swapped[i], swapped[i+1] = a[i+1], a[i]
		d = min(d, 1+edits(swapped, b, limit))
	}
	return min(d, limit+1)
}

// edits returns the Levenshtein distance, or limit+1 if it is larger than limit.
func edits(a, b []rune, limit int) int {
	if d := len(a) - len(b); d > limit || -d > limit {
		return limit + 1
	}
	// No limit is passed: version 1.2.3 returns wrong distances with one (2 at a
	// limit of 2 for "threads" and "base-tag", which are 7 apart).
	d, _, _ := levenshtein.Calculate(a, b, 0, 1, 1, 1)
	return min(d, limit+1)
}
