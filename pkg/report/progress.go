package report

import (
	"io"
	"os"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// Mode is a way to show progress.
type Mode string

// The modes. Those that docker buildx also has have the same names.
const (
	ModeAuto  Mode = "auto"  // tty on a terminal with cursor control, else plain
	ModeTTY   Mode = "tty"   // a live area below a line per finished image
	ModePlain Mode = "plain" // a line per important event, no colours
	ModeJSON  Mode = "json"  // a JSON object per event, see jsonEvent
	ModeQuiet Mode = "quiet" // failures only
)

// ProgressOptions are the settings of Progress.
type ProgressOptions struct {
	// Out is usually standard error, since programs read standard output. nil
	// means os.Stderr.
	Out io.Writer

	// Mode "" means ModeAuto. ModeTTY falls back to plain lines if Out is not a
	// terminal or TERM is dumb.
	Mode Mode

	// Output also shows the output of steps, each line after the name of its image.
	Output bool

	// Silence is the longest time without a line of plain progress, after which it
	// prints the state of the run. 0 means 30 seconds.
	Silence time.Duration

	// Getenv returns NO_COLOR, TERM, LC_ALL, LC_CTYPE and LANG. nil means
	// os.Getenv.
	Getenv func(string) string

	// Now is the clock for elapsed times. nil means time.Now.
	Now func() time.Time
}

// Progress shows a run while it is in progress. Its methods may be called from several
// goroutines. Handle never blocks, even if the terminal is stopped, because another
// goroutine writes until Close.
type Progress struct {
	opts  ProgressOptions
	view  view
	queue *queue

	mu     sync.Mutex
	model  model
	closed bool

	wake   chan struct{} // something is queued
	redraw chan struct{} // the size of the window has changed
	quit   chan struct{}
	done   chan struct{}
	stop   func() // ends the delivery of window signals
}

// view shows a run in one of the modes. Its methods are called with the lock held.
type view interface {
	// event is called after the model was updated; im is the event's image or nil.
	event(m *model, e build.Event, im *imageState)
	// tick is called regularly and after events. The last call has final set.
	tick(m *model, now time.Time, final bool)
}

// NewProgress starts to show a run. The caller must always call Close, which makes the
// cursor of the terminal visible again.
func NewProgress(opts ProgressOptions) *Progress {
	if opts.Out == nil {
		opts.Out = os.Stderr
	}
	if opts.Getenv == nil {
		opts.Getenv = os.Getenv
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Silence <= 0 {
		opts.Silence = 30 * time.Second
	}
	progress := &Progress{
		opts:   opts,
		queue:  newQueue(opts.Out),
		wake:   make(chan struct{}, 1),
		redraw: make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		stop:   func() {},
	}
	interval := time.Second
	st := style{utf8: utf8Locale(opts.Getenv)}
	f := console.Terminal(opts.Out)
	mode := resolveMode(opts.Mode, opts.Out, opts.Getenv)
	switch mode {
	case ModeTTY:
		st.color = colorful(opts.Getenv)
		progress.view = &ttyView{
			style:  st,
			q:      progress.queue,
			output: opts.Output,
			size:   func() (int, int) { return terminalSize(f) },
		}
		progress.queue.batch = true
		progress.stop = notifyResize(func() { wake(progress.redraw) })
		interval = 100 * time.Millisecond
	case ModeJSON:
		progress.view = &jsonView{q: progress.queue}
		progress.queue.onDrop = func(n int) string {
			return marshalLine(jsonEvent{Time: opts.Now().UTC().Format(time.RFC3339Nano), Event: "dropped", Dropped: n})
		}
	case ModeQuiet:
		progress.view = &plainView{style: st, q: progress.queue, quiet: true}
	default:
		progress.view = &plainView{style: st, q: progress.queue, output: opts.Output, silence: opts.Silence}
	}
	go progress.loop(interval)
	return progress
}

// resolveMode returns the mode that NewProgress uses for a requested one: auto becomes
// tty or plain, and tty becomes plain if out has no cursor control.
func resolveMode(mode Mode, out io.Writer, getenv func(string) string) Mode {
	if getenv == nil {
		getenv = os.Getenv
	}
	switch mode {
	case ModePlain, ModeJSON, ModeQuiet:
		return mode
	}
	// TERM is not set under cron and in some CI systems.
	if t := getenv("TERM"); t == "" || t == "dumb" {
		return ModePlain
	}
	if console.Terminal(out) == nil {
		return ModePlain
	}
	return ModeTTY
}

// Handle shows an event. Events after Close are ignored.
func (p *Progress) Handle(e build.Event) {
	if e.Time.IsZero() {
		e.Time = p.opts.Now()
	}
	p.mu.Lock()
	if !p.closed {
		im := p.model.apply(e)
		p.view.event(&p.model, e, im)
	}
	p.mu.Unlock()
	wake(p.wake)
}

// wake sends a signal to ch, whose buffer has room for one.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close shows the remaining lines, removes the live area, makes the cursor visible
// again, and returns the first error of writing. It may be called twice.
func (p *Progress) Close() error {
	p.mu.Lock()
	first := !p.closed
	if first {
		p.view.tick(&p.model, p.opts.Now(), true)
	}
	p.closed = true
	p.mu.Unlock()
	if first {
		close(p.quit)
	}
	<-p.done
	p.stop()
	return p.queue.err()
}

// loop writes the queued output of the view. It draws at most once per interval,
// whatever the number of events.
func (p *Progress) loop(interval time.Duration) {
	defer close(p.done)
	timer := time.NewTicker(interval)
	defer timer.Stop()
	for {
		select {
		case <-p.quit:
			p.queue.drain()
			return
		case <-timer.C:
			p.tick()
		case <-p.redraw:
			p.tick()
		case <-p.wake:
			// A live view is drawn on ticks; lines are written at once.
			if !p.queue.batch {
				p.queue.drain()
			}
		}
	}
}

func (p *Progress) tick() {
	p.mu.Lock()
	if !p.closed {
		p.view.tick(&p.model, p.opts.Now(), false)
	}
	p.mu.Unlock()
	p.queue.drain()
}
