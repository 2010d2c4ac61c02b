package pipeline

import (
	"fmt"
	"sync"
	"time"
)

// stopwatch measures how much of a run this program itself cost: the time in
// which neither a build nor an upload was under way. What the builder and the
// registry take is theirs; what is left is ours, and benchmarks hold it down.
type stopwatch struct {
	started time.Time

	mu       sync.Mutex
	busy     int           // builds and uploads under way
	since    time.Time     // when busy became what it is
	idle     time.Duration // with busy at 0
	starting time.Duration // of idle: the builder's start and end
}

func newStopwatch() *stopwatch {
	now := time.Now()
	return &stopwatch{started: now, since: now}
}

// work notes that a build or an upload begins; what it returns, that it ends.
func (s *stopwatch) work() (done func()) {
	s.count(1)
	return func() { s.count(-1) }
}

func (s *stopwatch) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.busy == 0 {
		s.idle += now.Sub(s.since)
	}
	s.since = now
	s.busy += n
}

// builder adds to what the builder's start and end took.
func (s *stopwatch) builder(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting += time.Since(since)
}

// String ends the measurement and says what it found.
func (s *stopwatch) String() string {
	s.count(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf("time: %.2f s in all, %.2f s without a build or an upload under way, %.2f s of them for the builder to start and end",
		time.Since(s.started).Seconds(), s.idle.Seconds(), s.starting.Seconds())
}
