package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// plainView prints a line for each important event. Nothing is overwritten, so
// that the output is readable in a file.
type plainView struct {
	style
	q       *queue
	output  bool
	quiet   bool
	silence time.Duration

	printed   time.Time // when the last line was printed
	unchanged []string  // names that have not been printed yet
}

func (v *plainView) println(at time.Time, line string) {
	v.printed = at
	v.q.add(v.text(line) + "\n")
}

func (v *plainView) event(m *model, e build.Event, im *imageState) {
	if v.quiet {
		if e.Kind == build.EventImageEnd && e.Result != nil {
			if e.Result.Status.OwnFailure() {
				v.println(e.Time, resultLine(*e.Result))
			}
		}
		return
	}
	if e.Kind == build.EventImageEnd && e.Result != nil && e.Result.Status == build.StatusUnchanged {
		v.unchanged = append(v.unchanged, oneLine(e.Image.String()))
		v.flushOutput(im)
		return
	}
	switch e.Kind {
	case build.EventRunStart:
		if e.Total == 0 {
			return // the summary reports that there is nothing to do
		}
		line := "building " + units.Count(e.Total, "image")
		if e.Estimate > 0 {
			line += ", about " + units.Estimate(e.Estimate)
		}
		v.println(e.Time, line)
	case build.EventImageStart:
		v.println(e.Time, oneLine(e.Image.String())+": started")
	case build.EventStepStart:
		if v.output {
			v.println(e.Time, oneLine(e.Image.String())+": "+oneLine(e.Step.Name))
		}
	case build.EventLog:
		if v.output && im != nil {
			im.splitter(e.Step.ID).write(e.Data, func(line string) { v.outputLine(im, line) })
			v.printed = e.Time
		}
	case build.EventStepEnd:
		v.stepEnd(e, im)
	case build.EventImageEnd:
		v.flushOutput(im)
		if e.Result != nil {
			v.flushUnchanged(e.Time)
			v.println(e.Time, fmt.Sprintf("%s (%d/%d done)", resultLine(*e.Result), m.done, m.total))
		}
	case build.EventMessage:
		v.flushUnchanged(e.Time)
		for _, line := range strings.Split(strings.TrimRight(e.Text, "\n"), "\n") {
			v.println(e.Time, Sanitize([]byte(line)))
		}
	case build.EventRunEnd:
		v.flushUnchanged(e.Time)
	}
}

func (v *plainView) outputLine(im *imageState, line string) {
	v.q.addDroppable(v.text(oneLine(im.id.String())+" | "+line) + "\n")
}

func (v *plainView) flushOutput(im *imageState) {
	if im == nil || !v.output {
		return
	}
	for _, s := range im.split {
		s.flush(func(line string) { v.outputLine(im, line) })
	}
}

func (v *plainView) stepEnd(e build.Event, im *imageState) {
	if !v.output || im == nil {
		return
	}
	if s := im.split[e.Step.ID]; s != nil {
		s.flush(func(line string) { v.outputLine(im, line) })
		delete(im.split, e.Step.ID)
	}
	switch {
	case e.Step.Err != "":
		v.println(e.Time, fmt.Sprintf("%s: %s: %s", oneLine(e.Image.String()), oneLine(e.Step.Name), oneLine(e.Step.Err)))
	case e.Step.Cached:
		v.println(e.Time, fmt.Sprintf("%s: %s: cached", oneLine(e.Image.String()), oneLine(e.Step.Name)))
	}
}

func (v *plainView) tick(m *model, now time.Time, final bool) {
	if v.quiet {
		return
	}
	if final || len(v.unchanged) > 0 && now.Sub(v.printed) > time.Second {
		v.flushUnchanged(now)
	}
	if final || m.total == 0 || m.started.IsZero() || now.Sub(v.printed) < v.silence {
		return
	}
	line := fmt.Sprintf("%d/%d done", m.done, m.total)
	if m.failed > 0 {
		line += fmt.Sprintf(", %d failed", m.failed)
	}
	if n := len(m.running); n > 0 {
		names := []string{}
		for _, im := range m.running {
			if len(names) == 5 {
				names = append(names, "...")
				break
			}
			names = append(names, fmt.Sprintf("%s %s", oneLine(im.id.String()), units.Clock(now.Sub(im.started))))
		}
		line += fmt.Sprintf(", %d running (%s)", n, strings.Join(names, ", "))
	}
	if remaining := m.remaining(now); remaining > 0 {
		line += ", about " + units.Estimate(remaining) + " left"
	}
	v.println(now, line)
}

func (v *plainView) flushUnchanged(at time.Time) {
	if len(v.unchanged) > 0 {
		v.println(at, unchangedLine(v.unchanged))
		v.unchanged = nil
	}
}

// unchangedLine lists unchanged images in a line. There may be hundreds of them.
func unchangedLine(names []string) string {
	if len(names) == 1 {
		return names[0] + ": unchanged"
	}
	shown := names
	suffix := ""
	if len(names) > 8 {
		shown = names[:8]
		suffix = fmt.Sprintf(" and %d more", len(names)-8)
	}
	return fmt.Sprintf("%d images unchanged: %s%s", len(names), strings.Join(shown, ", "), suffix)
}

// resultLine returns the result of an image in a line.
func resultLine(result build.Result) string {
	name := oneLine(result.Image.String())
	switch result.Status {
	case build.StatusBuilt:
		line := fmt.Sprintf("%s: built in %s", name, units.Duration(result.Duration))
		if result.Size > 0 {
			line += ", " + units.Bytes(result.Size)
		}
		return line
	case build.StatusError, build.StatusPushError, build.StatusLoadError:
		word := "FAILED"
		if result.Status == build.StatusPushError {
			word = "NOT PUSHED"
		} else if result.Status == build.StatusLoadError {
			word = "NOT LOADED"
		}
		line := fmt.Sprintf("%s: %s after %s", name, word, units.Duration(result.Duration))
		if reason := failureText(result); reason != "" {
			line += ": " + reason
		}
		return line
	case build.StatusParentError:
		return name + ": " + orText(oneLine(result.Reason), "skipped because a parent failed")
	case build.StatusCanceled:
		return name + ": canceled"
	}
	if result.Reason != "" {
		return fmt.Sprintf("%s: %s, %s", name, result.Status, oneLine(result.Reason))
	}
	return fmt.Sprintf("%s: %s", name, result.Status)
}

func orText(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// failureText returns why an image failed in a line: the step and the error.
func failureText(r build.Result) string {
	text := oneLine(r.Reason)
	if f := r.Failure; f != nil {
		if f.Err != nil {
			text = oneLine(usererr.FirstLine(f.Err))
		}
		if f.Step != "" {
			text = brief(oneLine(f.Step)) + ": " + text
		}
	}
	return text
}

func (im *imageState) splitter(step string) *lineSplitter {
	if im.split == nil {
		im.split = map[string]*lineSplitter{}
	}
	if im.split[step] == nil {
		im.split[step] = &lineSplitter{}
	}
	return im.split[step]
}
