// Package retry decides whether a network request is repeated, how long to wait before
// the next attempt, and when a transfer counts as stalled. It must not know what is
// requested.
package retry

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// maxDelay is the longest wait that a Policy chooses by itself. A server may ask
// for a longer one.
const maxDelay = 20 * time.Second

// DefaultBaseDelay is the first wait of a Policy that has none.
const DefaultBaseDelay = 200 * time.Millisecond

// Defaults of clients.
const (
	DefaultRetries = 5
	DefaultTimeout = 2 * time.Minute // without a byte
)

// Retries returns the number of retries that an option of a client means: DefaultRetries for
// 0, none for a negative number.
func Retries(option int) int {
	if option == 0 {
		return DefaultRetries
	}
	return max(0, option)
}

// Policy bounds how often and how long a request is repeated.
type Policy struct {
	Retries    int           // attempts after the first
	MaxElapsed time.Duration // since the start of the first attempt, waits included; 0 means no limit
	BaseDelay  time.Duration // the first wait, which doubles each time; 0 means DefaultBaseDelay
}

// delay returns how long to wait after the given attempt, counted from 0. Half of it is
// random, so that requests that failed together are not repeated together. It is at
// least after, the server's Retry-After.
func (p Policy) delay(attempt int, after time.Duration) time.Duration {
	base := p.BaseDelay
	if base <= 0 {
		base = DefaultBaseDelay
	}
	d := min(base<<min(attempt, 16), maxDelay)
	d = d/2 + rand.N(d/2+1)
	return max(d, after)
}

// Wait sleeps after the given attempt, counted from 0. It returns false, without
// sleeping to the end, if attempts or time are used up or ctx ends.
func (p Policy) Wait(ctx context.Context, attempt int, start time.Time, after time.Duration) bool {
	if attempt >= p.Retries {
		return false
	}
	d := p.delay(attempt, after)
	if p.MaxElapsed > 0 && d > p.MaxElapsed-time.Since(start) {
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

// Do calls attempt until it succeeds, fails with an error that is not transient, or the
// policy ends it, and returns the last error. An attempt that knows whether its error
// is transient returns an *Error.
func (p Policy) Do(ctx context.Context, attempt func() error) error {
	start := time.Now()
	for n := 0; ; n++ {
		err := attempt()
		if err == nil || ctx.Err() != nil {
			return err
		}
		transient, after := Transient(err), time.Duration(0)
		var retryErr *Error
		if errors.As(err, &retryErr) {
			transient, after = retryErr.Again, retryErr.After
		}
		if !transient || !p.Wait(ctx, n, start, after) {
			return err
		}
	}
}

// Error is an error of an attempt, and whether to try again.
type Error struct {
	Err   error
	Again bool
	After time.Duration // the wait that the server asked for, 0 if none
}

// Error implements error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// maxAfter bounds what a server may ask for: the year 9999 is more than a time.Duration
// can be, and sums with it would be negative.
const maxAfter = 24 * time.Hour

// After returns how long the answer asks to wait before another request: its
// Retry-After header, in seconds or as a date, and at most a day. 0 if it does not ask,
// or resp is nil.
func After(resp *http.Response, now time.Time) time.Duration {
	if resp == nil {
		return 0
	}
	v := strings.TrimSpace(resp.Header.Get("Retry-After"))
	if s, err := strconv.Atoi(v); err == nil {
		return time.Duration(min(max(0, s), int(maxAfter/time.Second))) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return min(max(0, t.Sub(now)), maxAfter)
	}
	return 0
}

// TransientStatus reports whether a request with this HTTP status may succeed next
// time.
func TransientStatus(code int) bool {
	switch code {
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusInternalServerError, http.StatusBadGateway,
		http.StatusServiceUnavailable, http.StatusGatewayTimeout,
		499: // nginx: the client, a proxy in between, closed the request
		return true
	}
	return code >= 520 && code <= 524 // Cloudflare: no usable answer from the server
}

// OfProxy reports whether a request failed because the proxy that the environment names
// could not be reached.
func OfProxy(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "proxyconnect"
}

// ProxyHint is the hint of errors for which OfProxy reports true.
const ProxyHint = "correct the proxy variables (HTTPS_PROXY, HTTP_PROXY), or list the host in NO_PROXY"

// Transient reports whether an error is a network fault that may not occur next time.
// Wrong certificates, unknown hosts and canceled contexts are not transient.
func Transient(err error) bool {
	var stalled *StalledError
	var slow *SlowError
	var dns *net.DNSError
	var netErr net.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &stalled), errors.As(err, &slow):
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
	case errors.As(err, &netErr) && netErr.Timeout():
		return true
	}
	// net/http has no error values for these.
	text := err.Error()
	return !strings.Contains(text, "malformed ") && !strings.Contains(text, "response headers exceeded") && // not HTTP
		(strings.Contains(text, "server closed idle connection") || strings.Contains(text, "transport connection broken") ||
			strings.Contains(text, "REFUSED_STREAM")) // the server did not process the request
}
