package server

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

// pace is the minimum speed of a client: it must not pause for too long, also before
// the first byte, and must reach an average rate. Otherwise a client that sends one
// byte a minute would hold its connection for ever.
type pace struct {
	pause time.Duration // also the time before the first byte
	rate  int64         // bytes per second
}

var defaultPace = pace{pause: 2 * time.Minute, rate: 1 << 10}

// paceWindow is the time in pauses after which the rate is measured again. Without it, a client
// that has sent a gigabyte could send single bytes for days.
const paceWindow = 5

// meter measures the pace of one transfer. Only the time counts in which the server waits for
// the client.
type meter struct {
	pace   pace
	start  time.Time // of the window
	paused time.Time // when the last wait ended
	n      int64     // bytes in the window
	total  int64
}

// wait begins to wait for the client, and returns the time by which it must transfer the next
// byte.
func (m *meter) wait(now time.Time) time.Time {
	switch {
	case m.start.IsZero():
		m.start = now
	case !m.paused.IsZero():
		m.start = m.start.Add(now.Sub(m.paused))
		m.paused = time.Time{}
	}
	if now.Sub(m.start) > paceWindow*m.pace.pause {
		m.start, m.n = now, 0
	}
	pause := now.Add(m.pace.pause)
	rate := m.start.Add(m.pace.pause + time.Duration(m.n/m.pace.rate)*time.Second)
	if rate.Before(pause) {
		return rate
	}
	return pause
}

// transferred ends the wait.
func (m *meter) transferred(now time.Time, n int) {
	m.n += int64(n)
	m.total += int64(n)
	m.paused = now
}

// errTooSlow reports that a client is slower than the pace.
var errTooSlow = errors.New("the client sends too slowly")

// watchedBody is a request's body that ends when the client is too slow, and remembers
// why reading failed.
type watchedBody struct {
	inner   io.ReadCloser
	control *http.ResponseController
	meter   meter
	err     error // not io.EOF
}

// begin starts to measure the client.
func (b *watchedBody) begin() {
	b.meter = meter{pace: b.meter.pace}
	b.extend()
}

// extend sets the deadline of the next Read.
func (b *watchedBody) extend() {
	if b.inner != http.NoBody {
		_ = b.control.SetReadDeadline(b.meter.wait(time.Now()))
	}
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.inner.Read(p)
	b.meter.transferred(time.Now(), n)
	if err != nil && err != io.EOF {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: %d bytes until it was cut off", errTooSlow, b.meter.total)
		}
		b.err = err
	}
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{}) // the next request sets its limits
	}
	return n, err
}

// Close implements io.Closer.
func (b *watchedBody) Close() error { return b.inner.Close() }

// pacedWriter is an answer whose connection ends when the client reads it too slowly. The
// time begins with the answer, because storing a large blob takes minutes.
type pacedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
	meter   meter
	body    *watchedBody // of the request
}

// WriteHeader implements http.ResponseWriter.
func (w *pacedWriter) WriteHeader(status int) {
	w.extend()
	w.ResponseWriter.WriteHeader(status)
	w.meter.transferred(time.Now(), 0)
}

// Write implements http.ResponseWriter.
func (w *pacedWriter) Write(p []byte) (int, error) {
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.meter.transferred(time.Now(), n)
	return n, err
}

func (w *pacedWriter) extend() { _ = w.control.SetWriteDeadline(w.meter.wait(time.Now())) }

// Unwrap lets http.ResponseController reach the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
