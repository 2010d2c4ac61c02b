package page

import (
	"fmt"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
)

// timeline shows the run by slots. Positions in time are in percent of the width of
// the picture, so that it can be widened without its text.
type timeline struct {
	H      int
	Rows   []timelineRow
	Bars   []bar
	Ticks  []tick
	Path   []pathLink
	Sum    string // of the critical path
	Slow   []slowStep
	Labels int // width of the rows' names in pixels
}

type timelineRow struct {
	Name    string
	Y, Text int
}

type bar struct {
	ID, Name, Status, Sign, Title string
	X, W                          float64 // percent
	Y, H                          int
	Critical, Push, Stage         bool
}

type tick struct {
	X    float64
	Text string
}

type pathLink struct{ ID, Name, Took string }

type slowStep struct{ ID, Image, Name, Took string }

// Measures in pixels.
const (
	slotHeight = 26
	barHeight  = 22
	axisHeight = 22
)

// extent is the time that a timeline shows.
type extent struct{ from, to time.Time }

func (x *extent) grow(start, end time.Time) {
	if start.IsZero() {
		return
	}
	if x.from.IsZero() || start.Before(x.from) {
		x.from = start
	}
	if end.After(x.to) {
		x.to = end
	}
}

func (x *extent) span() time.Duration { return x.to.Sub(x.from) }

func (x *extent) percent(at time.Time) float64 {
	return 100 * float64(at.Sub(x.from)) / float64(x.span())
}

// newTimeline returns the timeline, nil if nothing was built or pushed.
func newTimeline(run *report.Run, path []report.Link, critical map[image.ID]bool) *timeline {
	shown := &extent{}
	slots, pushes := 0, false
	for _, a := range run.Activities {
		shown.grow(a.Start, a.End)
		shown.grow(a.Push.Start, a.Push.End)
		if !a.Start.IsZero() {
			slots = max(slots, a.Slot+1)
		}
		pushes = pushes || !a.Push.Start.IsZero()
	}
	building := shown.span()
	if shown.from.IsZero() || building <= 0 {
		return nil
	}
	for _, s := range run.Times.Stages {
		shown.grow(s.Start, s.Start.Add(s.Took))
	}
	shown.grow(run.Started, run.Started.Add(run.Duration))

	t := &timeline{H: axisHeight}
	if len(run.Times.Stages) > 0 {
		t.row("run")
		t.stages(run.Times.Stages, shown)
	}
	firstSlot := t.H
	for i := range slots {
		t.row(fmt.Sprintf("slot %d", i+1))
	}
	pushRow := t.H
	if pushes {
		t.row("pushes")
	}
	t.activities(run, critical, shown, firstSlot, pushRow)
	t.ticks(shown.span())
	t.path(path, run, building)
	for _, s := range run.SlowestSteps(8) {
		t.Slow = append(t.Slow,
			slowStep{id(s.Image.String()), clean(s.Image.String()), clean(s.Name), units.Duration(s.Took)})
	}
	return t
}

// row adds a row below the others.
func (t *timeline) row(name string) {
	t.Rows = append(t.Rows, timelineRow{Name: name, Y: t.H, Text: t.H + 15})
	t.H += slotHeight
}

// stages adds the bars of the stages of the run, in the first row.
func (t *timeline) stages(stages []report.StageTime, shown *extent) {
	for _, s := range stages {
		t.Bars = append(t.Bars, bar{
			Name:  clean(s.Name),
			Stage: true,
			X:     shown.percent(s.Start),
			W:     shown.percent(s.Start.Add(s.Took)) - shown.percent(s.Start),
			Y:     axisHeight + 2,
			H:     barHeight,
			Title: fmt.Sprintf("%s: %s, from %s", clean(s.Name), units.Duration(s.Took),
				units.Duration(s.Start.Sub(shown.from))),
		})
	}
}

// activities adds the bars of builds and pushes.
func (t *timeline) activities(run *report.Run, critical map[image.ID]bool, shown *extent, firstSlot, pushRow int) {
	status := map[image.ID]build.Status{}
	for _, r := range run.Results {
		status[r.Image] = r.Status
	}
	for _, a := range run.Activities {
		st, ok := status[a.Image]
		if !ok {
			st = build.StatusCanceled
		}
		l := legendOf(st)
		b := bar{ID: id(a.Image.String()), Name: clean(a.Image.String()), Status: l.Status, Sign: l.Sign,
			Critical: critical[a.Image], H: barHeight}
		if !a.Start.IsZero() {
			b.X, b.W, b.Y = shown.percent(a.Start), shown.percent(a.End)-shown.percent(a.Start), firstSlot+a.Slot*slotHeight+2
			b.Title = fmt.Sprintf("%s: %s, %s, from %s", b.Name, l.Word, units.Duration(a.End.Sub(a.Start)),
				units.Duration(a.Start.Sub(shown.from)))
			if b.Critical {
				b.Title += ", on the critical path"
			}
			t.Bars = append(t.Bars, b)
		}
		if push := a.Push; !push.Start.IsZero() {
			b.X, b.W, b.Y, b.H = shown.percent(push.Start), shown.percent(push.End)-shown.percent(push.Start), pushRow+
				6, barHeight-8
			b.Push, b.Critical = true, false
			b.Title = fmt.Sprintf("%s: pushed in %s", b.Name, units.Duration(push.End.Sub(push.Start)))
			t.Bars = append(t.Bars, b)
		}
	}
}

// ticks returns five to ten marks along the time, at round numbers.
func (t *timeline) ticks(span time.Duration) {
	interval := time.Hour
	steps := []time.Duration{
		10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second,
		time.Minute, 2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 30 * time.Minute,
	}
	for _, d := range steps {
		if span/d <= 8 {
			interval = d
			break
		}
	}
	for at := time.Duration(0); at <= span; at += interval {
		text := units.Duration(at)
		if at == 0 {
			text = "0"
		}
		t.Ticks = append(t.Ticks, tick{X: 100 * float64(at) / float64(span), Text: text})
	}
}

func (t *timeline) path(path []report.Link, run *report.Run, span time.Duration) {
	var onPath, work time.Duration
	for _, l := range path {
		t.Path = append(t.Path, pathLink{
			ID:   id(l.Image.String()),
			Name: clean(l.Image.String()),
			Took: units.Duration(l.End.Sub(l.Start)),
		})
		onPath += l.End.Sub(l.Start)
	}
	for _, a := range run.Activities {
		work += a.End.Sub(a.Start)
	}
	if len(path) == 0 {
		return
	}
	busy := min(100, int(100*float64(work)/float64(span)/float64(max(1, run.Slots))))
	t.Sum = fmt.Sprintf("%s of the %s from the first build to the end. The %s were busy %d%% of that time. ",
		units.Duration(onPath), units.Duration(span), units.Count(run.Slots, "slot"), busy)
	switch {
	case onPath > span*9/10:
		t.Sum += "More slots would not make the run shorter; faster builds of these images would."
	case busy > 80:
		t.Sum += "More slots, on a machine that can feed them, would make the run shorter."
	}
}
