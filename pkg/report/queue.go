package report

import (
	"fmt"
	"io"
	"sync"
)

// maxQueued bounds what waits for a terminal or a pipe that takes nothing.
// Beyond it output of steps is left out; what matters still queues.
const maxQueued = 8 << 20

// queue holds bytes to be written, so that whoever has them need not wait for
// the writer.
type queue struct {
	out io.Writer
	// batch says that writing may wait for the next tick.
	batch bool

	mu      sync.Mutex
	buf     []byte
	spare   []byte
	dropped int
	onDrop  func(n int) string // what to write for n pieces left out
	failure error
}

func newQueue(out io.Writer) *queue {
	return &queue{out: out, onDrop: func(n int) string {
		return fmt.Sprintf("(%d lines of output not shown: they came faster than they could be written)\n", n)
	}}
}

func (q *queue) add(s string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.failure != nil {
		return
	}
	q.buf = append(q.buf, s...)
}

// addDroppable is add for what may be left out when too much waits.
func (q *queue) addDroppable(s string) {
	q.mu.Lock()
	full := len(q.buf) >= maxQueued
	if full {
		q.dropped++
	}
	q.mu.Unlock()
	if !full {
		q.add(s)
	}
}

// drain writes what waits. Only one goroutine calls it.
func (q *queue) drain() {
	for {
		q.mu.Lock()
		if len(q.buf) == 0 && q.dropped > 0 && q.failure == nil {
			q.buf = append(q.buf, q.onDrop(q.dropped)...)
			q.dropped = 0
		}
		if len(q.buf) == 0 {
			q.mu.Unlock()
			return
		}
		// The buffer written last takes what comes meanwhile. It must be nobody
		// else's: two names for one array would mix lines.
		b := q.buf
		q.buf, q.spare = q.spare[:0], nil
		q.mu.Unlock()
		_, err := q.out.Write(b)
		q.mu.Lock()
		q.spare = b[:0]
		if cap(q.spare) > 1<<20 {
			q.spare = nil
		}
		if err != nil && q.failure == nil {
			q.failure = fmt.Errorf("writing progress: %w", err)
		}
		q.mu.Unlock()
	}
}

func (q *queue) err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.failure
}
