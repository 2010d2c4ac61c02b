package buildkit

import (
	"bytes"
	"cmp"
	"slices"

	"github.com/moby/buildkit/frontend/dockerfile/linter"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// Warning is a finding of BuildKit's linter.
type Warning struct {
	Rule string // such as "NoEmptyContinuation"
	Text string
	Line int // of the Dockerfile, 1-based; 0 if it is not known
}

// String formats a warning as docker build does.
func (w Warning) String() string { return w.Rule + ": " + w.Text }

// collectWarnings returns a function for BuildKit's frontend that adds to a list.
func collectWarnings(to *[]Warning) linter.LintWarnFunc {
	return func(rule, _, _, text string, location []parser.Range) {
		w := Warning{Rule: rule, Text: text}
		if len(location) > 0 {
			w.Line = location[0].Start.Line
		}
		*to = append(*to, w)
	}
}

// emptyContinuation moves warnings about empty lines within an instruction from its last
// line, where BuildKit reports them, to the empty line.
func emptyContinuation(warnings []Warning, content []byte) {
	var lines [][]byte
	if len(warnings) > 0 {
		lines = bytes.Split(content, []byte("\n"))
	}
	for i, w := range warnings {
		if w.Rule != linter.RuleNoEmptyContinuation.Name {
			continue
		}
		for n := min(w.Line, len(lines)) - 1; n > 0; n-- {
			if len(bytes.TrimSpace(lines[n-1])) == 0 {
				warnings[i].Line = n
				break
			}
		}
	}
}

// sortWarnings sorts warnings by line and removes duplicates: the frontend repeats some
// for each stage.
func sortWarnings(warnings []Warning) []Warning {
	slices.SortFunc(warnings, func(a, b Warning) int {
		return cmp.Or(a.Line-b.Line, cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Text, b.Text))
	})
	return slices.Compact(warnings)
}
