// Package httpget gets files over HTTP with limits: on their size, on the time
// without a byte, on redirects and on retries. It must not know what the files
// contain.
//
// Errors never contain the URL, which may hold credentials.
package httpget

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// defaultStall is the time without a byte after which a transfer ends.
const defaultStall = time.Minute

// maxRedirects limits how many redirects are followed for a request.
const maxRedirects = 10

// ErrNotFound reports that the server works and does not have the file.
var ErrNotFound = errors.New("not found on the server")

// ErrDowngrade is the redirect of a server from https to http: anyone on the way could
// answer the request that follows.
var ErrDowngrade = errors.New("the server redirected from https to http")

// StatusError is an answer that is not the file.
type StatusError struct {
	Code  int
	After time.Duration // the wait that the server asks for before another request
}

// Error implements error.
func (e *StatusError) Error() string {
	return fmt.Sprintf("the server answered %d %s", e.Code, http.StatusText(e.Code))
}

// Is makes an answer that the file does not exist an ErrNotFound. Object stores
// answer 403 for objects that do not exist.
func (e *StatusError) Is(target error) bool {
	return target == ErrNotFound &&
		(e.Code == http.StatusNotFound || e.Code == http.StatusGone || e.Code == http.StatusForbidden)
}

// NewStatusError returns the error of an answer.
func NewStatusError(resp *http.Response) *StatusError {
	return &StatusError{Code: resp.StatusCode, After: retry.After(resp, time.Now())}
}

// Retryable marks an error of an attempt with whether another may succeed, for
// retry.Policy.
func Retryable(err error) error {
	var status *StatusError
	if errors.As(err, &status) {
		return &retry.Error{Err: err, Again: retry.TransientStatus(status.Code), After: status.After}
	}
	return err
}

// Validators are the headers with which a client asks whether a file has changed.
type Validators struct {
	ETag         string `json:"etag,omitempty"`
	LastModified string `json:"last_modified,omitempty"`
}

// Client gets files into memory. It is safe for concurrent use.
type Client struct {
	HTTP      *http.Client // nil means NewHTTPClient's
	UserAgent string
	Stall     time.Duration // 0 means defaultStall
	Retry     retry.Policy
}

// Response is an answer of a server.
type Response struct {
	Body        []byte
	NotModified bool // the file still has the given validators; Body is nil
	Validators
}

// SizeError reports that a file is larger than its limit.
type SizeError struct{ Limit int64 }

// Error implements error.
func (e *SizeError) Error() string { return fmt.Sprintf("larger than %d bytes", e.Limit) }

// Get gets the file at a URL, of at most limit bytes. cached are the validators of
// the caller's copy, if any. A file that does not exist is an ErrNotFound.
func (c *Client) Get(ctx context.Context, location string, cached Validators, limit int64) (Response, error) {
	var out Response
	err := c.Retry.Do(ctx, func() error {
		var err error
		out, err = c.get(ctx, location, cached, limit)
		return Retryable(err)
	})
	var r *retry.Error
	if errors.As(err, &r) {
		err = r.Err
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out, err
}

func (c *Client) get(ctx context.Context, location string, cached Validators, limit int64) (Response, error) {
	u, err := url.Parse(location)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return Response{}, errors.New("not an http or https URL")
	}
	stall := c.Stall
	if stall <= 0 {
		stall = defaultStall
	}
	ctx, watch := retry.WatchStall(ctx, stall)
	defer watch.Stop()
	req, err := NewRequest(ctx, location, c.UserAgent, cached)
	if err != nil {
		return Response{}, err
	}
	client := c.HTTP
	if client == nil {
		client = sharedClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return Response{}, Cause(ctx, err)
	}
	defer resp.Body.Close()
	out := Response{Validators: Validators{resp.Header.Get("ETag"), resp.Header.Get("Last-Modified")}}
	switch {
	case resp.StatusCode == http.StatusOK:
	case resp.StatusCode == http.StatusNotModified && cached != (Validators{}):
		return Response{NotModified: true, Validators: cached}, nil
	default:
		return Response{}, NewStatusError(resp)
	}
	var body bytes.Buffer
	n, err := io.Copy(&body, io.LimitReader(watch.Reader(resp.Body), limit+1))
	if err != nil {
		return Response{}, Cause(ctx, err)
	}
	if n > limit {
		return Response{}, &SizeError{limit}
	}
	out.Body = body.Bytes()
	if out.Body == nil {
		out.Body = []byte{}
	}
	return out, nil
}

// NewRequest returns a request for a file if it has changed since the caller's copy.
func NewRequest(ctx context.Context, location, userAgent string, cached Validators) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, location, nil)
	if err != nil {
		return nil, errors.New("not a URL")
	}
	if userAgent != "" {
		req.Header.Set("User-Agent", userAgent)
	}
	if cached.ETag != "" {
		req.Header.Set("If-None-Match", cached.ETag)
	}
	if cached.LastModified != "" {
		req.Header.Set("If-Modified-Since", cached.LastModified)
	}
	return req, nil
}

// Cause returns why a request failed, without its URL: a stall, the end of ctx, or a
// network fault.
func Cause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var ue *url.Error
	if errors.As(err, &ue) {
		return ue.Err
	}
	return err
}

var sharedClient = NewHTTPClient(defaultStall, 8)

// Dialer connects to servers on other machines.
var Dialer = net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}

// NewTransport returns a transport with the limits of time that apply to all servers. It
// uses the proxies of the environment.
func NewTransport(connectionsPerHost int) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            Dialer.DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConnsPerHost:    connectionsPerHost,
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// NewHTTPClient returns a client that uses the proxies of the environment. stall
// is how long a server may take to begin its answer.
func NewHTTPClient(stall time.Duration, connectionsPerHost int) *http.Client {
	t := NewTransport(connectionsPerHost)
	t.ResponseHeaderTimeout = stall
	t.MaxResponseHeaderBytes = 1 << 20
	t.DisableCompression = true // checksums are of the stored bytes
	return &http.Client{
		Transport: t,
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) >= maxRedirects {
				return fmt.Errorf("the server redirected more than %d times", maxRedirects)
			}
			if next.URL.Scheme != "https" && via[len(via)-1].URL.Scheme == "https" {
				return ErrDowngrade
			}
			next.Header.Del("Referer") // the query of a location may be a token
			return nil
		},
	}
}
