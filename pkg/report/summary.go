package report

import (
	"sort"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
)

// Summary is what became of a run. It is a value: fill it in and print it with
// WriteText, WriteJSON or WriteJSONFile.
type Summary struct {
	// Results has one entry per image of the tree, in any order. Images that
	// were not selected, excluded or unbuildable belong in it with their status.
	Results []build.Result

	// Duration is how long the run took, 0 if unknown.
	Duration time.Duration

	// AllowedToFail names the images whose failure does not fail the run.
	AllowedToFail []string

	// Err is what ended the run before its images had, nil if it came to its end.
	Err error

	// Next are lines for the user at the very end: what to type next.
	Next []string
}

// Failed returns how many images failed, those that may fail left out: the run
// as a whole failed if it is not 0.
func (s Summary) Failed() int {
	allowed := s.allowed()
	n := 0
	for _, r := range s.Results {
		if r.Status.Bad() && !allowed[r.Image] {
			n++
		}
	}
	return n
}

// Count returns how many images have one of the statuses.
func (s Summary) Count(statuses ...build.Status) int {
	n := 0
	for _, r := range s.Results {
		for _, st := range statuses {
			if r.Status == st {
				n++
			}
		}
	}
	return n
}

func (s Summary) allowed() map[string]bool {
	m := map[string]bool{}
	for _, name := range s.AllowedToFail {
		m[name] = true
	}
	return m
}

// with returns the results that have one of the statuses, sorted by name.
func (s Summary) with(statuses ...build.Status) []build.Result {
	var out []build.Result
	for _, r := range s.Results {
		for _, st := range statuses {
			if r.Status == st {
				out = append(out, r)
			}
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return out[i].Image < out[j].Image })
	return out
}

// Culprit returns the failed ancestor that r was not tried for, "" if it is
// unknown.
func (s Summary) Culprit(r build.Result) string {
	byName := map[string]build.Result{}
	for _, o := range s.Results {
		byName[o.Image] = o
	}
	return culprit(r, byName)
}

func culprit(r build.Result, byName map[string]build.Result) string {
	seen := map[string]bool{}
	for p := r.Parent; p != "" && !seen[p]; {
		seen[p] = true
		pr, ok := byName[p]
		if !ok {
			break
		}
		switch pr.Status {
		case build.StatusParentError:
			p = pr.Parent
			continue
		case build.StatusError, build.StatusPushError, build.StatusLoadError, build.StatusCanceled:
			return p
		}
		break
	}
	return ""
}
