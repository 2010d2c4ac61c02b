package graph

import (
	"cmp"
	"slices"
	"strings"
)

// Near returns at most limit of candidates that name may have been meant to be,
// the likeliest first: those within a third of its length in edits (a swap of
// neighbours counts as one), then those that contain it or that it contains.
func Near(name string, candidates []string, limit int) []string {
	type scored struct {
		name  string
		score int
	}
	var found []scored
	most := max(1, len(name)/3)
	for _, c := range candidates {
		if c == name || c == "" {
			continue
		}
		d := distance(name, c, most)
		switch {
		case d <= most:
			found = append(found, scored{c, d})
		case len(name) > 2 && strings.Contains(c, name), len(c) > 2 && strings.Contains(name, c):
			found = append(found, scored{c, most + 1 + max(len(c)-len(name), len(name)-len(c))})
		}
	}
	slices.SortFunc(found, func(a, b scored) int {
		return cmp.Or(cmp.Compare(a.score, b.score), cmp.Compare(a.name, b.name))
	})
	var out []string
	for _, f := range found {
		if len(out) == limit {
			break
		}
		if !slices.Contains(out, f.name) {
			out = append(out, f.name)
		}
	}
	return out
}

// distance is the number of single-byte edits and swaps of neighbours between a
// and b, or something above most as soon as it is certain to be above.
func distance(a, b string, most int) int {
	if d := len(a) - len(b); d > most || -d > most {
		return most + 1
	}
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		best := i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
			best = min(best, row[j])
		}
		if best > most {
			return most + 1
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}
