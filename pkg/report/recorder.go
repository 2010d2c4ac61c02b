package report

import (
	"slices"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// Activity holds the times of a run's work for an image.
type Activity struct {
	Image      image.ID
	Start, End time.Time // of the build; both zero for an image that was not built
	Push       Interval  // the upload of its content, zero if there was none
	Steps      []StepTime
	Slot       int // the row of the timeline, from 0
}

// Interval is a time from Start to End.
type Interval struct{ Start, End time.Time }

// StepTime is one step of an image's build.
type StepTime struct {
	Name  string
	Kind  build.StepKind
	Start time.Time
	Took  time.Duration
	Err   string

	// Phases divide the time of the step.
	Phases map[Phase]time.Duration
}

// Recorder records the activities of a run and their times, for its reports. Its
// methods may be called from several goroutines.
type Recorder struct {
	mu     sync.Mutex
	images map[image.ID]*Activity
	open   map[image.ID]map[string]openStep // running steps, by image and ID
	order  []image.ID
	notes  []string
	stages []StageTime
	begun  time.Time // when the scheduler began
}

// openStep is a running step.
type openStep struct {
	StepTime
	clock *stepClock
}

// maxNotes is how many messages of a run are kept for its reports.
const maxNotes = 200

// Handle records an event.
func (r *Recorder) Handle(e build.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch e.Kind {
	case build.EventRunStart:
		if r.begun.IsZero() {
			r.begun = e.Time
		}
	case build.EventImageStart:
		r.image(e.Image).Start = e.Time
	case build.EventStepStart:
		r.image(e.Image)
		r.open[e.Image][e.Step.ID] = openStep{
			StepTime{Name: e.Step.Name, Kind: e.Step.Kind, Start: e.Time}, newStepClock(e.Step.Kind, e.Time),
		}
	case build.EventLog:
		if s, ok := r.open[e.Image][e.Step.ID]; ok {
			s.clock.output(e.Time, e.Data)
		}
	case build.EventStepEnd:
		a := r.image(e.Image)
		s, ok := r.open[e.Image][e.Step.ID]
		if !ok || e.Step.Cached {
			return
		}
		delete(r.open[e.Image], e.Step.ID)
		s.Took, s.Err = e.Step.Duration, e.Step.Err
		if s.Took == 0 {
			s.Took = e.Time.Sub(s.Start)
		}
		s.Phases = s.clock.end(e.Time, s.Took)
		a.Steps = append(a.Steps, s.StepTime)
	case build.EventMessage:
		if len(r.notes) < maxNotes {
			r.notes = append(r.notes, oneLine(e.Text))
		}
	case build.EventPushStart:
		a := r.image(e.Image)
		a.Push.Start = e.Time
	case build.EventPushEnd:
		r.image(e.Image).Push.End = e.Time
	case build.EventImageEnd:
		if a := r.images[e.Image]; a != nil && !a.Start.IsZero() {
			a.End = e.Time
			if res := e.Result; res != nil && !res.Started.IsZero() && res.Duration > 0 {
				a.Start, a.End = res.Started, res.Started.Add(res.Duration)
			}
		}
	}
}

func (r *Recorder) image(id image.ID) *Activity {
	if r.images == nil {
		r.images, r.open = map[image.ID]*Activity{}, map[image.ID]map[string]openStep{}
	}
	a := r.images[id]
	if a == nil {
		a = &Activity{Image: id}
		r.images[id] = a
		r.open[id] = map[string]openStep{}
		r.order = append(r.order, id)
	}
	return a
}

// Notes returns the messages of the run that do not concern an image.
func (r *Recorder) Notes() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.notes)
}

// Stage records a stage of the run that does not concern an image. The caller calls end
// when it is over. A nil Recorder records nothing.
func (r *Recorder) Stage(name string) (end func()) {
	if r == nil {
		return func() {}
	}
	start := time.Now()
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.stages = append(r.stages, StageTime{Name: name, Start: start, Took: time.Since(start)})
	}
}

