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

// deadline is the time by which a transfer of n bytes since start must transfer the
// next byte.
func (p pace) deadline(start time.Time, n int64) time.Time {
	pause := time.Now().Add(p.pause)
	rate := start.Add(p.pause + time.Duration(n/p.rate)*time.Second)
	if rate.Before(pause) {
		return rate
	}
	return pause
}

// errTooSlow says that a client is slower than the pace.
var errTooSlow = errors.New("the client sends too slowly")

// watchedBody is a request's body that ends when the client is too slow, and remembers
// why reading failed.
type watchedBody struct {
	inner   io.ReadCloser
	control *http.ResponseController
	pace    pace
	started time.Time
	n       int64
	err     error // not io.EOF
}

func (b *watchedBody) begin() {
	b.started = time.Now()
	b.extend()
}

func (b *watchedBody) extend() {
	if b.inner != http.NoBody {
		_ = b.control.SetReadDeadline(b.pace.deadline(b.started, b.n))
	}
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.extend()
	n, err := b.inner.Read(p)
	b.n += int64(n)
	if err != nil && err != io.EOF {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			err = fmt.Errorf("%w: %d bytes in %v", errTooSlow, b.n, time.Since(b.started).Round(time.Second))
		}
		b.err = err
	}
	if err == io.EOF {
		_ = b.control.SetReadDeadline(time.Time{}) // the next request has limits of its own
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
	pace    pace
	body    *watchedBody // of the request
	started time.Time    // of the answer
	written int64
}

// WriteHeader implements http.ResponseWriter.
func (w *pacedWriter) WriteHeader(status int) {
	w.extend()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *pacedWriter) Write(p []byte) (int, error) {
	w.extend()
	n, err := w.ResponseWriter.Write(p)
	w.written += int64(n)
	return n, err
}

func (w *pacedWriter) extend() {
	if w.started.IsZero() {
		w.started = time.Now()
	}
	_ = w.control.SetWriteDeadline(w.pace.deadline(w.started, w.written))
}

// Unwrap lets http.ResponseController reach the connection.
func (w *pacedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
