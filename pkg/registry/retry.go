package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// go-containerregistry retries too, but it does not see Retry-After, does not
// bound the total time, sleeps without looking at the context, and cannot tell a
// stalled transfer from a slow one. So its retries are left out (a
// transport.Wrapper does that) and these take their place.

// backoffBase and backoffMax bound the wait between two tries of one request.
const (
	backoffBase = 200 * time.Millisecond
	backoffMax  = 20 * time.Second
)

// retryPolicy bounds how often and how long a request is tried again.
type retryPolicy struct {
	retries    int           // tries after the first
	maxElapsed time.Duration // from the first try's start, waits included
	stall      time.Duration // a try that moves no byte for so long is given up
	base       time.Duration // the first wait, doubled each time
}

// delay says how long to wait before the next try, with full jitter over the
// upper half so that fifty images that failed together do not return together.
func (p retryPolicy) delay(attempt int, after time.Duration) time.Duration {
	d := p.base << min(attempt, 16)
	d = min(d, backoffMax)
	d = d/2 + rand.N(d/2+1)
	return max(d, after)
}

// wait sleeps before try number attempt+1. It returns false when the retries or
// the time are used up, or when ctx ends.
func (p retryPolicy) wait(ctx context.Context, attempt int, start time.Time, after time.Duration) bool {
	if attempt >= p.retries {
		return false
	}
	d := p.delay(attempt, after)
	if time.Since(start)+d > p.maxElapsed {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryAfter reads a Retry-After header: seconds or an HTTP date. Zero when
// there is none.
func retryAfter(resp *http.Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	v := resp.Header.Get("Retry-After")
	if v == "" {
		return 0
	}
	if s, err := strconv.Atoi(strings.TrimSpace(v)); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil && t.After(now) {
		return t.Sub(now)
	}
	return 0
}

// transientStatus reports answers that a later try may not get.
func transientStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		499, // nginx: the client (a proxy on the way) closed the request
		522: // Cloudflare: connection timed out
		return true
	}
	return false
}

// isTransient reports faults of the network that a later try may not meet.
// Faults of the peer's identity or protocol (TLS, plain HTTP) are not among them.
func isTransient(err error) bool {
	var stalled *StalledError
	var dns *net.DNSError
	var nerr net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &stalled):
		return true
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF),
		errors.Is(err, net.ErrClosed),
		errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE),
		errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, syscall.ECONNABORTED),
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH),
		errors.Is(err, syscall.ETIMEDOUT):
		return true
	case errors.Is(err, context.DeadlineExceeded):
		return false // the caller's own limit
	case errors.As(err, &nerr) && nerr.Timeout():
		return true
	}
	// net/http has no values for these two.
	s := err.Error()
	if strings.Contains(s, "malformed HTTP") {
		return false // it speaks something else
	}
	return strings.Contains(s, "server closed idle connection") ||
		strings.Contains(s, "transport connection broken")
}

type ctxKey int

const (
	// keyFirstContact marks the request that finds out whether there is a
	// registry at all: a refused connection is then an answer, not a fault.
	keyFirstContact ctxKey = iota
	// keyOnce marks requests that their caller repeats as a whole (uploads: the
	// same bytes may not be sent to the same place twice).
	keyOnce
)

// retryTransport repeats requests that may be repeated, watches for stalls, and
// resumes the bodies of GET answers that break off.
type retryTransport struct {
	inner  http.RoundTripper
	policy retryPolicy
	count  func() // called for every repeated request, for statistics
}

// RoundTrip implements http.RoundTripper.
func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	once := ctx.Value(keyOnce) != nil || (req.Body != nil && req.Body != http.NoBody && req.GetBody == nil)
	start := time.Now()
	for attempt := 0; ; attempt++ {
		try := req
		if attempt > 0 {
			try = req.Clone(ctx)
			if req.GetBody != nil {
				body, err := req.GetBody()
				if err != nil {
					return nil, err
				}
				try.Body = body
			}
			if t.count != nil {
				t.count()
			}
		}
		resp, err := t.watched(try)
		var after time.Duration
		switch {
		case err == nil && transientStatus(resp.StatusCode):
			after = retryAfter(resp, time.Now())
		case err == nil:
			if req.Method == http.MethodGet && resp.StatusCode == http.StatusOK && resp.ContentLength > 0 {
				resp.Body = &resumingBody{t: t, req: req, body: resp.Body, size: resp.ContentLength, etag: resp.Header.Get("ETag")}
			}
			return resp, nil
		case !isTransient(err), ctx.Value(keyFirstContact) != nil && errors.Is(err, syscall.ECONNREFUSED):
			return nil, err
		}
		if once || !t.policy.wait(ctx, attempt, start, after) {
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return resp, err
		}
		if resp != nil {
			_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
			resp.Body.Close()
		}
	}
}

