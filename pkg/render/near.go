package render

import "slices"

// nearest returns the candidate that name is likeliest to have been meant to
// be, "" if none is near: within a third of its length in edits.
func nearest(name string, candidates []string) string {
	sorted := slices.Sorted(slices.Values(candidates))
	best, distanceLimit := "", max(1, len(name)/3)+1
	for _, c := range sorted {
		if c == name {
			continue
		}
		if d := distance(name, c); d < distanceLimit {
			best, distanceLimit = c, d
		}
	}
	return best
}

// distance is the number of single-byte edits between a and b; a swap of
// neighbours counts as one.
func distance(a, b string) int {
	two, one, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range one {
		one[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(one[j]+1, row[j-1]+1, one[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], two[j-2]+1)
			}
		}
		two, one, row = one, row, two
	}
	return one[len(b)]
}

// didYouMean returns the hint for a name that is not there, or "".
func didYouMean(name string, candidates []string) string {
	if near := nearest(name, candidates); near != "" {
		return "did you mean \"" + near + "\"?"
	}
	return ""
}
