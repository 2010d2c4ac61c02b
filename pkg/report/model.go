package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// model is the state of the run according to the events so far.
type model struct {
	started   time.Time
	total     int
	estimate  time.Duration // of the rest of the run, made at the time estimated; 0 if unknown
	estimated time.Time

	running []*imageState // oldest first
	pushing int           // number of running uploads
	done    int           // number of images in total that have ended
	built   int           // of them, those that were built
	failed  int           // by themselves
	skipped int           // number of images whose ancestor failed

	// The time of finished images with an estimate, and the sum of their estimates. The
	// ratio is the pace of this run compared with earlier ones.
	tookKnown, estimatedKnown time.Duration
	known                     int // number of finished images with an estimate
	nameWidth                 int
}

// imageState is a running image.
type imageState struct {
	id       image.ID
	started  time.Time
	estimate time.Duration
	steps    []*stepState // running ones, newest last
	lastStep string       // name of the step that ended most recently
	split    map[string]*lineSplitter
}

type stepState struct {
	id, name       string
	started        time.Time
	current, total int64
	lastProgress   time.Time // when bytes were last reported
}

// apply updates the model and returns the state of the event's image, nil if it
// has none. For EventImageEnd that is the state before the event.
func (m *model) apply(e build.Event) *imageState {
	switch e.Kind {
	case build.EventRunStart:
		m.started, m.total, m.estimate, m.estimated = e.Time, e.Total, e.Estimate, e.Time
	case build.EventEstimate:
		m.estimate, m.estimated = e.Estimate, e.Time
	case build.EventImageStart:
		im := m.find(e.Image)
		if im == nil {
			im = &imageState{id: e.Image, started: e.Time}
			m.running = append(m.running, im)
		}
		im.estimate = e.Estimate
		im.steps, im.lastStep, im.split = nil, "", map[string]*lineSplitter{}
		m.nameWidth = max(m.nameWidth, len(e.Image.String()))
		return im
	case build.EventStepStart:
		im := m.find(e.Image)
		if im != nil {
			im.step(e.Step, e.Time)
		}
		return im
	case build.EventStepEnd:
		im := m.find(e.Image)
		if im != nil {
			im.lastStep = e.Step.Name
			im.steps = slices.DeleteFunc(im.steps, func(s *stepState) bool { return s.id == e.Step.ID })
		}
		return im
	case build.EventTransfer:
		im := m.find(e.Image)
		if im != nil {
			s := im.step(e.Step, e.Time)
			s.current, s.total, s.lastProgress = e.Current, e.TotalBytes, e.Time
		}
		return im
	case build.EventLog:
		return m.find(e.Image)
	case build.EventPushStart:
		m.pushing++
	case build.EventPushEnd:
		m.pushing--
	case build.EventImageEnd:
		return m.end(e)
	}
	return nil
}

func (m *model) find(id image.ID) *imageState {
	for _, im := range m.running {
		if im.id == id {
			return im
		}
	}
	return nil
}

func (im *imageState) step(s build.Step, at time.Time) *stepState {
	for _, st := range im.steps {
		if st.id == s.ID {
			if s.Name != "" {
				st.name = s.Name
			}
			return st
		}
	}
	st := &stepState{id: s.ID, name: s.Name, started: at}
	im.steps = append(im.steps, st)
	return st
}

func (m *model) end(e build.Event) *imageState {
	im := m.find(e.Image)
	m.running = slices.DeleteFunc(m.running, func(r *imageState) bool { return r == im })
	if e.Result == nil {
		return im
	}
	switch st := e.Result.Status; {
	case st == build.StatusParentError:
		m.skipped++
		m.done++
	case st.Bad():
		m.failed++
		m.done++
	case st == build.StatusBuilt:
		m.built++
		m.done++
	case im != nil:
		// It had started, so it counts as an image to build.
		m.done++
	}
	m.total = max(m.total, m.done)
	if im != nil && im.estimate > 0 && e.Result.Status == build.StatusBuilt {
		m.estimatedKnown += im.estimate
		m.tookKnown += e.Time.Sub(im.started)
		m.known++
	}
	m.nameWidth = max(m.nameWidth, len(e.Image.String()))
	return im
}

// pace returns the ratio of the time that images take in this run to the estimates.
func (m *model) pace() float64 {
	if m.known == 0 || m.estimatedKnown <= 0 {
		return 1
	}
	p := float64(m.tookKnown) / float64(m.estimatedKnown)
	return min(max(p, 0.2), 5)
}