// watched sends one try and ends it when no byte moves for the stall limit.
func (t *retryTransport) watched(req *http.Request) (*http.Response, error) {
	if t.policy.stall <= 0 {
		return t.inner.RoundTrip(req)
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	stalled := &StalledError{After: t.policy.stall}
	timer := time.AfterFunc(t.policy.stall, func() { cancel(stalled) })
	w := &watch{timer: timer, limit: t.policy.stall, ctx: ctx, stop: func() { timer.Stop(); cancel(nil) }}
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = &watchedBody{ReadCloser: req.Body, w: w, keep: true}
	}
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		err = w.cause(err)
		w.stop()
		return nil, err
	}
	w.touch()
	resp.Body = &watchedBody{ReadCloser: resp.Body, w: w}
	return resp, nil
}

// watch ends a request when nothing has touched it for its limit.
type watch struct {
	timer *time.Timer
	limit time.Duration
	ctx   context.Context // the request's, to read the cause from
	stop  func()
}

func (w *watch) touch() { w.timer.Reset(w.limit) }

// cause replaces the "context canceled" that a stall shows up as.
func (w *watch) cause(err error) error {
	var stalled *StalledError
	if c := context.Cause(w.ctx); errors.As(c, &stalled) {
		return stalled
	}
	return err
}

// watchedBody tells the watch of each byte read.
type watchedBody struct {
	io.ReadCloser
	w    *watch
	keep bool // a request's body: closing it does not end the exchange
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 || b.keep {
		b.w.touch()
	}
	if err != nil && err != io.EOF {
		err = b.w.cause(err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	if !b.keep {
		b.w.stop()
	}
	return err
}

// resumingBody continues a GET answer that broke off, from where it broke off.
// A server that answers the whole content again is read past what was had.
type resumingBody struct {
	t    *retryTransport
	req  *http.Request
	size int64
	etag string

	mu     sync.Mutex // Close may come while a Read waits
	body   io.ReadCloser
	read   int64
	tries  int
	closed bool
}

func (b *resumingBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	b.read += int64(n)
	if err == nil || b.read >= b.size || (err != io.EOF && !isTransient(err)) {
		return n, err
	}
	// io.EOF before the promised length is a broken transfer too.
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if n > 0 {
		b.tries = 0 // it moves: the limit is on tries in vain
	}
	if rerr := b.resume(); rerr != nil {
		return n, fmt.Errorf("%w (and the transfer could not be continued: %w)", err, rerr)
	}
	return n, nil
}

func (b *resumingBody) resume() error {
	ctx := b.req.Context()
	if !b.t.policy.wait(ctx, b.tries, time.Now(), 0) {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return errors.New("too many tries")
	}
	b.tries++
	if b.t.count != nil {
		b.t.count()
	}
	req := b.req.Clone(ctx)
	req.Header.Set("Range", fmt.Sprintf("bytes=%d-", b.read))
	if b.etag != "" {
		req.Header.Set("If-Range", b.etag)
	}
	resp, err := b.t.watched(req)
	if err != nil {
		if isTransient(err) {
			return b.resume()
		}
		return err
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent:
	case resp.StatusCode == http.StatusOK:
		if _, err := io.CopyN(io.Discard, resp.Body, b.read); err != nil {
			resp.Body.Close()
			return err
		}
	case transientStatus(resp.StatusCode):
		resp.Body.Close()
		return b.resume()
	default:
		resp.Body.Close()
		return fmt.Errorf("unexpected status %s", resp.Status)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.body.Close()
	b.body = resp.Body
	if b.closed {
		resp.Body.Close()
		return net.ErrClosed
	}
	return nil
}

func (b *resumingBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return b.body.Close()
}
