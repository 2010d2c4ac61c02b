package report

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// FailedPrefix begins the name of the symbolic link to a failed image's log,
// as upstream names it: it sorts first in a listing.
const FailedPrefix = "000_FAILED_"

// LogsOptions are the settings of Logs.
type LogsOptions struct {
	// Dir is the directory of the log files. It is created if need be. With ""
	// no files are written, and only the last lines of steps are kept.
	Dir string

	// TailLines is how many of a step's last lines are kept. 0 means 20.
	TailLines int

	// OnError is told the first error of writing, once; the run goes on without
	// log files from there. It may be nil, and must not call the Logs' methods;
	// handing a message to Progress is fine.
	OnError func(error)
}

// Logs keeps a log file per image and the last lines of each step.
//
// A file, <image>.log, is created afresh when its image starts and holds the
// output as the bytes that came, under a header per step. For a failed image
// there is a symbolic link beside it, 000_FAILED_<image>.log; those of earlier
// runs are removed when the run starts.
//
// Its methods may be called from several goroutines.
type Logs struct {
	opts LogsOptions

	mu     sync.Mutex
	err    error
	images map[string]*imageLog
	wrote  map[string]string // image to the path of its file of this run
}

type imageLog struct {
	file     *os.File
	w        *bufio.Writer
	midLine  bool   // the output written last did not end its line
	current  string // ID of the step whose output was written last
	attempts int
	steps    map[string]*stepLog
	last     *stepLog // the step that failed last, else that spoke last
}

type stepLog struct {
	name   string
	failed bool
	split  lineSplitter
	tail   []string
}

// NewLogs prepares a run's logs. An unusable directory is told to OnError, and
// leaves a Logs that writes nothing.
func NewLogs(opts LogsOptions) *Logs {
	if opts.TailLines <= 0 {
		opts.TailLines = 20
	}
	l := &Logs{opts: opts, images: map[string]*imageLog{}, wrote: map[string]string{}}
	if opts.Dir == "" {
		return l
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := os.MkdirAll(opts.Dir, 0o755); err != nil {
		l.fail(fmt.Errorf("making the log directory: %w", err))
		return l
	}
	l.removeStaleLinks()
	return l
}

// removeStaleLinks takes away the marks of an earlier run's failures. Only
// links: a file of that name is not ours.
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
			l.fail(fmt.Errorf("removing an earlier run's mark: %w", err))
			return
		}
	}
}

func globEscape(dir string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(dir)
}

// Path returns the path of image's log file, "" if this run wrote none.
func (l *Logs) Path(image string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.wrote[image]
}

// Handle takes an event. At the end of an image it completes the event's
// result: Log, and Failure.Tail and Failure.Step, where they are empty. It
// must therefore stand before other handlers that show results.
//
// It writes to local files through a buffer, which is as much as it blocks.
func (l *Logs) Handle(e build.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e.Kind {
	case build.EventImageStart:
		l.start(e)
	case build.EventStepStart:
		im := l.image(e)
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
		if im.w != nil {
			l.line(im, "# not finished")
		}
		l.closeFile(im)
		delete(l.images, name)
	}
	return l.err
}

// fail notes the first error and stops all writing: on a full disk each
// further write would fail too, and half a log misleads more than none.
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

// fileName keeps an image name from leaving the directory.
func fileName(image string) string {
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
		l.line(im, fmt.Sprintf("# attempt %d, %s", im.attempts, stamp(e.Time)))
		return
	}
	path := filepath.Join(l.opts.Dir, fileName(e.Image)+".log")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		l.fail(fmt.Errorf("creating the log of %s: %w", e.Image, err))
		return
	}
	im.file, im.w = f, bufio.NewWriterSize(f, 32<<10)
	l.wrote[e.Image] = path
	l.line(im, fmt.Sprintf("# %s, %s", e.Image, stamp(e.Time)))
}

func stamp(t time.Time) string {
	if t.IsZero() {
		t = time.Now()
	}
	return t.UTC().Format(time.RFC3339)
}

func (l *Logs) header(im *imageLog, s build.Step) {
	name := s.Name
	if name == "" {
		name = s.ID
	}
	if im.current == s.ID {
		return
	}
	im.current = s.ID
	l.line(im, "==> "+oneLine(name))
}

// line writes a line of our own, on a line of its own.
func (l *Logs) line(im *imageLog, text string) {
	if im.w == nil {
		return
	}
	if im.midLine {
		text = "\n" + text
		im.midLine = false
	}
	if _, err := im.w.WriteString(text + "\n"); err != nil {
		l.fail(fmt.Errorf("writing a log: %w", err))
	}
}

func (l *Logs) output(e build.Event) {
	if len(e.Data) == 0 {
		return
	}
	im := l.image(e)
	st := l.step(im, e.Step)
	st.split.write(e.Data, func(line string) { l.keep(st, line) })
	// Steps of one image may run side by side: the header is repeated wherever
	// the output changes hands.
	l.header(im, build.Step{ID: e.Step.ID, Name: st.name})
	if im.w == nil {
		return
	}
	if _, err := im.w.Write(e.Data); err != nil {
		l.fail(fmt.Errorf("writing a log: %w", err))
		return
	}
	im.midLine = e.Data[len(e.Data)-1] != '\n'
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
	// Flushed here, so that a long image's log can be followed.
	if im.w != nil {
		if err := im.w.Flush(); err != nil {
			l.fail(fmt.Errorf("writing a log: %w", err))
		}
	}
}

func (l *Logs) imageEnd(e build.Event) {
	im := l.images[e.Image]
	r := e.Result
	if im != nil {
		delete(l.images, e.Image)
		if r != nil && r.Failure != nil {
			im.complete(r.Failure)
		}
		if im.w != nil && r != nil {
			text := fmt.Sprintf("# %s after %s", r.Status, units.Duration(r.Duration))
			if r.Reason != "" {
				text += ": " + oneLine(r.Reason)
			}
			l.line(im, text)
		}
		l.closeFile(im)
	}
	if r == nil {
		return
	}
	path := l.wrote[e.Image]
	if r.Log == "" {
		r.Log = path
	}
	if r.Status == build.StatusError && path != "" && l.err == nil {
		link := filepath.Join(l.opts.Dir, FailedPrefix+fileName(e.Image)+".log")
		_ = os.Remove(link)
		if err := os.Symlink(filepath.Base(path), link); err != nil {
			l.fail(fmt.Errorf("marking the log of %s as failed: %w", e.Image, err))
		}
	}
}

// complete fills in what the builder left out of f.
func (im *imageLog) complete(f *build.Failure) {
	st := im.last
	for _, s := range im.steps {
		if f.Step != "" && s.name == f.Step {
			st = s
		}
	}
	if st == nil {
		return
	}
	if f.Step == "" && st.failed {
		f.Step = st.name
	}
	if len(f.Tail) == 0 && (f.Step == "" || f.Step == st.name) {
		f.Tail = append([]string(nil), st.tail...)
	}
}

func (l *Logs) closeFile(im *imageLog) {
	if im.file == nil {
		return
	}
	err := im.w.Flush()
	if cerr := im.file.Close(); err == nil {
		err = cerr
	}
	im.file, im.w = nil, nil
	if err != nil {
		l.fail(fmt.Errorf("writing a log: %w", err))
	}
}
