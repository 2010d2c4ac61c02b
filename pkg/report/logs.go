package report

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// FailedPrefix begins the name of the symbolic link to the log of a failed image,
// as in upstream. It sorts first in a listing.
const FailedPrefix = "000_FAILED_"

// LogsOptions are the settings of Logs.
type LogsOptions struct {
	// Dir is the directory of the log files. It is created if needed. If it is "",
	// no files are written, and only the last lines of steps are kept.
	Dir string

	// MaxSize is how many bytes of output a file holds, 0 for no limit. The rest is
	// discarded.
	MaxSize int64

	// TailLines is how many of the last lines of a step are kept. 0 means 20.
	TailLines int

	// OnError is called once, with the first error of writing. The run continues
	// without log files. It may be nil and must not call methods of the Logs.
	OnError func(error)
}

// Logs keeps a log file per image and the last lines of each step.
//
// The file, <image>.log, is created at the first step of its image and contains the output
// of each step, byte for byte, under a header. A failed image has a symbolic link
// to it as well, 000_FAILED_<image>.log; those of earlier runs are removed when
// the run starts.
//
// Its methods may be called from several goroutines.
type Logs struct {
	opts LogsOptions

	mu     sync.Mutex
	err    error
	images map[image.ID]*imageLog
	ended  map[image.ID]endedLog
}

// endedLog is the log of a finished image.
type endedLog struct {
	path    string         // "" if there is no file
	failure *build.Failure // completed; nil if the image did not fail
}

type imageLog struct {
	begun    *build.Event // the start of an image whose file is not created yet
	path     string
	file     *os.File
	w        *bufio.Writer
	size     int64  // bytes of output
	midLine  bool   // the last output written did not end its line
	current  string // ID of the step whose output was last written
	attempts int
	steps    map[string]*stepLog
	last     *stepLog // the step that failed last, else the one with the latest output
}

type stepLog struct {
	name   string
	failed bool
	split  lineSplitter
	tail   []string
}

// NewLogs prepares the logs of a run. If the directory cannot be used, OnError is
// called and no files are written.
func NewLogs(opts LogsOptions) *Logs {
	if opts.TailLines <= 0 {
		opts.TailLines = 20
	}
	l := &Logs{opts: opts, images: map[image.ID]*imageLog{}, ended: map[image.ID]endedLog{}}
	if opts.Dir == "" {
		return l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.makeDir()
	return l
}

func (l *Logs) makeDir() {
	if err := os.MkdirAll(l.opts.Dir, 0o755); err != nil {
		l.fail(fmt.Errorf("creating the log directory: %w", err))
		return
	}
	l.removeStaleLinks()
}

// removeStaleLinks removes the links to logs of images that failed in earlier runs.
// Regular files of that name are kept.
func (l *Logs) removeStaleLinks() {
	links, err := filepath.Glob(filepath.Join(globEscape(l.opts.Dir), FailedPrefix+"*.log"))
	if err != nil {
		return
	}
	for _, link := range links {
		if fi, err := os.Lstat(link); err != nil || fi.Mode()&os.ModeSymlink == 0 {
			continue
		}
		if err := os.Remove(link); err != nil {
			l.fail(fmt.Errorf("removing the link of an earlier failure: %w", err))
			return
		}
	}
}

func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Handle handles an event of a run; see Completing for handlers that show results.
// It blocks no longer than a buffered write to a local file.
func (l *Logs) Handle(e build.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Kind {
	case build.EventImageStart:
		l.start(e)
	case build.EventStepStart:
		im := l.image(e)
		l.open(im)
		l.step(im, e.Step)
		l.header(im, e.Step)
	case build.EventLog:
		l.output(e)
	case build.EventStepEnd:
		l.stepEnd(e)
	case build.EventImageEnd:
		l.imageEnd(e)
	}
}

// Close flushes and closes the files of images that have not ended.
func (l *Logs) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	for name, im := range l.images {
		l.openNew(im)
		if im.w != nil {
			l.line(im, "# not finished")
		}
		l.closeFile(im)
		delete(l.images, name)
	}
	return l.err
}

