package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// go-containerregistry retries too, but it ignores Retry-After, does not limit the
// total time, ignores the context while it sleeps, and does not distinguish stalled
// transfers from slow ones.

type ctxKey int

const (
	// keyFirstContact marks the first request to a registry, for which a refused
	// connection is final.
	keyFirstContact ctxKey = iota
	// keyOnce marks requests that the caller repeats as a whole (uploads, whose bytes
	// must not be sent to the same place twice).
	keyOnce
	// keyResume marks requests whose answers are resumed if they are interrupted: those
	// of blobs, which do not change, unlike other content. Its value is an askAgain.
	keyResume
)

// askAgain requests a blob from its registry again, with additional headers. The address that
// the registry redirected to can have expired, and so can the login.
type askAgain func(ctx context.Context, header http.Header) (*http.Response, error)

// retryTransport repeats requests that may be repeated, watches for stalls, and resumes
// interrupted bodies of blobs.
type retryTransport struct {
	inner  http.RoundTripper
	policy retry.Policy
	stall  time.Duration // time without a byte after which an attempt is canceled
	count  func()        // called for every repeated request
}

// RoundTrip implements http.RoundTripper.
func (t *retryTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	singleAttempt := ctx.Value(keyOnce) != nil || (req.Body != nil && req.Body != http.NoBody && req.GetBody == nil)
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
			t.count()
		}
		resp, err := t.watched(try)
		var after time.Duration
		switch {
		case err == nil && retry.TransientStatus(resp.StatusCode):
			after = retry.After(resp, time.Now())
		case err == nil:
			ask, resumes := ctx.Value(keyResume).(askAgain)
			if resumes && req.Method == http.MethodGet && resp.StatusCode == http.StatusOK && resp.ContentLength > 0 {
				resp.Body = &resumingBody{
					t: t, req: req, ask: ask, body: resp.Body, size: resp.ContentLength, etag: resp.Header.Get("ETag"),
				}
			}
			return resp, nil
		case !retry.Transient(err), ctx.Value(keyFirstContact) != nil && errors.Is(err, syscall.ECONNREFUSED):
			return nil, err
		}
		if singleAttempt || !t.policy.Wait(ctx, attempt, start, after) {
			if err != nil && ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			return resp, err
		}
		if resp != nil {
			drain(resp)
		}
	}
}

// repeat calls try until it succeeds or fails permanently. try returns a *retry.Error
// to request a repetition; requests that the underlying transport has already repeated
// are final.
func (c *Client) repeat(ctx context.Context, try func() error) error {
	first := true
	err := c.policy.Do(ctx, func() error {
		if !first {
			c.retried.Add(1)
		}
		first = false
		return try()
	})
	var tried *retry.Error
	if errors.As(err, &tried) {
		err = tried.Err
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return err
}

// final marks an error as permanent.
func final(err error) error {
	if err == nil {
		return nil
	}
	return &retry.Error{Err: err}
}

// drain reads the rest of a short answer, so that its connection can be used again.
func drain(resp *http.Response) {
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	resp.Body.Close()
}

// watched makes one attempt and ends it if no byte is transferred for the stall limit.
func (t *retryTransport) watched(req *http.Request) (*http.Response, error) {
	if t.stall <= 0 {
		return t.inner.RoundTrip(req)
	}
	ctx, watch := retry.WatchStall(req.Context(), t.stall)
	req = req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		req.Body = struct {
			io.Reader
			io.Closer
		}{watch.Sender(req.Body), req.Body}
	}
	resp, err := t.inner.RoundTrip(req)
	if err != nil {
		err = watch.Cause(err)
		watch.Stop()
		return nil, err
	}
	pace := retry.NewPace(t.stall)
	if resp.ContentLength <= maxManifest { // also if it is unknown
		pace = retry.NewDocumentPace(t.stall)
	}
	resp.Body = &watchedBody{watch.PacedReader(resp.Body, pace), resp.Body, watch}
	watch.Pause() // until the answer is read
	return resp, nil
}

