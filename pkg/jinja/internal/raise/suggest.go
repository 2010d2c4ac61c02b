package raise

import (
	"sort"
	"strings"
)

// Suggest returns a hint naming the candidate nearest to name, or "".
func Suggest(name string, candidates []string) string {
	best, bestDist := "", max(1, len(name)/3)+1
	sort.Strings(candidates)
	for _, c := range candidates {
		if c == name || strings.HasPrefix(c, "_") {
			continue
		}
		if d := editDistance(name, c, bestDist); d < bestDist {
			best, bestDist = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean `" + best + "`?"
}

// editDistance is the number of letters to insert, delete, replace or swap with a
// neighbour to get from a to b, or limit when it is no smaller.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit || len(a) > 100 {
		return limit
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		low := next[0]
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost = 1 + min(row[j], next[j], row[j+1])
				if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
					cost = min(cost, before[j-1]+1)
				}
			}
			next[j+1] = cost
			low = min(low, cost)
		}
		if low > limit {
			return limit
		}
		before, row = row, next
	}
	return row[len(b)]
}