// fail records the first error and stops all writing: on a full disk every later
// write would fail too, and an incomplete log misleads more than none.
func (l *Logs) fail(err error) {
	if l.err != nil {
		return
	}
	l.err = err
	for _, im := range l.images {
		if im.file != nil {
			_ = im.file.Close()
		}
		im.file, im.w = nil, nil
	}
	if l.opts.OnError != nil {
		l.opts.OnError(err)
	}
}

func (l *Logs) image(e build.Event) *imageLog {
	im := l.images[e.Image]
	if im == nil {
		im = &imageLog{steps: map[string]*stepLog{}}
		l.images[e.Image] = im
	}
	return im
}

func (l *Logs) step(im *imageLog, s build.Step) *stepLog {
	st := im.steps[s.ID]
	if st == nil {
		st = &stepLog{name: s.Name}
		im.steps[s.ID] = st
	}
	if s.Name != "" {
		st.name = s.Name
	}
	if im.last == nil || !im.last.failed {
		im.last = st
	}
	return st
}

// LogName returns the name of an image's log without ".log". It cannot lead out of the
// directory.
func LogName(image string) string {
	return strings.NewReplacer("/", "_", string(filepath.Separator), "_", "\x00", "_").Replace(image)
}

func (l *Logs) start(e build.Event) {
	im := l.image(e)
	im.attempts++
	im.steps, im.last, im.current = map[string]*stepLog{}, nil, ""
	if l.opts.Dir == "" || l.err != nil {
		return
	}
	if im.attempts > 1 {
		l.open(im)
		l.line(im, fmt.Sprintf("# attempt %d, %s", im.attempts, stamp(e.Time)))
		return
	}
	im.begun = &e
}

func (l *Logs) output(e build.Event) {
	if len(e.Data) == 0 {
		return
	}
	im := l.image(e)
	l.open(im)
	st := l.step(im, e.Step)
	st.split.write(e.Data, func(line string) { l.keep(st, line) })
	// Steps of an image may run at the same time: the header is repeated whenever
	// the output changes from one to another.
	l.header(im, build.Step{ID: e.Step.ID, Name: st.name})
	if im.w == nil {
		return
	}
	data := e.Data
	if limit := l.opts.MaxSize; limit > 0 {
		if im.size >= limit {
			return
		}
		data = data[:min(int64(len(data)), limit-im.size)]
	}
	im.size += int64(len(data))
	_, err := im.w.Write(data)
	if im.midLine = data[len(data)-1] != '\n'; im.size == l.opts.MaxSize && err == nil {
		l.line(im, "# the output is longer; the rest is omitted")
	}
	// It is flushed here so that the log can be followed, and exists even if the run is
	// killed.
	if err == nil && im.w != nil {
		err = im.w.Flush()
	}
	if err != nil {
		l.fail(fmt.Errorf("writing a log: %w", err))
	}
}

// ending matches the last line of the log of an image that has ended.
var ending = regexp.MustCompile(`^# ((?:built|unchanged|[a-z]*_?error|canceled|skipped) after .*)$`)

// LogEnding returns how an image ended, from the last line of its log, "" if
// the image has not ended.
func LogEnding(line string) string {
	if m := ending.FindStringSubmatch(line); m != nil {
		return m[1]
	}
	return ""
}

func (l *Logs) keep(st *stepLog, line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	if len(st.tail) >= l.opts.TailLines {
		copy(st.tail, st.tail[1:])
		st.tail = st.tail[:len(st.tail)-1]
	}
	st.tail = append(st.tail, line)
}

func (l *Logs) stepEnd(e build.Event) {
	im := l.image(e)
	l.open(im)
	st := l.step(im, e.Step)
	st.split.flush(func(line string) { l.keep(st, line) })
	l.header(im, build.Step{ID: e.Step.ID, Name: st.name})
	switch {
	case e.Step.Err != "":
		st.failed = true
		im.last = st
		l.line(im, "<== "+oneLine(e.Step.Err)+" after "+units.Duration(e.Step.Duration))
	case e.Step.Cached:
		l.line(im, "<== cached")
	default:
		l.line(im, "<== done in "+units.Duration(e.Step.Duration))
	}
	im.current = ""
	if !st.failed && im.last != st {
		delete(im.steps, e.Step.ID)
	}
	if im.w != nil {
		if err := im.w.Flush(); err != nil {
			l.fail(fmt.Errorf("writing a log: %w", err))
		}
	}
}

