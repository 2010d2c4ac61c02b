package report

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// Mode is how progress is shown.
type Mode string

// The modes of progress, as docker buildx names those that it has.
const (
	ModeAuto  Mode = "auto"  // tty on a terminal that can draw, plain elsewhere
	ModeTTY   Mode = "tty"   // a live area below a line per finished image
	ModePlain Mode = "plain" // a line per event that matters, no colours
	ModeJSON  Mode = "json"  // an object per event and line, see jsonEvent
	ModeQuiet Mode = "quiet" // failures only
)

// Modes are the names that ParseMode takes.
var Modes = []Mode{ModeAuto, ModeTTY, ModePlain, ModeJSON, ModeQuiet}

// ParseMode returns the mode of that name. "" is ModeAuto.
func ParseMode(name string) (Mode, error) {
	if name == "" {
		return ModeAuto, nil
	}
	names := make([]string, len(Modes))
	for i, m := range Modes {
		if string(m) == name {
			return m, nil
		}
		names[i] = string(m)
	}
	return "", fmt.Errorf("unknown progress mode %q: it is one of %s", name, strings.Join(names, ", "))
}

// ProgressOptions are the settings of Progress.
type ProgressOptions struct {
	// Out is where progress goes, standard error as a rule, so that standard
	// output stays free for what programs read. nil means os.Stderr.
	Out io.Writer

	// Mode is how; "" means ModeAuto. ModeTTY falls back to plain lines where
	// nothing can be drawn: Out is no terminal, or TERM is dumb.
	Mode Mode

	// Output shows the output of steps too, each line after its image's name.
	Output bool

	// Silence is how long plain progress says nothing before it prints where the
	// run stands. 0 means 30 seconds.
	Silence time.Duration

	// Getenv is where NO_COLOR, TERM, LC_ALL, LC_CTYPE and LANG come from. nil
	// means os.Getenv.
	Getenv func(string) string

	// Now is the clock that elapsed times are told by. nil means time.Now.
	Now func() time.Time
}

// Progress shows a run while it goes on. Its methods may be called from several
// goroutines. Handle does no output itself and so never blocks, even where the
// terminal is stopped; a goroutine of its own writes, until Close.
type Progress struct {
	opts  ProgressOptions
	view  view
	queue *queue

	mu     sync.Mutex
	model  model
	closed bool

	wake   chan struct{} // something is queued
	redraw chan struct{} // the window has another size
	quit   chan struct{}
	done   chan struct{}
	stop   func() // ends the delivery of window signals
}

// view is one way to show a run. Its methods are called with the lock held.
type view interface {
	// event is called after the model has taken e; im is e's image or nil.
	event(m *model, e build.Event, im *imageState)
	// tick is called now and then, and after events. final is the last call.
	tick(m *model, now time.Time, final bool)
}

// NewProgress starts to show a run. Close must be called at its end, on every
// path: it gives the terminal its cursor back.
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
	p := &Progress{
		opts:   opts,
		queue:  newQueue(opts.Out),
		wake:   make(chan struct{}, 1),
		redraw: make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		stop:   func() {},
	}
	every := time.Second
	st := style{utf8: utf8Locale(opts.Getenv)}
	f := console.Terminal(opts.Out)
	mode := ResolveMode(opts.Mode, opts.Out, opts.Getenv)
	switch mode {
	case ModeTTY:
		st.color = colorful(opts.Getenv)
		p.view = &ttyView{style: st, q: p.queue, output: opts.Output, size: func() (int, int) { return terminalSize(f) }}
		p.queue.batch = true
		p.stop = notifyResize(func() { wake(p.redraw) })
		every = 100 * time.Millisecond
	case ModeJSON:
		p.view = &jsonView{q: p.queue}
		p.queue.onDrop = func(n int) string {
			return marshalLine(jsonEvent{Time: opts.Now().UTC().Format(time.RFC3339Nano), Event: "dropped", Dropped: n})
		}
	case ModeQuiet:
		p.view = &plainView{style: st, q: p.queue, quiet: true}
	default:
		p.view = &plainView{style: st, q: p.queue, output: opts.Output, silence: opts.Silence}
	}
	go p.loop(every)
	return p
}

// ResolveMode says which mode NewProgress uses for one that was asked for: auto
// becomes tty or plain, and tty becomes plain where nothing can be drawn.
func ResolveMode(mode Mode, out io.Writer, getenv func(string) string) Mode {
	if getenv == nil {
		getenv = os.Getenv
	}
	switch mode {
	case ModePlain, ModeJSON, ModeQuiet:
		return mode
	}
	// An unset TERM, as under cron or in some CI terminals, can draw nothing.
	if t := getenv("TERM"); t == "" || t == "dumb" {
		return ModePlain
	}
	if console.Terminal(out) == nil {
		return ModePlain
	}
	return ModeTTY
}

// Handle takes an event. It may be called until Close has returned; what comes
// later is dropped.
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

// wake leaves one signal in ch, which has room for one.
func wake(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// Close shows what has not been shown yet, takes the live area away, gives the
// cursor back, and returns the first error of writing. It may be called twice.
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

// loop writes what the view has queued. It draws at most once per interval,
// however many events come.
func (p *Progress) loop(every time.Duration) {
	defer close(p.done)
	timer := time.NewTicker(every)
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
			// A live view draws on its ticks; lines go out at once.
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
