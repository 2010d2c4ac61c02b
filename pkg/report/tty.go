package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// ttyView draws a live area below the permanent lines.
//
// It uses no progress bar library, because those examined (vbauerster/mpb,
// BuildKit's progressui) leave the cursor below the live area and move it up by
// the number of rows that they wrote. When the window becomes narrower, most
// terminals rewrap the old rows and some do not, so that number is wrong and
// permanent lines are overwritten. Here the cursor stays at the first cell of the
// live area: terminals keep the cursor with its text, so erasing everything below
// it never erases a permanent line.
//
// Rows that a terminal moves to its scrollback when it rewraps cannot be erased.
// To keep them in the window, the area takes up to half of its height.
//
// Rows are one column shorter than the window is wide, line wrapping is off while
// they are drawn, and each frame is a single write between marks for synchronised
// updates, which terminals that do not support them ignore.
type ttyView struct {
	style
	q      *queue
	size   func() (width, height int)
	output bool

	lines     []string // permanent lines not written yet
	unchanged []string
	active    bool // the cursor is hidden and there may be a live area
	last      string

	width, height int // of the window when the area was last drawn
}

// eraseDown erases everything from the cursor's row down. The sequence suits tmux:
// erasing from the first cell of the window would move the old rows to its
// scrollback, and a row that is erased in parts would still count as continued in
// the next one and be joined with it when the window widens.
const eraseDown = "\r" + ansi.EraseEntireLine + " " + ansi.EraseScreenBelow + "\r"

func (v *ttyView) event(m *model, e build.Event, im *imageState) {
	switch e.Kind {
	case build.EventLog:
		if v.output && im != nil {
			im.splitter(e.Step.ID).write(e.Data, func(line string) { v.outputLine(im, line) })
		}
	case build.EventStepEnd:
		if s := im.ending(e.Step.ID); s != nil && v.output {
			s.flush(func(line string) { v.outputLine(im, line) })
		}
	case build.EventImageEnd:
		v.imageEnd(m, e, im)
	case build.EventMessage:
		v.flushUnchanged()
		for _, line := range strings.Split(strings.TrimRight(e.Text, "\n"), "\n") {
			v.permanent(v.text(Sanitize([]byte(line))))
		}
	}
}

// ending removes and returns the splitter of a step, nil if it has none.
func (im *imageState) ending(step string) *lineSplitter {
	if im == nil || im.split[step] == nil {
		return nil
	}
	s := im.split[step]
	delete(im.split, step)
	return s
}

func (v *ttyView) outputLine(im *imageState, line string) {
	// If the terminal blocks, the output must not fill the memory.
	if len(v.lines) > 10000 {
		return
	}
	v.permanent(v.paint(dimTone, v.text(oneLine(im.id.String())+" | ")) + v.text(line))
}

func (v *ttyView) permanent(line string) { v.lines = append(v.lines, line) }

func (v *ttyView) imageEnd(m *model, e build.Event, im *imageState) {
	if im != nil && v.output {
		for id := range im.split {
			im.ending(id).flush(func(line string) { v.outputLine(im, line) })
		}
	}
	r := e.Result
	if r == nil {
		return
	}
	if r.Status == build.StatusUnchanged {
		v.unchanged = append(v.unchanged, oneLine(r.Image.String()))
		return
	}
	v.flushUnchanged()
	width, _ := v.size()
	v.permanent(v.resultRow(*r, m.nameWidth, width))
}

func (v *ttyView) flushUnchanged() {
	if len(v.unchanged) > 0 {
		v.permanent(v.mark(plainTone) + " " + v.text(unchangedLine(v.unchanged)))
		v.unchanged = nil
	}
}

// resultRow returns the permanent line of a finished image.
func (v *ttyView) resultRow(result build.Result, nameWidth, width int) string {
	t, status := plainTone, string(result.Status)
	switch result.Status {
	case build.StatusBuilt:
		t = goodTone
	case build.StatusError:
		t, status = badTone, "failed: "+failureText(result)
	case build.StatusPushError:
		t, status = badTone, "not pushed: "+failureText(result)
	case build.StatusLoadError:
		t, status = badTone, "not loaded: "+failureText(result)
	case build.StatusParentError:
		status = orText(oneLine(result.Reason), "skipped because a parent failed")
	default:
		if result.Reason != "" {
			status += ", " + oneLine(result.Reason)
		}
	}
	room := width - 1 - 2 // without a spare column, the mark and a space
	// A column that is wide enough for most names does not change its width.
	minName := 16
	if width >= 80 {
		minName = 26
	}
	nameWidth = min(max(nameWidth, minName), 40)
	duration := ""
	if result.Status == build.StatusBuilt || result.Status.OwnFailure() {
		duration = units.Duration(result.Duration)
	}
	var b strings.Builder
	b.WriteString(v.mark(t) + " ")
	switch {
	case room >= nameWidth+8+12+10:
		b.WriteString(v.pad(oneLine(result.Image.String()), nameWidth) + v.padLeft(duration, 8) +
			v.padLeft(sizeText(result.Size), 12) + "  ")
		status = v.fit(status, room-nameWidth-8-12-2)
	case room >= 30:
		w := min(nameWidth, room-8-10)
		b.WriteString(v.pad(oneLine(result.Image.String()), w) + v.padLeft(duration, 8) + "  ")
		status = v.fit(status, room-w-8-2)
	default:
		w := max(room-7, 4)
		return strings.TrimRight(b.String()+v.pad(oneLine(result.Image.String()), w)+v.padLeft(duration, max(room-w, 0)), " ")
	}
	if t == badTone {
		status = v.paint(badTone, status)
	}
	b.WriteString(status)
	return strings.TrimRight(b.String(), " ")
}

