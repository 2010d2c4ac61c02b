package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// Outcome is how a run ended as a whole.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"
	OutcomeFailed      Outcome = "failed"
	OutcomeInterrupted Outcome = "interrupted"
)

// Run is a whole run as every report shows it: JUnit, metrics, the page and the
// history are made from this one value, so that they cannot disagree. Whatever
// is unknown, as after a run that failed early, is left empty.
type Run struct {
	Summary

	Title   string // what was built, such as "debian 12, binary, 2025.2"
	Version string // of this program
	Started time.Time
	Slots   int // images that may build at once

	// Outcome is how it ended. Summary.Err is what ended it, nil if it came to
	// its end: images that failed are in Results.
	Outcome Outcome
	// Tags are the tags that the set was published under, Registry where;
	// nothing was published if there are none.
	Registry string
	Tags     []string
	// Left are the images that a partial publication left out; Stuck counts tags
	// of a publication that failed which could not be put back.
	Left  []image.ID
	Stuck int

	Needs      map[image.ID][]image.ID // by image: its parents, that of its FROM first
	Activities []Activity              // see Recorder
	Notes      []string                // what the run told besides, such as warnings

	// Past are earlier runs of the same set, the newest first.
	Past []Record
}

// Selected returns the results of the requested images and their ancestors, in
// the order of the plan.
func (r *Run) Selected() []Result {
	var out []Result
	for _, res := range r.Results {
		if res.Status != build.StatusUnmatched && !res.NotRequested {
			out = append(out, res)
		}
	}
	return out
}

// Before returns an image's figures of the last run that has any.
func (r *Run) Before(id image.ID) (ImageRecord, bool) {
	for _, p := range r.Past {
		if im, ok := p.Images[id]; ok && im.Size > 0 {
			return im, true
		}
	}
	return ImageRecord{}, false
}

// Activity returns what was recorded of an image, the zero value if nothing was.
func (r *Run) Activity(id image.ID) Activity {
	for _, a := range r.Activities {
		if a.Image == id {
			return a
		}
	}
	return Activity{Image: id}
}

// SlowStep is a step of an image's build.
type SlowStep struct {
	Image image.ID
	StepTime
}

// SlowestSteps returns the n steps that took longest.
func (r *Run) SlowestSteps(n int) []SlowStep {
	var all []SlowStep
	for _, a := range r.Activities {
		for _, s := range a.Steps {
			all = append(all, SlowStep{a.Image, s})
		}
	}
	slices.SortStableFunc(all, func(a, b SlowStep) int { return int(b.Took - a.Took) })
	return all[:min(n, len(all))]
}

// Record returns what the history keeps of the run.
func (r *Run) Record() Record {
	rec := Record{Started: r.Started.UTC(), Seconds: seconds(r.Duration), Outcome: r.Outcome, Tags: r.Tags,
		Built: r.Count(build.StatusBuilt), Unchanged: r.Count(build.StatusUnchanged), Failed: r.Failed(), Images: map[image.ID]ImageRecord{}}
	for _, res := range r.Results {
		switch res.Status {
		case build.StatusBuilt, build.StatusUnchanged, build.StatusPushError, build.StatusLoadError:
			im := ImageRecord{Digest: res.Digest, Size: res.Size, Seconds: seconds(res.Duration)}
			if before, ok := r.Before(res.Image); ok && res.Status == build.StatusUnchanged {
				im.Seconds = before.Seconds // of the build that made it
			}
			rec.Images[res.Image] = im
		}
	}
	return rec
}

// WriteJUnitFile writes what WriteJUnit does to a file, whole or not at all.
func (r *Run) WriteJUnitFile(path string) error {
	if err := atomicfile.Output(path, atomicfile.Options{}, r.WriteJUnit); err != nil {
		return fmt.Errorf("writing the JUnit report: %w", err)
	}
	return nil
}

// WriteOpenMetricsFile writes what WriteOpenMetrics does to a file, whole or not
// at all, since a collector may read it at any time.
func (r *Run) WriteOpenMetricsFile(path string) error {
	if err := atomicfile.Output(path, atomicfile.Options{}, r.WriteOpenMetrics); err != nil {
		return fmt.Errorf("writing metrics: %w", err)
	}
	return nil
}