// Times returns the times of the run, which started and ended at the given times. dependencies
// has the parents of each image.
func (r *Recorder) Times(dependencies map[image.ID][]image.ID, started, ended time.Time) Times {
	activities := r.Activities(ended)
	r.mu.Lock()
	defer r.mu.Unlock()
	return timesOf(activities, dependencies, slices.Clone(r.stages), started, r.begun, ended)
}

// Activities returns the recorded activities: builds in the order of their starts, then
// images that were only pushed. Activities that have not ended end at now.
func (r *Recorder) Activities(now time.Time) []Activity {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Activity
	for _, id := range r.order {
		a := *r.images[id]
		a.Steps = slices.Clone(a.Steps)
		for _, s := range r.open[id] {
			s.Took = now.Sub(s.Start)
			s.Phases = map[Phase]time.Duration{stepPhases[s.Kind]: s.Took}
			a.Steps = append(a.Steps, s.StepTime)
		}
		slices.SortStableFunc(a.Steps, func(x, y StepTime) int { return x.Start.Compare(y.Start) })
		if !a.Start.IsZero() && a.End.IsZero() {
			a.End = now
		}
		if !a.Push.Start.IsZero() && a.Push.End.IsZero() {
			a.Push.End = now
		}
		out = append(out, a)
	}
	slices.SortStableFunc(out, func(x, y Activity) int {
		switch {
		case x.Start.IsZero() != y.Start.IsZero():
			if x.Start.IsZero() {
				return 1
			}
			return -1
		case !x.Start.Equal(y.Start):
			return x.Start.Compare(y.Start)
		}
		return x.Push.Start.Compare(y.Push.Start)
	})
	assignSlots(out)
	return out
}

// assignSlots assigns each build to the first row that is free when it starts. The
// scheduler does not number its slots.
func assignSlots(activities []Activity) {
	var free []time.Time // when each row is free again
	for i := range activities {
		a := &activities[i]
		if a.Start.IsZero() {
			continue
		}
		row := -1
		for j, t := range free {
			if !t.After(a.Start) {
				row = j
				break
			}
		}
		if row < 0 {
			row = len(free)
			free = append(free, time.Time{})
		}
		free[row], a.Slot = a.End, row
	}
}

// Link is an image of the critical path.
type Link struct {
	Image      image.ID
	Start, End time.Time // of its build
}

// CriticalPath returns the chain of builds, each depending on the one before, that
// took longest in total. The run cannot be shorter, regardless of the number of slots.
// dependencies has the parents of each image.
func CriticalPath(activities []Activity, dependencies map[image.ID][]image.ID) []Link {
	byID := map[image.ID]Activity{}
	for _, a := range activities {
		if !a.Start.IsZero() {
			byID[a.Image] = a
		}
	}
	durations := map[image.ID]time.Duration{} // of the longest chain that ends in an image
	before := map[image.ID]image.ID{}
	var chain func(id image.ID) time.Duration
	chain = func(id image.ID) time.Duration {
		if d, ok := durations[id]; ok {
			return d
		}
		durations[id] = 0 // ends a cycle, which a run does not have
		var longest time.Duration
		for _, n := range dependencies[id] {
			if _, ok := byID[n]; !ok {
				continue
			}
			if d := chain(n); d > longest {
				longest, before[id] = d, n
			}
		}
		a := byID[id]
		durations[id] = longest + a.End.Sub(a.Start)
		return durations[id]
	}
	var last image.ID
	for _, a := range activities {
		if !a.Start.IsZero() && (last.IsZero() || chain(a.Image) > chain(last)) {
			last = a.Image
		}
	}
	var path []Link
	for id := last; !id.IsZero(); id = before[id] {
		path = append(path, Link{id, byID[id].Start, byID[id].End})
	}
	slices.Reverse(path)
	return path
}