// frame returns the rows of the live area. They are up to width-1 columns wide and fill
// up to half of the window; in a low window up to five, but at least one row of the
// window stays free.
func (v *ttyView) frame(m *model, now time.Time, width, height int) []string {
	width = max(width-1, 1)
	rows := []string{v.paint(boldTone, v.fit(m.counts(v.style, now, width), width))}
	room := max(height/2, min(height-1, 5)) - 1 // without the head
	running := m.running
	hidden := 0
	if len(running) > room {
		hidden = len(running) - max(room-1, 0)
		running = running[:len(running)-hidden]
	}
	nameWidth := 0
	for _, im := range running {
		nameWidth = max(nameWidth, ansi.StringWidth(im.id.String()))
	}
	for _, im := range running {
		rows = append(rows, v.runningRow(im, now, nameWidth, width))
	}
	if hidden > 0 && room > 0 {
		rows = append(rows, v.paint(dimTone, v.fit(fmt.Sprintf("  %s and %d more", v.ellipsis(), hidden), width)))
	}
	return rows
}

// runningRow returns a row such as
// "  name  RUN …  12.3 MiB/40.0 MiB  1m05s". In a narrow window it has no
// bytes, and in a very narrow one no step.
func (v *ttyView) runningRow(im *imageState, now time.Time, nameWidth, width int) string {
	const clockWidth = 6
	clock := v.padLeft(units.Clock(now.Sub(im.started)), clockWidth)
	name := oneLine(im.id.String())
	if width < 36 {
		w := max(width-2-clockWidth, 1)
		return v.fit("  "+v.pad(name, w)+clock, width)
	}
	nameWidth = min(nameWidth, max(width/3, 12))
	step := im.currentStep(now)
	bytes := im.bytesText(now)
	room := width - 2 - nameWidth - 2 - clockWidth
	if bytes != "" && room-len(bytes)-2 >= 16 {
		room -= len(bytes) + 2
		bytes = "  " + bytes
	} else {
		bytes = ""
	}
	return "  " + v.pad(name, nameWidth) + "  " + v.paint(dimTone, v.pad(oneLine(step), room)) + bytes + clock
}

// tick draws a frame: the permanent lines in place of the old live area, then the
// new one. The cursor returns to its first cell.
func (v *ttyView) tick(m *model, now time.Time, final bool) {
	if final {
		v.flushUnchanged()
		if len(m.running) > 0 {
			// The output of an interrupted run ends with the running steps.
			v.permanent(v.interrupted(m, now))
		}
	}
	width, height := v.size()
	var area []string
	if !final && (!m.started.IsZero() || len(m.running) > 0) {
		area = v.frame(m, now, width, height)
	}
	shape := fmt.Sprintf("%d\x00%d\x00%s", width, height, strings.Join(area, "\n"))
	if len(v.lines) == 0 && shape == v.last && !final {
		return
	}
	v.last = shape
	var b strings.Builder
	b.WriteString(ansi.SetModeSynchronizedOutput)
	if !v.active {
		b.WriteString(ansi.ResetModeTextCursorEnable)
		v.active = true
	}
	b.WriteString("\r")
	if len(v.lines) > 0 || len(area) == 0 || v.width != width || v.height != height {
		b.WriteString(eraseDown)
	}
	v.width, v.height = width, height
	for _, line := range v.lines {
		b.WriteString(line + "\r\n")
	}
	v.lines = nil
	b.WriteString(ansi.ResetModeAutoWrap)
	for i, row := range area {
		b.WriteString(row)
		if i < len(area)-1 {
			b.WriteString(ansi.EraseLineRight + "\r\n")
		}
	}
	if len(area) > 0 {
		b.WriteString(ansi.EraseScreenBelow)
	}
	if len(area) > 1 {
		b.WriteString(ansi.CursorUp(len(area) - 1))
	}
	b.WriteString("\r" + ansi.SetModeAutoWrap)
	if final {
		b.WriteString(ansi.SetModeTextCursorEnable)
		v.active = false
	}
	b.WriteString(ansi.ResetModeSynchronizedOutput)
	v.q.add(b.String())
}

func (v *ttyView) interrupted(m *model, now time.Time) string {
	names := []string{}
	for _, im := range m.running {
		if len(names) == 8 {
			names = append(names, fmt.Sprintf("and %d more", len(m.running)-8))
			break
		}
		names = append(names, fmt.Sprintf("%s (%s)", oneLine(im.id.String()), units.Clock(now.Sub(im.started))))
	}
	return v.mark(plainTone) + " " + v.text("not finished: "+strings.Join(names, ", "))
}
