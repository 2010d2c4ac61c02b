package buildkit

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	gwpb "github.com/moby/buildkit/frontend/gateway/pb"
	"github.com/moby/buildkit/solver/errdefs"
	"github.com/moby/buildkit/util/grpcerrors"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
	"google.golang.org/grpc/codes"
)

// tailLines is how many of a step's last lines a failure keeps.
const tailLines = 30

// Request is one image to build.
type Request struct {
	Definition *Definition
	Created    time.Time // the image's created time, and that of its new history
}

// Build builds an image, exports it into the store and returns its manifest's
// descriptor. Events of its steps go to emit, which must not block. A build
// that fails returns a *build.Failure's worth of detail as *BuildError.
func (b *Builder) Build(ctx context.Context, req Request, emit func(build.Event)) (ocispecs.Descriptor, error) {
	def := req.Definition
	watch := newWatcher(def.Name, emit)
	status := make(chan *client.SolveStatus)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		for s := range status {
			watch.handle(s)
		}
	}()
	attrs := map[string]string{
		"tar":                           "false",
		exptypes.ExporterImageConfigKey: string(def.Config),
	}
	if !req.Created.IsZero() {
		attrs[string(exptypes.OptKeySourceDateEpoch)] = strconv.FormatInt(req.Created.Unix(), 10)
	}
	res, err := b.client.Solve(ctx, def.LLB, client.SolveOpt{
		Exports:               []client.ExportEntry{{Type: client.ExporterOCI, Attrs: attrs, OutputStore: b.opts.Store}},
		SharedSession:         b.session,
		SessionPreInitialized: true,
		AllowedEntitlements:   b.opts.Entitlements,
	}, status)
	<-watched
	if err != nil {
		if ctx.Err() != nil {
			return ocispecs.Descriptor{}, context.Cause(ctx)
		}
		if b.daemon != nil {
			if gone := b.daemon.exited(); gone != nil {
				return ocispecs.Descriptor{}, &LostError{gone}
			}
		}
		if b.Lost() {
			return ocispecs.Descriptor{}, &LostError{err}
		}
		return ocispecs.Descriptor{}, &BuildError{Failure: watch.failure(def, err)}
	}
	return descriptor(res.ExporterResponse)
}

func descriptor(response map[string]string) (ocispecs.Descriptor, error) {
	var desc ocispecs.Descriptor
	data, err := base64.StdEncoding.DecodeString(response[exptypes.ExporterImageDescriptorKey])
	if err == nil {
		err = json.Unmarshal(data, &desc)
	}
	if err == nil && desc.Digest == "" {
		err = errors.New("no digest")
	}
	if err != nil {
		return desc, fmt.Errorf("the builder's answer names no image: %w", err)
	}
	return desc, nil
}

// LostError says that the builder went away while it built. Another try, on a
// builder opened anew, may well succeed.
type LostError struct{ Err error }

func (e *LostError) Error() string { return "the builder was lost: " + e.Err.Error() }

func (e *LostError) Unwrap() error { return e.Err }

// Temporary implements build.Temporary.
func (e *LostError) Temporary() bool { return true }

// BuildError is an image that the builder could not build.
type BuildError struct{ Failure build.Failure }

func (e *BuildError) Error() string { return e.Failure.Err.Error() }

func (e *BuildError) Unwrap() error { return e.Failure.Err }

// Detail implements build.Detailed.
func (e *BuildError) Detail() build.Failure { return e.Failure }

// Temporary implements build.Temporary: a command that failed for the network's
// sake is worth another try, one that failed by itself is not.
func (e *BuildError) Temporary() bool {
	return build.PassingFault(e.Failure.Tail) || isUnavailable(e.Failure.Err)
}

// isUnavailable reports whether the daemon could not be reached, as opposed to
// having answered with an error.
func isUnavailable(err error) bool {
	return grpcerrors.Code(err) == codes.Unavailable || errors.Is(err, context.DeadlineExceeded)
}

// watcher turns BuildKit's status of one solve into events of one image.
type watcher struct {
	image string
	emit  func(build.Event)
	steps map[digest.Digest]*watchedStep

	firstFailed *watchedStep // what fails after it fails because of it
}

type watchedStep struct {
	step    build.Step
	started bool
	ended   bool
	tail    lineTail
	partial map[int][]byte // by stream: the beginning of a line whose end has not come
}

// maxPartial bounds what is held back of a line without an end.
const maxPartial = 64 << 10

// lines returns what is whole of a stream, and keeps the rest.
func (s *watchedStep) lines(stream int, data []byte) []byte {
	if s.partial == nil {
		s.partial = map[int][]byte{}
	}
	all := append(s.partial[stream], data...)
	end := bytes.LastIndexByte(all, '\n') + 1
	if end == 0 && len(all) > maxPartial {
		end = len(all)
	}
	s.partial[stream] = bytes.Clone(all[end:])
	return all[:end:end]
}

