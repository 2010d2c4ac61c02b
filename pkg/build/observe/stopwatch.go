package observe

import (
	"context"
	"fmt"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/plan"
)

// Stopwatch measures the time of a run during which no build and no upload is running.
// Benchmarks limit it.
type Stopwatch struct {
	started time.Time

	mu       sync.Mutex
	busy     int           // number of running builds and uploads
	since    time.Time     // when busy last changed
	idle     time.Duration // with busy at 0
	starting time.Duration // the part of idle in which the builder starts and ends
}

// NewStopwatch starts a measurement.
func NewStopwatch() *Stopwatch {
	now := time.Now()
	return &Stopwatch{started: now, since: now}
}

// Work counts a build or an upload until done is called.
func (s *Stopwatch) Work() (done func()) {
	s.count(1)
	return func() { s.count(-1) }
}

func (s *Stopwatch) count(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.busy == 0 {
		s.idle += now.Sub(s.since)
	}
	s.since = now
	s.busy += n
}

// Builder adds the time since a moment to that of the builder's start and end.
func (s *Stopwatch) Builder(started time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.starting += time.Since(started)
}

// String ends the measurement and describes it.
func (s *Stopwatch) String() string {
	s.count(0)
	s.mu.Lock()
	defer s.mu.Unlock()
	return fmt.Sprintf(
		"time: %.2f s in all, %.2f s without a running build or upload, %.2f s of them for the builder to start and end",
		time.Since(s.started).Seconds(), s.idle.Seconds(), s.starting.Seconds())
}

// Uploader returns an uploader whose uploads are counted.
func (s *Stopwatch) Uploader(u build.Uploader) build.Uploader { return timedUploader{u, s} }

type timedUploader struct {
	build.Uploader
	watch *Stopwatch
}

// Upload implements build.Uploader.
func (u timedUploader) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	defer u.watch.Work()()
	return u.Uploader.Upload(ctx, it, d)
}
