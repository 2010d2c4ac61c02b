// Package transfer shows the progress of commands that transfer many bytes: how much is
// done, how fast, and the remaining time. It must not know what the bytes are.
package transfer

import (
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
)

// Progress shows one transfer on standard error. Its methods may be called from several
// goroutines, and Update never blocks. A nil *Progress shows nothing.
type Progress struct {
	con    *console.Console
	action string
	view   view
	quit   chan struct{}
	done   chan struct{}
	once   sync.Once

	mu    sync.Mutex
	meter meter
}

// view shows the state of a transfer. end is set once, at the end.
type view interface {
	show(now time.Time, s state, end bool)
}

// Start begins to show a transfer. action is what the command does, such as "loading". mode
// is a value of the option --progress: auto, tty, plain, json or quiet; "" is auto. The
// caller must call Stop, also after an error.
func Start(con *console.Console, action, mode string) *Progress {
	p := newProgress(con, action, mode)
	if p == nil {
		return nil
	}
	interval := time.Second
	if _, ok := p.view.(*statusView); ok {
		interval = 200 * time.Millisecond
	}
	ticker := time.NewTicker(interval)
	go func() {
		defer ticker.Stop()
		p.run(ticker.C)
	}()
	return p
}

func newProgress(con *console.Console, action, mode string) *Progress {
	p := &Progress{con: con, action: action, quit: make(chan struct{}), done: make(chan struct{})}
	switch {
	case mode == "quiet":
		return nil
	case mode == "json":
		p.view = &jsonView{con: con}
	case mode != "plain" && con.HasStatus():
		p.view = &statusView{con: con}
	default:
		p.view = &plainView{con: con}
	}
	return p
}

// Update sets how many bytes are done, and how many there are in total, 0 if that is not
// known.
func (p *Progress) Update(done, total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.meter.done, p.meter.total = done, total
}

// UpdateAs is Update in a command that does several things, one after another.
func (p *Progress) UpdateAs(action string, done, total int64) {
	if p == nil {
		return
	}
	p.mu.Lock()
	p.action = action
	p.mu.Unlock()
	p.Update(done, total)
}

// Stop ends the display, and removes it from a terminal. It may be called twice.
func (p *Progress) Stop() {
	if p == nil {
		return
	}
	p.once.Do(func() { close(p.quit) })
	<-p.done
}

func (p *Progress) run(ticks <-chan time.Time) {
	defer close(p.done)
	for {
		select {
		case now := <-ticks:
			p.show(now, false)
		case <-p.quit:
			p.show(time.Now(), true)
			return
		}
	}
}

func (p *Progress) show(now time.Time, end bool) { p.view.show(now, p.current(now), end) }

func (p *Progress) current(now time.Time) state {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.meter.sample(now)
	s.Action = p.action
	return s
}

// state is the progress of a transfer.
type state struct {
	Action      string
	Done, Total int64         // bytes; Total is 0 if it is not known
	Rate        int64         // bytes per second, 0 if it is not known
	Remaining   time.Duration // 0 if it is not known
}

// String formats the state for people.
func (s state) String() string {
	text := s.Action + " " + units.Bytes(s.Done)
	if s.Total > 0 {
		text += fmt.Sprintf(" of %s (%d%%)", units.Bytes(s.Total), s.Done*100/s.Total)
	}
	if s.Rate > 0 {
		text += ", " + units.Bytes(s.Rate) + "/s"
	}
	if s.Remaining > 0 {
		text += ", " + units.Estimate(s.Remaining) + " left"
	}
	return text
}

// window is the time over which the rate is averaged: long enough for a steady estimate,
// short enough to show that a medium has become slow.
const window = 10 * time.Second

// meter computes the rate of the last seconds.
type meter struct {
	done, total int64
	samples     []sample // not older than window, oldest first
}

type sample struct {
	at   time.Time
	done int64
}

func (m *meter) sample(now time.Time) state {
	s := state{Done: m.done, Total: max(m.total, 0)}
	if s.Total > 0 {
		s.Total = max(s.Total, s.Done)
	}
	for len(m.samples) > 1 && now.Sub(m.samples[1].at) >= window {
		m.samples = m.samples[1:]
	}
	if n := len(m.samples); n > 0 && m.done < m.samples[n-1].done {
		m.samples = nil // it began again
	}
	m.samples = append(m.samples, sample{now, m.done})
	first := m.samples[0]
	if elapsed := now.Sub(first.at); elapsed >= time.Second {
		s.Rate = int64(float64(s.Done-first.done) / elapsed.Seconds())
	}
	if s.Rate > 0 && s.Total > s.Done {
		// A few bytes per second of terabytes take longer than a time.Duration can be.
		if seconds := float64(s.Total-s.Done) / float64(s.Rate); seconds < math.MaxInt64/float64(time.Second) {
			s.Remaining = time.Duration(seconds * float64(time.Second))
		}
	}
	return s
}
