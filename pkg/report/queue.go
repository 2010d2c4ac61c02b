package report

import (
	"fmt"
	"io"
	"sync"
)

// maxQueued is how many bytes may wait for a terminal or a pipe that accepts nothing.
// Beyond that, output of steps is dropped; other lines are still queued.
const maxQueued = 8 << 20

// queue holds bytes to be written, so that event handlers do not wait for a slow
// writer.
type queue struct {
	out io.Writer
	// batch is set if writing may wait for the next tick.
	batch bool

	mu      sync.Mutex
	buf     []byte
	spare   []byte
	dropped int
	onDrop  func(n int) string // returns the text for n dropped pieces
	failure error
}

func newQueue(out io.Writer) *queue {
	return &queue{out: out, onDrop: func(n int) string {
		return fmt.Sprintf("(%d lines of output not shown: they were printed faster than they could be written)\n", n)
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

// addDroppable is add for text that may be dropped if the queue is full.
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

// drain writes the queued bytes. Only one goroutine may call it.
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
		// The buffer that was written last receives new text during the write. Other
		// slices must not use its array, or lines would mix.
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
