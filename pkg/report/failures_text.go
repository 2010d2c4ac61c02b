package report

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// group is a cause of failure: the images that failed in the same way, and those
// that were skipped because of them.
type group struct {
	peers   []Result
	skipped []image.ID
}

// groups returns the failed images by cause, the one with the most skipped images first.
func (s Summary) groups() (causes []*group, canceled []image.ID, orphans []Result) {
	byID := s.byID()
	owner := map[image.ID]*group{}
	byCause := map[string]*group{}
	for _, r := range s.with(build.OwnFailures()...) {
		key := causeKey(r)
		g := byCause[key]
		if g == nil {
			g = &group{}
			byCause[key] = g
			causes = append(causes, g)
		}
		g.peers = append(g.peers, r)
		owner[r.Image] = g
	}
	for _, r := range s.with(build.StatusParentError) {
		if g := owner[failedAncestor(r, byID)]; g != nil {
			g.skipped = append(g.skipped, r.Image)
		} else {
			orphans = append(orphans, r)
		}
	}
	for _, r := range s.with(build.StatusCanceled) {
		canceled = append(canceled, r.Image)
	}
	sort.SliceStable(causes, func(i, j int) bool {
		a, b := causes[i], causes[j]
		if ae, be := a.peers[0].Status == build.StatusError, b.peers[0].Status == build.StatusError; ae != be {
			return ae
		}
		if len(a.skipped) != len(b.skipped) {
			return len(a.skipped) > len(b.skipped)
		}
		return len(a.peers) > len(b.peers)
	})
	return causes, canceled, orphans
}

// causeKey is equal for images with the same external cause of failure, such as an
// unreachable registry: it is the error without the image's own names. An image with a
// failed step is always a separate cause, because equal exit codes have no meaning.
func causeKey(r Result) string {
	f := r.Failure
	if f == nil || f.Err == nil || f.Step != "" || len(f.Source) > 0 || f.ExitCode != 0 {
		return r.Image.String()
	}
	msg := f.Err.Error()
	for _, identifier := range []string{r.Reference, r.Digest.String(), r.Image.String()} {
		if identifier != "" {
			msg = strings.ReplaceAll(msg, identifier, "\x00")
		}
	}
	return string(r.Status) + "\x00" + msg
}

func (s Summary) writeFailed(t *textWriter) {
	causes, canceled, orphans := s.groups()
	if len(causes)+len(canceled)+len(orphans) == 0 {
		return
	}
	allowed := s.allowed()
	if len(causes)+len(orphans) > 0 {
		t.heading("Images that failed to build", badTone)
	} else {
		t.heading("Images that were not finished", warnTone)
	}
	for _, g := range causes {
		s.writeCause(t, g, allowed)
		t.println()
	}
	for _, r := range orphans {
		t.println(t.mark(plainTone), " ", t.text(oneLine(r.Image.String())), " Failed with status: ", upstreamStatus(r),
			allowedText(allowed, r.Image), reasonText(t, r.Reason))
	}
	if len(canceled) > 0 {
		t.println(t.mark(plainTone), " ", units.Count(len(canceled), "image"), " not finished, the run was interrupted:")
		t.names(image.Strings(canceled), "    ", 4*maxSkipped)
	}
	if len(canceled)+len(orphans) > 0 {
		t.println()
	}
}

func reasonText(t *textWriter, reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + t.text(oneLine(reason))
}

func allowedText(allowed map[image.ID]bool, id image.ID) string {
	if allowed[id] {
		return " (allowed to fail)"
	}
	return ""
}

func (s Summary) writeCause(t *textWriter, g *group, allowed map[image.ID]bool) {
	result := g.peers[0]
	t.println(t.mark(badTone), " ", t.paint(boldTone, t.text(oneLine(result.Image.String()))),
		" Failed with status: ", t.paint(badTone, upstreamStatus(result)), allowedText(allowed, result.Image))
	failure := result.Failure
	if failure == nil {
		failure = &build.Failure{}
	}
	cause := result.Reason
	if failure.Err != nil {
		cause = failure.Err.Error()
	}
	t.block("cause", cause)
	step := oneLine(failure.Step)
	if len(failure.Source) > 0 {
		step = brief(step) // the complete instruction is printed below
	}
	if failure.ExitCode != 0 {
		step = strings.TrimSpace(fmt.Sprintf("%s (exit code %d)", step, failure.ExitCode))
	}
	t.field("step", step)
	t.field("template", oneLine(failure.Template))
	place := oneLine(failure.Dockerfile)
	if place != "" && failure.Line > 0 {
		place = fmt.Sprintf("%s:%d", place, failure.Line)
	}
	t.field("rendered", place)
	for i, line := range failure.Source {
		number := ""
		if failure.Line > 0 {
			number = fmt.Sprint(failure.Line + i)
		}
		t.println(t.paint(dimTone, fmt.Sprintf("%8s | ", number)), t.text(Sanitize([]byte(line))))
	}
	if len(failure.Tail) > 0 {
		t.println("    ", t.paint(dimTone, fmt.Sprintf("last %s of output:", units.Count(len(failure.Tail), "line"))))
		for _, line := range failure.Tail {
			t.println(t.paint(dimTone, "         | "), t.text(Sanitize([]byte(line))))
		}
	}
	t.field("log", s.logPath(result))
	t.block("hint", failure.Hint)
	if len(g.peers) > 1 {
		names := make([]string, 0, len(g.peers)-1)
		for _, p := range g.peers[1:] {
			names = append(names, p.Image.String()+allowedText(allowed, p.Image))
		}
		t.println("    ", units.Count(len(names), "more image"), " failed in the same way:")
		t.names(names, "      ", maxPeers)
	}
	if len(g.skipped) > 0 {
		subject := result.Image.String()
		if len(g.peers) > 1 {
			subject = "they"
		}
		t.println("    ", units.Count(len(g.skipped), "image"), " skipped because ", t.text(oneLine(subject)), " failed:")
		t.names(image.Strings(g.skipped), "      ", maxSkipped)
	}
}

// logPath prefers the link that marks a failed log, because it sorts first in the
// directory.
func (s Summary) logPath(r Result) string {
	if r.Started.IsZero() {
		return "" // its log only contains the reason
	}
	if r.Log == "" || r.Status != build.StatusError {
		return oneLine(r.Log)
	}
	link := filepath.Join(filepath.Dir(r.Log), FailedPrefix+filepath.Base(r.Log))
	if _, err := os.Lstat(link); err == nil {
		return oneLine(link)
	}
	return oneLine(r.Log)
}
