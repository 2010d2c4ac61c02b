package report

import (
	"slices"
	"sort"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// Summary is the result of a run, to be printed with WriteText, WriteJSON or
// WriteJSONFile.
type Summary struct {
	// Results has an entry per image of the tree, in any order, also for images
	// that were not selected, excluded or unbuildable.
	Results []Result

	// Duration is the duration of the run, 0 if unknown.
	Duration time.Duration

	// Times are the times of the stages and images.
	Times Times

	// AllowedToFail are the images whose failure does not fail the run.
	AllowedToFail []image.ID

	// Err is the error that ended the run before its images, or nil.
	Err error

	// Next are suggestions for the next command, printed at the end.
	Next []string
}

// Failed returns the number of failed images, without those that are allowed to fail.
// If it is not 0, the run failed.
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

// Count returns the number of requested images with one of the statuses.
func (s Summary) Count(statuses ...build.Status) int {
	n := 0
	for _, r := range s.Results {
		if !r.NotRequested && slices.Contains(statuses, r.Status) {
			n++
		}
	}
	return n
}

func (s Summary) allowed() map[image.ID]bool {
	m := map[image.ID]bool{}
	for _, id := range s.AllowedToFail {
		m[id] = true
	}
	return m
}

// with returns the results that have one of the statuses, sorted by name.
func (s Summary) with(statuses ...build.Status) []Result {
	var out []Result
	for _, r := range s.Results {
		if slices.Contains(statuses, r.Status) {
			out = append(out, r)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return image.Compare(out[i].Image, out[j].Image) < 0 })
	return out
}

// FailedAncestor returns the ancestor whose failure caused r to be skipped, the zero ID if
// it is unknown.
func (s Summary) FailedAncestor(r Result) image.ID { return failedAncestor(r, s.byID()) }

func (s Summary) byID() map[image.ID]Result {
	m := make(map[image.ID]Result, len(s.Results))
	for _, r := range s.Results {
		m[r.Image] = r
	}
	return m
}

func failedAncestor(r Result, byID map[image.ID]Result) image.ID {
	seen := map[image.ID]bool{}
	for p := r.Parent; !p.IsZero() && !seen[p]; {
		seen[p] = true
		pr, ok := byID[p]
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
	return image.ID{}
}
