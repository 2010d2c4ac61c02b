package buildkit

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/moby/buildkit/client"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"
)

// watcher turns BuildKit's status of one solve into events of one image.
type watcher struct {
	image image.ID
	emit  func(build.Event)
	steps map[digest.Digest]*watchedStep

	secrets *Secrets // removed from the output of steps; may be nil

	firstFailed *watchedStep // later failures are consequences

	mu     sync.Mutex    // held by handle and by timers
	limit  time.Duration // of a step, 0 for none
	expire func(error)   // called with a *stepTimeout
}

type watchedStep struct {
	step    build.Step
	started bool
	ended   bool
	timer   *time.Timer
	output  stepOutput
	partial map[int][]byte // by stream: an incomplete line
	last    time.Time      // of the last output
}

// maxPartial is how many bytes of an incomplete line are held back, in addition to a
// possible beginning of a secret.
const maxPartial = 64 << 10

// lines returns the complete lines of a stream without secrets, and keeps the rest.
func (s *watchedStep) lines(stream int, data []byte, secrets *Secrets) []byte {
	if s.partial == nil {
		s.partial = map[int][]byte{}
	}
	text := append(s.partial[stream], data...)
	end := bytes.LastIndexByte(text, '\n') + 1
	if end == 0 && len(text) > maxPartial+secrets.longest() {
		end = secrets.cut(text)
	}
	if end == 0 {
		s.partial[stream] = text
		return nil
	}
	s.partial[stream] = bytes.Clone(text[end:])
	return secrets.redact(text[:end:end])
}

// flush emits the incomplete lines of a step that has ended.
func (w *watcher) flush(s *watchedStep) {
	for _, stream := range slices.Sorted(maps.Keys(s.partial)) {
		if rest := s.partial[stream]; len(rest) > 0 {
			w.output(s, stream, append(w.secrets.redact(rest), '\n'))
		}
	}
	s.partial = nil
}

// output emits lines that a step has printed, without secrets.
func (w *watcher) output(s *watchedStep, stream int, lines []byte) {
	s.output.write(stream, s.last, lines)
	w.send(build.Event{Kind: build.EventLog, Step: s.step, Data: lines})
}

func newWatcher(id image.ID, emit func(build.Event)) *watcher {
	return &watcher{image: id, emit: emit, steps: map[digest.Digest]*watchedStep{}}
}

func (w *watcher) send(e build.Event) {
	e.Time, e.Image = time.Now(), w.image
	w.emit(e)
}

func (w *watcher) handle(status *client.SolveStatus) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range status.Vertexes {
		st := w.steps[v.Digest]
		if st == nil {
			st = &watchedStep{step: build.Step{ID: v.Digest.String()}}
			w.steps[v.Digest] = st
		}
		st.step.Name, st.step.Cached = stepName(v.Name), v.Cached
		st.step.Kind = stepKind(st.step.Name)
		// Cached steps include those of ancestors.
		if v.Cached {
			continue
		}
		if v.Started != nil && !st.started {
			st.started = true
			w.startTimer(v.Digest, st)
			w.send(build.Event{Kind: build.EventStepStart, Step: st.step})
		}
	}
	// The last output of a step may arrive together with its end, and comes first.
	w.logs(status.Logs)
	for _, v := range status.Vertexes {
		if st := w.steps[v.Digest]; v.Completed != nil && !v.Cached && !st.ended && st.started {
			st.ended = true
			st.stopTimer()
			w.flush(st)
			st.step.Err = v.Error
			if v.Error != "" && w.firstFailed == nil && !strings.Contains(v.Error, "context canceled") {
				w.firstFailed = st
			}
			if v.Started != nil {
				st.step.Duration = v.Completed.Sub(*v.Started)
			}
			w.send(build.Event{Kind: build.EventStepEnd, Step: st.step})
		}
	}
	for _, v := range status.Statuses {
		st := w.steps[v.Vertex]
		if st == nil || v.Total == 0 && v.Current == 0 {
			continue
		}
		w.send(build.Event{
			Kind:       build.EventTransfer,
			Step:       build.Step{ID: v.ID, Name: v.Name},
			Current:    v.Current,
			TotalBytes: v.Total,
		})
	}
}

// logs emits the output of steps.
func (w *watcher) logs(entries []*client.VertexLog) {
	for _, l := range entries {
		st := w.steps[l.Vertex]
		if st == nil {
			continue
		}
		// The chunks of standard output and standard error may end anywhere in a
		// line. Only complete lines of a stream are emitted.
		st.last = l.Timestamp
		lines := st.lines(l.Stream, l.Data, w.secrets)
		if len(lines) > 0 {
			w.output(st, l.Stream, lines)
		}
	}
}

// buildError returns the error of an image from that of a solve.
func (w *watcher) buildError(def *Definition, err error) *BuildError {
	e := &BuildError{Failure: w.failure(def, err)}
	if st := w.failedStep(err); st != nil {
		e.tails = st.output.tails()
		e.final = addedArchive(st.step.Name) != ""
	}
	return e
}

