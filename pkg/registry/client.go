package registry

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// Options say how a Client speaks to registries. The zero value is usable.
type Options struct {
	// Insecure lists registries (HOST or HOST:PORT) that may be spoken to in plain
	// HTTP or with a certificate that cannot be verified. Loopback addresses always
	// may, as with Docker. Other private addresses (10/8, 172.16/12, 192.168/16) are
	// tried in plain HTTP if they do not speak TLS, but never get credentials that way
	// unless they are listed here.
	Insecure []string

	// Retries is how often a request is repeated after a transient fault (connection
	// faults, 408, 429, 5xx). 0 means 5, a negative number never.
	Retries int

	// MaxElapsed bounds the tries of one request, or of one blob's upload, including
	// waits. 0 means 10 minutes.
	MaxElapsed time.Duration

	// Timeout ends a try in which no byte moves for so long. It does not bound a
	// transfer that makes progress. 0 means 2 minutes.
	Timeout time.Duration

	// Jobs bounds the blobs and tags that are in flight at once. 0 means 8.
	Jobs int

	// UserAgent is sent with each request. "" means "kolla-build".
	UserAgent string

	// BaseDelay is the first wait before a request is repeated; it doubles each time.
	// 0 means 200 milliseconds.
	BaseDelay time.Duration
}

// Client speaks to registries. It remembers per registry how to speak to it, so that
// a look-up costs one request. Safe for concurrent use.
type Client struct {
	opts        Options
	policy      retry.Policy
	credentials credentials
	verified    *http.Transport
	unverified  *http.Transport // for Options.Insecure: certificates are not checked
	insecure    map[string]bool
	retried     atomic.Int64

	mu    sync.Mutex
	hosts map[string]*host
}

// New makes a Client. It does not touch the network.
func New(opts Options) (*Client, error) {
	switch {
	case opts.Retries == 0:
		opts.Retries = 5
	case opts.Retries < 0:
		opts.Retries = 0
	}
	if opts.MaxElapsed <= 0 {
		opts.MaxElapsed = 10 * time.Minute
	}
	if opts.Timeout <= 0 {
		opts.Timeout = 2 * time.Minute
	}
	if opts.Jobs <= 0 {
		opts.Jobs = 8
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "kolla-build"
	}
	c := &Client{
		opts:     opts,
		policy:   retry.Policy{Retries: opts.Retries, MaxElapsed: opts.MaxElapsed, BaseDelay: opts.BaseDelay},
		insecure: map[string]bool{},
		hosts:    map[string]*host{},
	}
	for _, typed := range opts.Insecure {
		host, _, err := imageref.NormalizeRegistry(typed)
		if err != nil {
			return nil, fmt.Errorf("insecure registry: %w", err)
		}
		if strings.Contains(host, "/") {
			return nil, fmt.Errorf("insecure registry %q: expected HOST or HOST:PORT, without a path", typed)
		}
		c.insecure[host] = true
	}
	c.verified = newTransport(opts.Jobs)
	c.unverified = newTransport(opts.Jobs)
	c.unverified.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // only for hosts that the user listed
	return c, nil
}

func newTransport(jobs int) *http.Transport {
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:      true,
		MaxIdleConns:           4 * jobs,
		MaxIdleConnsPerHost:    4 * jobs, // more look-ups than uploads run at once
		IdleConnTimeout:        90 * time.Second,
		TLSHandshakeTimeout:    15 * time.Second,
		MaxResponseHeaderBytes: 256 << 10,
	}
}

// Close closes idle connections. The Client can still be used.
func (c *Client) Close() {
	c.verified.CloseIdleConnections()
	c.unverified.CloseIdleConnections()
}

// Retried returns how many requests were repeated so far.
func (c *Client) Retried() int64 { return c.retried.Load() }

// Policy returns how the client repeats requests, for callers that repeat sequences
// of them.
func (c *Client) Policy() retry.Policy { return c.policy }

// Jobs returns how many blobs and tags may be in flight at once.
func (c *Client) Jobs() int { return c.opts.Jobs }

// mayBeInsecure reports whether plain HTTP and unverified certificates are allowed
// for a host: it is this machine, or the user listed it.
func (c *Client) mayBeInsecure(host string) bool {
	if imageref.IsLoopback(host) || c.insecure[host] {
		return true
	}
	h, _, err := net.SplitHostPort(host)
	return err == nil && c.insecure[h]
}

// network returns the transport for requests to a host, with retries.
func (c *Client) network(host string) http.RoundTripper {
	inner := c.verified
	if c.mayBeInsecure(host) {
		inner = c.unverified
	}
	return &retryTransport{
		inner: &userAgentTransport{inner: inner, userAgent: c.opts.UserAgent}, policy: c.policy, stall: c.opts.Timeout,
		count: func() { c.retried.Add(1) },
	}
}

// userAgentTransport names this program in each request.
type userAgentTransport struct {
	inner     http.RoundTripper
	userAgent string
}

// RoundTrip implements http.RoundTripper.
func (t *userAgentTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	req = req.Clone(req.Context())
	req.Header.Set("User-Agent", t.userAgent)
	return t.inner.RoundTrip(req)
}
