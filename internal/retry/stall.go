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

// StallWatch ends a transfer that makes no progress: one without a byte for the stall limit,
// and one that is slower than LeastPace.
type StallWatch struct {
	ctx    context.Context // of the transfer, for its cause
	timer  *time.Timer
	limit  time.Duration
	cancel context.CancelCauseFunc
}

// WatchStall returns a context that is canceled when no byte was transferred for the
// limit, and the watch to which bytes are reported. The caller must call Stop.
func WatchStall(ctx context.Context, limit time.Duration) (context.Context, *StallWatch) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(limit, func() { cancel(&StalledError{After: limit}) })
	return ctx, &StallWatch{ctx: ctx, timer: timer, limit: limit, cancel: cancel}
}

// Touch reports progress: the limit begins again.
func (w *StallWatch) Touch() { w.timer.Reset(w.limit) }

// Pause stops the limit until Touch is called: the other side waits for this one.
func (w *StallWatch) Pause() { w.timer.Stop() }

// Stop ends the watch and its context.
func (w *StallWatch) Stop() {
	w.timer.Stop()
	w.cancel(nil)
}

// Cause returns the *StalledError or *SlowError in place of the "context canceled" that it
// causes, and any other error unchanged.
func (w *StallWatch) Cause(err error) error {
	if err == nil {
		return nil
	}
	cause := context.Cause(w.ctx)
	var stalled *StalledError
	var slow *SlowError
	if errors.As(cause, &stalled) || errors.As(cause, &slow) {
		return cause
	}
	return err
}

// Reader returns a reader of what the other side sends. Only the time in its Read counts, not
// that in which its caller writes to a slow disk.
func (w *StallWatch) Reader(r io.Reader) io.Reader { return w.PacedReader(r, NewPace(w.limit)) }

// PacedReader is Reader with a pace of the caller.
func (w *StallWatch) PacedReader(r io.Reader, pace *Pace) io.Reader {
	return &watchedReader{r, w, pace}
}

type watchedReader struct {
	r    io.Reader
	w    *StallWatch
	pace *Pace
}

func (r *watchedReader) Read(p []byte) (int, error) {
	r.w.Touch()
	start := time.Now()
	n, err := r.r.Read(p)
	r.w.Pause()
	if slow := r.pace.Add(n, time.Since(start)); slow != nil && err == nil {
		r.w.cancel(slow)
		return n, slow
	}
	if err != nil && err != io.EOF {
		err = r.w.Cause(err)
	}
	return n, err
}

// Sender returns a reader of what is sent to the other side. Only the time between two Reads
// counts, in which the other side receives.
func (w *StallWatch) Sender(r io.Reader) io.Reader {
	return &watchedSender{r: r, w: w, pace: NewPace(w.limit)}
}

type watchedSender struct {
	r    io.Reader
	w    *StallWatch
	pace *Pace
	n    int       // bytes of the last Read
	last time.Time // its end
}

func (s *watchedSender) Read(p []byte) (int, error) {
	s.w.Pause()
	if !s.last.IsZero() {
		if slow := s.pace.Add(s.n, time.Since(s.last)); slow != nil {
			s.w.cancel(slow)
			return 0, slow
		}
	}
	n, err := s.r.Read(p)
	s.n, s.last = n, time.Now()
	s.w.Touch()
	if err != nil && err != io.EOF {
		err = s.w.Cause(err)
	}
	return n, err
}
