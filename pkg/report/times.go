package report

import (
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// StageTime is the time of a stage that does not concern an image, such as rendering.
type StageTime struct {
	Name  string
	Start time.Time
	Took  time.Duration
}

// Times are the times of a run. A run that built nothing has the zero value.
type Times struct {
	Stages []StageTime

	// BeforeBuilds is the time until the first build began. AfterBuilds is the time
	// from the end of the last build.
	BeforeBuilds, AfterBuilds time.Duration

	Images map[image.ID]map[Phase]time.Duration // that were built
}

// Total returns the sum of all images.
func (t Times) Total() map[Phase]time.Duration {
	total := map[Phase]time.Duration{}
	for _, phases := range t.Images {
		for p, d := range phases {
			total[p] += d
		}
	}
	return total
}

// timesOf computes the times of a run, from started to ended. begun is the start of its
// scheduler.
func timesOf(activities []Activity, dependencies map[image.ID][]image.ID, stages []StageTime,
	started, begun, ended time.Time) Times {
	t := Times{Stages: stages, Images: map[image.ID]map[Phase]time.Duration{}}
	built := map[image.ID]Activity{}
	var first, last time.Time
	for _, a := range activities {
		if a.Start.IsZero() {
			continue
		}
		built[a.Image] = a
		if first.IsZero() || a.Start.Before(first) {
			first = a.Start
		}
		if a.End.After(last) {
			last = a.End
		}
	}
	if first.IsZero() {
		return t
	}
	if begun.IsZero() {
		begun = first
	}
	t.BeforeBuilds, t.AfterBuilds = max(0, first.Sub(started)), max(0, ended.Sub(last))
	for id, a := range built {
		ready := begun
		for _, n := range dependencies[id] {
			if p, ok := built[n]; ok && p.End.After(ready) {
				ready = p.End
			}
		}
		t.Images[id] = imageTimes(a, begun, ready)
	}
	return t
}

// imageTimes divides the time of an image, which could start at ready.
func imageTimes(activity Activity, begun, ready time.Time) map[Phase]time.Duration {
	phases := map[Phase]time.Duration{}
	add := func(p Phase, d time.Duration) {
		if d > 0 {
			phases[p] += d
		}
	}
	add(PhaseParents, ready.Sub(begun))
	add(PhaseSlot, activity.Start.Sub(ready))
	finished := activity.End
	var inSteps []Interval
	for _, s := range activity.Steps {
		if s.Kind == build.StepCompress {
			finished = s.Start.Add(s.Took)
		} else {
			inSteps = append(inSteps, Interval{s.Start, s.Start.Add(s.Took)})
		}
		for p, d := range s.Phases {
			add(p, d)
		}
	}
	add(PhaseSnapshots, activity.End.Sub(activity.Start)-covered(inSteps, activity.Start, activity.End))
	if !activity.Push.Start.IsZero() {
		add(PhaseUploadWait, activity.Push.Start.Sub(finished))
		add(PhaseUpload, activity.Push.End.Sub(activity.Push.Start))
	}
	return phases
}

// covered returns how much of the time from start to end is in at least one of the
// intervals.
func covered(intervals []Interval, start, end time.Time) time.Duration {
	slices.SortFunc(intervals, func(a, b Interval) int { return a.Start.Compare(b.Start) })
	var sum time.Duration
	at := start
	for _, i := range intervals {
		from, to := i.Start, i.End
		if from.Before(at) {
			from = at
		}
		if to.After(end) {
			to = end
		}
		if to.After(from) {
			sum += to.Sub(from)
			at = to
		}
	}
	return sum
}
