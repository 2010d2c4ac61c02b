package main

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// summary is a line with all figures of a build.
func (u usage) summary() string {
	text := fmt.Sprintf("%s, %.0f s of CPU time, %s pushed, memory at most %s", seconds(u.wall), u.total.Seconds(),
		megabytes(u.pushed), megabytes(u.peak))
	if u.builderPeak > 0 {
		text += " and the builder " + megabytes(u.builderPeak)
	}
	if u.note != "" {
		text += ", " + u.note
	}
	return text
}

// realTable adds the medians of the measurements to the table.
func (b *bench) realTable(results map[string]map[string][]usage) {
	for _, c := range realCases {
		own := results[c.name][self]
		if len(own) == 0 {
			continue
		}
		m := median(own)
		r := b.add(b.realName()+": "+c.what, c.target, m.summary()+rounds(own))
		for _, peer := range allPeers {
			if others := results[c.name][peer]; len(others) > 0 {
				t := median(others)
				r.peers[peer] = fmt.Sprintf("%s%s; kolla-build takes %.2f of its time", t.summary(), rounds(others),
					m.wall.Seconds()/t.wall.Seconds())
			}
		}
	}
}

func (b *bench) realName() string {
	if b.regex != "" {
		return "images " + b.regex
	}
	return "quickstart set"
}

// median returns the run with the median time.
func median(runs []usage) usage {
	sorted := slices.SortedFunc(slices.Values(runs), func(a, b usage) int { return cmp.Compare(a.wall, b.wall) })
	return sorted[(len(sorted)-1)/2]
}

func rounds(runs []usage) string {
	if len(runs) == 1 {
		return " (1 run)"
	}
	var walls []string
	for _, u := range runs {
		walls = append(walls, seconds(u.wall))
	}
	return fmt.Sprintf(" (median of %s)", strings.Join(walls, ", "))
}