func (l *Logs) imageEnd(e build.Event) {
	im := l.images[e.Image]
	delete(l.images, e.Image)
	result := e.Result
	var endedImage endedLog
	if result != nil {
		endedImage.failure = result.Failure
	}
	switch {
	case im == nil, result != nil && result.Status == build.StatusUnchanged:
	case result != nil && result.Status == build.StatusCanceled:
		l.openNew(im)
	default:
		l.open(im)
	}
	if im != nil {
		endedImage.path = im.path
		if endedImage.failure != nil {
			endedImage.failure = im.complete(*endedImage.failure)
		}
	} else if result != nil && (result.Status == build.StatusError || result.Status == build.StatusParentError) &&
		l.opts.Dir != "" && l.err == nil {
		im = l.notStarted(e)
		endedImage.path = im.path
	}
	if im != nil {
		if im.w != nil && result != nil {
			status, reason := string(result.Status), oneLine(result.Reason)
			if result.Status == build.StatusParentError {
				status, reason = string(build.StatusSkipped), strings.TrimPrefix(reason, "skipped ")
			}
			text := fmt.Sprintf("# %s after %s", status, units.Duration(result.Duration))
			if reason != "" {
				text += ": " + reason
			}
			l.line(im, text)
		}
		l.closeFile(im)
	}
	l.ended[e.Image] = endedImage
	if result == nil {
		return
	}
	if result.Status == build.StatusError && im != nil && im.path != "" && l.err == nil {
		link := filepath.Join(l.opts.Dir, FailedPrefix+LogName(e.Image.String())+".log")
		_ = os.Remove(link)
		if err := os.Symlink(filepath.Base(im.path), link); err != nil {
			l.fail(fmt.Errorf("linking to the log of %s: %w", e.Image, err))
		}
	}
}

// notStarted creates the log of an image that ended before it could start. It contains the
// reason, for a user or a script that looks for the log.
func (l *Logs) notStarted(e build.Event) *imageLog {
	im := &imageLog{}
	l.create(im, e)
	if f := e.Result.Failure; f != nil && f.Err != nil && im.w != nil {
		for line := range strings.SplitSeq(f.Err.Error(), "\n") {
			l.line(im, Sanitize([]byte(line)))
		}
		if f.Hint != "" {
			l.line(im, "hint: "+oneLine(f.Hint))
		}
	}
	return im
}

// LogSkipped reports whether the ending of a log, from LogEnding, shows that the image was not
// built because a parent failed.
func LogSkipped(ending string) bool {
	return strings.HasPrefix(ending, string(build.StatusSkipped))
}

// Complete returns a build's result with the path of its log and, for a failure,
// the step and its last lines if the builder did not report them.
func (l *Logs) Complete(r build.Result) Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := Result{Result: r}
	if endedImage, ok := l.ended[r.Image]; ok {
		out.Log = endedImage.path
		if r.Failure != nil && endedImage.failure != nil {
			out.Failure = endedImage.failure
		}
	}
	return out
}

// Completing returns an event handler that writes events to the logs and passes
// them to next, with results completed as by Complete.
func (l *Logs) Completing(next func(build.Event)) func(build.Event) {
	return func(e build.Event) {
		l.Handle(e)
		if e.Kind == build.EventImageEnd && e.Result != nil {
			r := l.Complete(*e.Result)
			e.Result, e.Log = &r.Result, r.Log
		}
		next(e)
	}
}

// complete returns f with the step and its last lines, if f does not have them.
func (im *imageLog) complete(f build.Failure) *build.Failure {
	st := im.last
	for _, s := range im.steps {
		if f.Step != "" && s.name == f.Step {
			st = s
		}
	}
	if st == nil {
		return &f
	}
	if f.Step == "" && st.failed {
		f.Step = st.name
	}
	if len(f.Tail) == 0 && (f.Step == "" || f.Step == st.name) {
		f.Tail = append([]string(nil), st.tail...)
	}
	return &f
}
