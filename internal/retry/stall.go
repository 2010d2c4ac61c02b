package retry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"
)

// StalledError reports that a transfer was canceled because no data was transferred for
// too long.
type StalledError struct {
	After time.Duration
}

// Error implements error.
func (e *StalledError) Error() string { return fmt.Sprintf("no data was transferred for %s", e.After) }

// Timeout marks the error as a timeout, as net.Error does.
func (e *StalledError) Timeout() bool { return true }

// SlowError reports that a transfer was ended because it was slower than the least pace
// that is expected of short documents.
type SlowError struct {
	Bytes int64 // transferred so far
	After time.Duration
}

// Error implements error.
func (e *SlowError) Error() string {
	return fmt.Sprintf("only %d bytes were transferred in %s", e.Bytes, e.After.Round(time.Millisecond))
}

// StallWatch ends a transfer that makes no progress. Slow transfers continue: only the
// time since the last byte counts.
type StallWatch struct {
	ctx   context.Context // of the transfer, for its cause
	timer *time.Timer
	limit time.Duration
	stop  func()
}

// WatchStall returns a context that is canceled when no byte was transferred for the
// limit, and the watch to which bytes are reported. The caller must call Stop.
func WatchStall(ctx context.Context, limit time.Duration) (context.Context, *StallWatch) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(&StalledError{After: limit}) })
	return ctx, &StallWatch{ctx: ctx, timer: timer, limit: limit, stop: func() { timer.Stop(); cancel(nil) }}
}

// Touch reports progress.
func (w *StallWatch) Touch() { w.timer.Reset(w.limit) }

// Stop ends the watch and its context.
func (w *StallWatch) Stop() { w.stop() }

// Cause returns the *StalledError in place of the "context canceled" that a stall
// causes, and any other error unchanged.
func (w *StallWatch) Cause(err error) error {
	var stalled *StalledError
	if err != nil && errors.As(context.Cause(w.ctx), &stalled) {
		return stalled
	}
	return err
}

// Reader returns a reader that reports the bytes read from r to the watch.
func (w *StallWatch) Reader(r io.Reader) io.Reader { return &watchedReader{r, w} }

type watchedReader struct {
	r io.Reader
	w *StallWatch
}

func (r *watchedReader) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if n > 0 {
		r.w.Touch()
	}
	if err != nil && err != io.EOF {
		err = r.w.Cause(err)
	}
	return n, err
}
