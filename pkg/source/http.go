package source

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// httpClient downloads: with retries, resumption and a limit on standstill.
type httpClient struct {
	opts   Options
	client *http.Client
	base   time.Duration // the first wait between two tries
}

func newHTTPClient(o Options) *httpClient {
	return &httpClient{opts: o, base: time.Second, client: &http.Client{Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   o.Jobs,
		IdleConnTimeout:       90 * time.Second,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: o.Timeout,
		DisableCompression:    true, // the bytes as they lie there are what a checksum is of
	}}}
}

// statusError is an answer that is not the content.
type statusError struct {
	status int
	after  time.Duration
}

func (e *statusError) Error() string {
	return fmt.Sprintf("the server answers %d %s", e.status, http.StatusText(e.status))
}

// errStalled ends a transfer that stands still.
var errStalled = errors.New("no byte came for too long")

// errShort is a transfer that ended before its promised length.
var errShort = errors.New("the transfer broke off")

// transient reports whether another try may succeed.
func transient(err error) bool {
	var se *statusError
	var dns *net.DNSError
	var op *net.OpError
	var nerr net.Error
	switch {
	case errors.As(err, &se):
		return se.status == http.StatusRequestTimeout || se.status == http.StatusTooManyRequests || se.status >= 500
	case errors.Is(err, errStalled), errors.Is(err, errShort), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return true
	case errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &dns):
		return dns.IsTemporary || dns.IsTimeout
	case errors.As(err, &op):
		return true
	}
	return errors.As(err, &nerr) && nerr.Timeout()
}

// validators are a server's means to tell whether content changed.
type validators struct {
	ETag    string `json:"etag,omitempty"`
	LastMod string `json:"last_modified,omitempty"`
}

// ifRange is the validator that a resumed transfer can rely on.
func (v validators) ifRange() string {
	if v.ETag != "" && !strings.HasPrefix(v.ETag, "W/") {
		return v.ETag
	}
	return v.LastMod
}

// download gets one url. part is the path of its partial file: what is there
// already is continued, and what comes is left there when the transfer breaks
// off. have are the validators of a copy that the caller has; unchanged says that
// it is still right.
func (c *httpClient) download(ctx context.Context, location, part string, have validators) (b blob, v validators, unchanged bool, err error) {
	f, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return b, v, false, err
	}
	defer f.Close()
	noteFile := part + ".json"
	var partial validators
	offset := int64(0)
	if data, err := os.ReadFile(noteFile); err == nil && json.Unmarshal(data, &partial) == nil && partial.ifRange() != "" {
		if offset, err = f.Seek(0, io.SeekEnd); err != nil {
			return b, v, false, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return b, v, false, err
	}
	req.Header.Set("User-Agent", c.opts.UserAgent)
	req.Header.Set("Accept-Encoding", "identity")
	if have.ETag != "" {
		req.Header.Set("If-None-Match", have.ETag)
	}
	if have.LastMod != "" {
		req.Header.Set("If-Modified-Since", have.LastMod)
	}
	if offset > 0 {
		req.Header.Set("Range", fmt.Sprintf("bytes=%d-", offset))
		req.Header.Set("If-Range", partial.ifRange())
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return b, v, false, cause(ctx, err)
	}
	defer resp.Body.Close()
	v = validators{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}
	total := int64(-1)
	switch resp.StatusCode {
	case http.StatusNotModified:
		return b, have, true, nil
	case http.StatusOK:
		offset = 0
		if resp.ContentLength >= 0 {
			total = resp.ContentLength
		}
	case http.StatusPartialContent:
		start, size, ok := contentRange(resp.Header.Get("Content-Range"))
		if !ok || start != offset {
			forget(f, noteFile)
			return b, v, false, errShort
		}
		total = size
		if v.ifRange() == "" {
			v = partial
		}
	case http.StatusRequestedRangeNotSatisfiable:
		forget(f, noteFile) // the content became shorter, or the partial file is whole: begin again
		return b, v, false, errShort
	default:
		return b, v, false, &statusError{resp.StatusCode, retryAfter(resp)}
	}
	if err := f.Truncate(offset); err != nil {
		return b, v, false, err
	}
	if data, err := json.Marshal(v); err == nil {
		_ = os.WriteFile(noteFile, data, 0o600) // without it the next try begins from the start
	}
	sum := sha256.New()
	if offset > 0 {
		c.opts.Log(fmt.Sprintf("%s: continued from byte %d", redact(location), offset))
		if err := hashStart(f, sum, offset); err != nil {
			return b, v, false, err
		}
	}
	stall := time.AfterFunc(c.opts.Timeout, func() { cancel(errStalled) })
	defer stall.Stop()
	n, err := io.Copy(io.MultiWriter(f, sum), &touchReader{resp.Body, stall, c.opts.Timeout})
	size := offset + n
	if err != nil {
		return b, v, false, cause(ctx, err)
	}
	if total >= 0 && size != total {
		return b, v, false, errShort
	}
	if err := f.Close(); err != nil {
		return b, v, false, err
	}
	os.Remove(noteFile)
	return blob{Digest: fmt.Sprintf("sha256:%x", sum.Sum(nil)), Size: size}, v, false, nil
}

// cause names what ended a request, where that is a standstill or the caller.
func cause(ctx context.Context, err error) error {
	if c := context.Cause(ctx); c != nil {
		return c
	}
	// net/url puts the whole location, with what may be secret, into its error.
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

// forget empties a partial file.
func forget(f *os.File, noteFile string) {
	_ = f.Truncate(0)
	os.Remove(noteFile)
}

func hashStart(f *os.File, sum hash.Hash, n int64) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.CopyN(sum, f, n); err != nil {
		return err
	}
	_, err := f.Seek(n, io.SeekStart)
	return err
}

// contentRange reads "bytes START-END/SIZE"; size is -1 when it is "*".
func contentRange(s string) (start, size int64, ok bool) {
	s, found := strings.CutPrefix(s, "bytes ")
	span, all, found2 := strings.Cut(s, "/")
	first, _, found3 := strings.Cut(span, "-")
	start, err := strconv.ParseInt(first, 10, 64)
	if !found || !found2 || !found3 || err != nil {
		return 0, 0, false
	}
	if all == "*" {
		return start, -1, true
	}
	size, err = strconv.ParseInt(all, 10, 64)
	return start, size, err == nil
}

func retryAfter(resp *http.Response) time.Duration {
	v := resp.Header.Get("Retry-After")
	if s, err := strconv.Atoi(v); err == nil && s >= 0 {
		return time.Duration(s) * time.Second
	}
	if t, err := http.ParseTime(v); err == nil {
		return max(0, time.Until(t))
	}
	return 0
}

type touchReader struct {
	r     io.Reader
	timer *time.Timer
	limit time.Duration
}

func (t *touchReader) Read(p []byte) (int, error) {
	n, err := t.r.Read(p)
	if n > 0 {
		t.timer.Reset(t.limit)
	}
	return n, err
}

// wait sleeps before another try; false when tries or time are used up.
func (c *httpClient) wait(ctx context.Context, attempt int, start time.Time, after time.Duration) bool {
	if attempt >= c.opts.Retries {
		return false
	}
	d := min(c.base<<min(attempt, 16), 20*time.Second)
	d = max(d/2+rand.N(d/2+1), after)
	if time.Since(start)+d > c.opts.MaxElapsed {
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
