package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// Outcome is the outcome of a whole run.
type Outcome string

// The outcomes.
const (
	OutcomeOK          Outcome = "ok"
	OutcomeFailed      Outcome = "failed"
	OutcomeInterrupted Outcome = "interrupted"
)

// Run is a finished run. JUnit, metrics, the page and the history are made only from
// this value, so that they agree. Unknown fields, as after a run that failed early, are
// empty.
type Run struct {
	Summary

	Title   string // title of the set, such as "debian 12, binary, 2025.2"
	Set     Set
	Version string // of this program
	Started time.Time
	Slots   int // images that may build at once

	// Outcome is the outcome of the run. If an error ended it, that is Summary.Err;
	// failed images are in Results.
	Outcome Outcome
	// The set was published in Registry under Tags. No tags mean that it was not
	// published.
	Registry string
	Tags     []string
	// Publishes is set if the run was to publish a set. NothingNew is set if a
	// nightly run had none to publish.
	Publishes, NothingNew bool
	// Left are the images that a partial publication omitted. Stuck is the number
	// of tags that a failed publication could not restore.
	Left  []image.ID
	Stuck int

	Needs      map[image.ID][]image.ID // the parents of each image, that of its FROM first
	Activities []Activity              // see Recorder
	Notes      []string                // messages such as warnings

	// Past are earlier runs of the set, the newest first.
	Past []Record
}

// Set identifies the set of a run in the history.
type Set struct {
	Base string // such as "debian"
	Type string // "binary" or "source"
	Name string // registry, namespace, prefix and the tag without its date
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

// Before returns the record of an image in the latest run that has one.
func (r *Run) Before(id image.ID) (ImageRecord, bool) {
	for _, p := range r.Past {
		if im, ok := p.Images[id]; ok && im.Size > 0 {
			return im, true
		}
	}
	return ImageRecord{}, false
}

// Activity returns the activity of an image, without times if there was none.
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
	var steps []SlowStep
	for _, a := range r.Activities {
		for _, s := range a.Steps {
			steps = append(steps, SlowStep{a.Image, s})
		}
	}
	slices.SortStableFunc(steps, func(a, b SlowStep) int { return int(b.Took - a.Took) })
	return steps[:min(n, len(steps))]
}

// Record returns the record of the run for the history.
func (r *Run) Record() Record {
	rec := Record{
		Started:   r.Started.UTC(),
		Seconds:   seconds(r.Duration),
		Outcome:   r.Outcome,
		Tags:      r.Tags,
		Built:     r.Count(build.StatusBuilt),
		Unchanged: r.Count(build.StatusUnchanged),
		Failed:    r.Failed(),
		Images:    map[image.ID]ImageRecord{},
	}
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

// WriteJUnitFile writes the output of WriteJUnit to a file atomically.
func (r *Run) WriteJUnitFile(path string) error {
	if err := atomicfile.Output(path, atomicfile.Options{}, r.WriteJUnit); err != nil {
		return fmt.Errorf("writing the JUnit report: %w", err)
	}
	return nil
}

// WriteOpenMetricsFile writes the output of WriteOpenMetrics to a file atomically,
// because a collector may read it at any time.
func (r *Run) WriteOpenMetricsFile(path string) error {
	if err := atomicfile.Output(path, atomicfile.Options{}, r.WriteOpenMetrics); err != nil {
		return fmt.Errorf("writing metrics: %w", err)
	}
	return nil
}