// watchedBody is the body of an answer that is watched.
type watchedBody struct {
	io.Reader
	body  io.Closer
	watch *retry.StallWatch
}

func (b *watchedBody) Close() error {
	err := b.body.Close()
	b.watch.Stop()
	return err
}

// resumingBody continues an interrupted GET answer where it ended. If the server sends
// the whole content again, the part that was already read is skipped.
type resumingBody struct {
	t    *retryTransport
	req  *http.Request
	ask  askAgain
	size int64
	etag string

	mu     sync.Mutex // Close may be called during a Read
	body   io.ReadCloser
	read   int64
	part   transferred // since the last resumption
	tries  int         // without progress
	closed bool
}

// transferred is what an attempt has transferred, and how long it was waited for.
type transferred struct {
	bytes  int64
	waited time.Duration
}

// surelyProgress is how many bytes are progress however long a registry was down before.
const surelyProgress = 1 << 20

// isProgress reports whether an attempt has transferred enough for the tries to begin again. A
// server that ends each connection after a byte makes no progress.
func (t transferred) isProgress() bool {
	return t.bytes >= surelyProgress || t.bytes > 0 && float64(t.bytes) >= retry.LeastPace*t.waited.Seconds()
}

func (b *resumingBody) Read(p []byte) (int, error) {
	start := time.Now()
	n, err := b.body.Read(p)
	b.read += int64(n)
	b.part.bytes += int64(n)
	b.part.waited += time.Since(start)
	if err == nil || b.read >= b.size || (err != io.EOF && !retry.Transient(err)) {
		return n, err
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF // before the promised length
	}
	if b.part.isProgress() {
		b.tries = 0
	}
	b.part = transferred{}
	if resumeErr := b.resume(); resumeErr != nil {
		return n, fmt.Errorf("%w (resuming the transfer: %w)", err, resumeErr)
	}
	return n, nil
}

func (b *resumingBody) resume() error {
	ctx := b.req.Context()
	start := time.Now()
	defer func() { b.part.waited += time.Since(start) }()
	for {
		if !b.t.policy.Wait(ctx, b.tries, start, 0) {
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return errors.New("too many tries")
		}
		b.tries++
		b.t.count()
		body, err := b.reopen(ctx)
		switch {
		case err == nil:
			return b.replace(body)
		case !retry.Transient(err):
			return err
		}
	}
}

// reopen requests the rest of the content.
func (b *resumingBody) reopen(ctx context.Context) (io.ReadCloser, error) {
	header := http.Header{"Range": {fmt.Sprintf("bytes=%d-", b.read)}}
	if b.etag != "" {
		header.Set("If-Range", b.etag)
	}
	req := b.req.Clone(ctx)
	maps.Copy(req.Header, header)
	resp, err := b.t.watched(req)
	if err == nil && resp.StatusCode >= http.StatusBadRequest && !retry.TransientStatus(resp.StatusCode) {
		drain(resp)
		resp, err = b.ask(ctx, header)
	}
	if err != nil {
		return nil, err
	}
	if etag := resp.Header.Get("ETag"); etag != b.etag && resp.StatusCode < http.StatusMultipleChoices {
		resp.Body.Close()
		return nil, errors.New("the content has changed in the meantime")
	}
	switch {
	case resp.StatusCode == http.StatusPartialContent:
		return resp.Body, nil
	case resp.StatusCode == http.StatusOK:
		if _, err := io.CopyN(io.Discard, resp.Body, b.read); err != nil {
			resp.Body.Close()
			return nil, err
		}
		return resp.Body, nil
	}
	drain(resp)
	if retry.TransientStatus(resp.StatusCode) {
		return nil, io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("unexpected status %s", resp.Status)
}

func (b *resumingBody) replace(body io.ReadCloser) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.body.Close()
	b.body = body
	if b.closed {
		body.Close()
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