// failure describes the error of a solve: what went wrong, where, and the last output.
func (w *watcher) failure(def *Definition, err error) build.Failure {
	failure := build.Failure{Err: err, Dockerfile: def.Path}
	var exit *gwpb.ExitError
	if errors.As(err, &exit) {
		failure.ExitCode = int(exit.ExitCode)
	}
	for _, src := range errdefs.Sources(err) {
		// A step of an ancestor that the builder had to run again can fail here; its
		// place is in the ancestor's Dockerfile.
		if src.Info == nil || len(src.Ranges) == 0 {
			continue
		}
		failure.Dockerfile = src.Info.Filename
		failure.Line, failure.Source = linesOf(src.Info.Data, int(src.Ranges[0].Start.Line),
			int(src.Ranges[len(src.Ranges)-1].End.Line))
	}
	st := w.failedStep(err)
	if st == nil {
		return failure
	}
	st.output.end()
	failure.Step, failure.Tail = st.step.Name, st.output.shown
	if exit == nil {
		if archive := addedArchive(failure.Step); archive != "" && damagedArchive.MatchString(err.Error()) {
			failure.Err = fmt.Errorf("unpacking %s: the archive is damaged: %s", archive, damagedArchive.FindString(err.Error()))
		}
		return failure
	}
	// The command is in the Dockerfile, which is shown.
	if cause := st.output.cause.Cause(failure.ExitCode); cause.Text != "" {
		failure.Err, failure.Name, failure.Package, failure.Hint = errors.New(cause.Text), cause.Name, cause.Package,
			cause.Hint
	} else {
		failure.Err = exitError(failure.ExitCode, st.output.lastLine())
	}
	return failure
}

// damagedArchive matches the errors of unpacking.
var damagedArchive = regexp.MustCompile(
	`unexpected EOF|invalid tar header|(archive/tar|gzip|zlib|flate|bzip2|xz|zstd)\b.*`)

// addedArchive returns the file of an ADD step, "" for other steps. A file from a server is not
// unpacked.
func addedArchive(step string) string {
	words := strings.Fields(step)
	if len(words) < 3 || words[0] != "ADD" || strings.Contains(step, "://") {
		return ""
	}
	words = slices.DeleteFunc(words[1:], func(w string) bool { return strings.HasPrefix(w, "--") })
	return strings.Join(words[:min(1, len(words))], "")
}

// failedStep returns the step in which a solve failed, nil if it names none.
func (w *watcher) failedStep(err error) *watchedStep {
	var vertex *errdefs.VertexError
	if errors.As(err, &vertex) {
		if st := w.steps[digest.Digest(vertex.Digest)]; st != nil && st.started {
			return st
		}
	}
	return w.firstFailed
}

// exitError returns the error of a command whose output does not show the cause. Its last
// line is the most likely one.
func exitError(code int, lastLine string) error {
	text := fmt.Sprintf("a command ended with exit code %d", code)
	// Shells add 128 to the number of the signal that ended a command. Programs use 128
	// and 255 as well.
	if name := unix.SignalName(syscall.Signal(code - 128)); code > 128 && name != "" {
		text = fmt.Sprintf("a command was ended by the signal %s (exit code %d)", name, code)
	}
	if lastLine != "" {
		text += ": " + lastLine
	}
	return errors.New(text)
}

var (
	stageOfStep = regexp.MustCompile(`^\[[^\]]*\b\d+/\d+\] `)
	flagsOfRun  = regexp.MustCompile(`^((?:ONBUILD )?RUN) (?:--[a-z]+=\S+ )+`)
)

// stepName returns the name of a step without the number of its stage and the options of
// RUN, which is the command.
func stepName(vertex string) string {
	return flagsOfRun.ReplaceAllString(stageOfStep.ReplaceAllString(vertex, ""), "$1 ")
}

// stepKind returns the kind of a step with the given name.
func stepKind(name string) build.StepKind {
	switch {
	case strings.HasPrefix(name, "exporting "):
		return build.StepExport
	case strings.HasPrefix(name, "RUN "), strings.HasPrefix(name, "ONBUILD RUN "):
		return build.StepCommand
	}
	return build.StepFiles
}

// stepTimeout is the cause of a build that was stopped because a step ran too long.
type stepTimeout struct {
	step  build.Step
	id    digest.Digest
	limit time.Duration
}

func (e *stepTimeout) Error() string { return fmt.Sprintf("a step ran for longer than %v", e.limit) }

// failure describes the step, its place, and its output until it was stopped.
func (e *stepTimeout) failure(def *Definition, w *watcher) build.Failure {
	f := build.Failure{Err: e, Dockerfile: def.Path, Step: e.step.Name, Tail: w.steps[e.id].output.shown,
		Hint: "--step-timeout SECONDS allows more, if the step needs it; its last lines say what it waits for"}
	src := def.LLB.Source
	if src == nil {
		return f
	}
	for _, loc := range src.Locations[e.id.String()].GetLocations() {
		i := int(loc.SourceIndex)
		if i < 0 || i >= len(src.Infos) || len(loc.Ranges) == 0 {
			continue
		}
		f.Dockerfile = src.Infos[i].Filename
		f.Line, f.Source = linesOf(src.Infos[i].Data, int(loc.Ranges[0].Start.Line),
			int(loc.Ranges[len(loc.Ranges)-1].End.Line))
	}
	return f
}

// linesOf returns the lines from first to last, nil if they do not exist.
func linesOf(data []byte, first, last int) (int, []string) {
	lines := strings.Split(string(data), "\n")
	if first < 1 || last > len(lines) || first > last {
		return 0, nil
	}
	return first, lines[first-1 : last]
}

func (w *watcher) startTimer(id digest.Digest, st *watchedStep) {
	if w.limit <= 0 {
		return
	}
	st.timer = time.AfterFunc(w.limit, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.expire(&stepTimeout{step: st.step, id: id, limit: w.limit})
	})
}

func (s *watchedStep) stopTimer() {
	if s.timer != nil {
		s.timer.Stop()
	}
}

// stop ends the timers of steps whose end was not reported, and emits the rest of
// their output.
func (w *watcher) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, st := range w.steps {
		st.stopTimer()
		w.flush(st)
	}
}