// remaining estimates the time that is left, 0 if it is unknown. At first it uses the
// events' estimates, corrected by this run's pace, and later more and more the rate of
// this run.
func (m *model) remaining(now time.Time) time.Duration {
	if m.total == 0 || m.done >= m.total || m.started.IsZero() {
		return 0
	}
	elapsed := now.Sub(m.started)
	var byRate, byPlan time.Duration
	if m.built >= 2 { // images that failed, or were skipped, say nothing about the others
		byRate = time.Duration(float64(elapsed) * float64(m.total-m.done) / float64(m.built))
	}
	if m.estimate > 0 {
		byPlan = time.Duration(float64(m.estimate)*m.pace()) - now.Sub(m.estimated)
	}
	var remaining time.Duration
	switch {
	case byPlan > 0 && byRate > 0:
		share := float64(m.done) / float64(m.total)
		remaining = time.Duration((1-share)*float64(byPlan) + share*float64(byRate))
	case byPlan > 0:
		remaining = byPlan
	default:
		remaining = byRate
	}
	// The run cannot end before the running images.
	for _, im := range m.running {
		if im.estimate > 0 {
			remaining = max(remaining, time.Duration(float64(im.estimate)*m.pace())-now.Sub(im.started))
		}
	}
	return max(remaining, 0)
}

// counts returns the first line of the live area: the progress of the run.
func (m *model) counts(st style, now time.Time, width int) string {
	sep := st.dot()
	parts := []string{fmt.Sprintf("%d/%d done", m.done, m.total)}
	narrow := []string{fmt.Sprintf("%d/%d", m.done, m.total)}
	if m.total == 0 {
		parts, narrow = []string{"starting"}, []string{"starting"}
	}
	if n := len(m.running); n > 0 {
		parts = append(parts, fmt.Sprintf("%d running", n))
	}
	if m.pushing > 0 {
		parts = append(parts, fmt.Sprintf("%d pushing", m.pushing))
	}
	if m.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", m.failed))
		narrow = append(narrow, st.sign(badTone)+fmt.Sprint(m.failed))
	}
	if m.skipped > 0 {
		parts = append(parts, fmt.Sprintf("%d skipped", m.skipped))
	}
	if !m.started.IsZero() {
		parts = append(parts, units.Clock(now.Sub(m.started)))
		narrow = append(narrow, units.Clock(now.Sub(m.started)))
	}
	if remaining := m.remaining(now); remaining > 0 {
		parts = append(parts, "about "+units.Estimate(remaining)+" left")
		narrow = append(narrow, "~"+units.Estimate(remaining))
	}
	line := strings.Join(parts, sep)
	if slow := m.slowest(now); slow != "" && (width <= 0 || ansi.StringWidth(line+sep+slow) <= width) {
		line += sep + slow
	}
	if width > 0 && ansi.StringWidth(line) > width {
		line = strings.Join(narrow, " ")
	}
	return line
}

// slowest returns the step that has been running longest, if it is slow.
func (m *model) slowest(now time.Time) string {
	name, longest := "", 10*time.Second
	for _, im := range m.running {
		for _, s := range im.steps {
			if d := now.Sub(s.started); d > longest && im.currentStep(now) == s.name {
				name, longest = im.id.String(), d
			}
		}
	}
	if name == "" {
		return ""
	}
	return "slowest step: " + oneLine(name) + " " + units.Clock(longest)
}

// transferTimeout is how long after its last event a transfer counts as active.
const transferTimeout = 5 * time.Second

// currentStep returns the name of the newest running step. Complete and idle transfers
// do not count, because builders do not always report their end.
func (im *imageState) currentStep(now time.Time) string {
	for i := len(im.steps) - 1; i >= 0; i-- {
		s := im.steps[i]
		ended := s.total > 0 && s.current >= s.total || now.Sub(s.lastProgress) > transferTimeout
		if s.lastProgress.IsZero() || !ended {
			return s.name
		}
	}
	if n := len(im.steps); n > 0 {
		return im.steps[n-1].name
	}
	return im.lastStep
}

// bytesText returns the progress of the image's active transfers, "" if there are
// none.
func (im *imageState) bytesText(now time.Time) string {
	var current, total int64
	transferring, sizesKnown := false, true
	for _, s := range im.steps {
		if s.lastProgress.IsZero() || now.Sub(s.lastProgress) > transferTimeout {
			continue
		}
		transferring = true
		current += s.current
		total += s.total
		sizesKnown = sizesKnown && s.total > 0
	}
	switch {
	case !transferring:
		return ""
	case sizesKnown:
		return units.Bytes(current) + "/" + units.Bytes(total)
	}
	return units.Bytes(current)
}