// flush hands on what a step that ended has left of its last lines.
func (w *watcher) flush(s *watchedStep) {
	for _, stream := range slices.Sorted(maps.Keys(s.partial)) {
		if rest := s.partial[stream]; len(rest) > 0 {
			rest = append(rest, '\n')
			s.tail.write(rest)
			w.send(build.Event{Kind: build.EventLog, Step: s.step, Data: rest})
		}
	}
	s.partial = nil
}

func newWatcher(image string, emit func(build.Event)) *watcher {
	return &watcher{image: image, emit: emit, steps: map[digest.Digest]*watchedStep{}}
}

func (w *watcher) send(e build.Event) {
	e.Time, e.Image = time.Now(), w.image
	w.emit(e)
}

func (w *watcher) handle(s *client.SolveStatus) {
	for _, v := range s.Vertexes {
		st := w.steps[v.Digest]
		if st == nil {
			st = &watchedStep{step: build.Step{ID: v.Digest.String(), Name: v.Name}}
			w.steps[v.Digest] = st
		}
		st.step.Name, st.step.Cached = v.Name, v.Cached
		// Steps of ancestors come as cached ones; they are not this image's work.
		if v.Cached {
			continue
		}
		if v.Started != nil && !st.started {
			st.started = true
			w.send(build.Event{Kind: build.EventStepStart, Step: st.step})
		}
		if v.Completed != nil && !st.ended && st.started {
			st.ended = true
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
	for _, l := range s.Logs {
		st := w.steps[l.Vertex]
		if st == nil {
			continue
		}
		// Chunks of standard output and standard error come as they were written,
		// lines cut anywhere: only whole lines of one stream are handed on.
		whole := st.lines(l.Stream, l.Data)
		if len(whole) > 0 {
			st.tail.write(whole)
			w.send(build.Event{Kind: build.EventLog, Step: st.step, Data: whole})
		}
	}
	for _, v := range s.Statuses {
		st := w.steps[v.Vertex]
		if st == nil || v.Total == 0 && v.Current == 0 {
			continue
		}
		w.send(build.Event{Kind: build.EventTransfer, Step: build.Step{ID: v.ID, Name: v.Name}, Current: v.Current, TotalBytes: v.Total})
	}
}

// failure says what went wrong, where, and with which last words.
func (w *watcher) failure(def *Definition, err error) build.Failure {
	f := build.Failure{Err: err, Dockerfile: def.Path}
	var exit *gwpb.ExitError
	if errors.As(err, &exit) {
		f.ExitCode = int(exit.ExitCode)
	}
	for _, src := range errdefs.Sources(err) {
		// With parents spliced in, a step of an ancestor that the builder had
		// to run again can fail here: its Dockerfile is the place, not ours.
		if src.Info == nil || len(src.Ranges) == 0 {
			continue
		}
		f.Dockerfile = src.Info.Filename
		first, last := int(src.Ranges[0].Start.Line), int(src.Ranges[len(src.Ranges)-1].End.Line)
		lines := strings.Split(string(src.Info.Data), "\n")
		if first >= 1 && last <= len(lines) && first <= last {
			f.Line, f.Source = first, lines[first-1:last]
		}
	}
	if st := w.firstFailed; st != nil {
		f.Step, f.Tail = st.step.Name, st.tail.lines()
	}
	if exit != nil && exit.ExitCode < 128 {
		// The command stands in the Dockerfile, which is shown; what it said last
		// is the likeliest cause.
		last := ""
		if n := len(f.Tail); n > 0 {
			last = ": " + f.Tail[n-1]
		}
		f.Err = fmt.Errorf("a command ended with exit code %d%s", exit.ExitCode, last)
	}
	return f
}

// lineTail keeps the last lines of a stream.
type lineTail struct {
	full    []string
	partial []byte
}

func (t *lineTail) write(data []byte) {
	for {
		i := bytes.IndexByte(data, '\n')
		if i < 0 {
			break
		}
		t.add(append(t.partial, data[:i]...))
		t.partial, data = nil, data[i+1:]
	}
	// A line without an end is cut: it could be of any length.
	if len(t.partial)+len(data) <= 64<<10 {
		t.partial = append(t.partial, data...)
	}
}

func (t *lineTail) add(line []byte) {
	t.full = append(t.full, strings.TrimRight(string(line), "\r"))
	if len(t.full) > tailLines {
		t.full = t.full[1:]
	}
}

func (t *lineTail) lines() []string {
	if len(t.partial) > 0 {
		return append(t.full[:len(t.full):len(t.full)], string(t.partial))
	}
	return t.full
}
