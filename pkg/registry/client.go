package registry

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kolla-build/kolla-build/internal/httpget"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// ErrInsecureHost is part of errors about Options.Insecure.
var ErrInsecureHost = errors.New("insecure registry")

// defaultJobs is how many transfers run at the same time if Options.Jobs is 0.
const defaultJobs = 8

// Options are the settings of a Client. The zero value is usable.
type Options struct {
	// Insecure lists registries (HOST or HOST:PORT) that may be reached with plain HTTP
	// or an unverified certificate. Loopback addresses always may, as with Docker.
	// Other private addresses (10/8, 172.16/12, 192.168/16) are tried with plain HTTP
	// if they do not support TLS, but get credentials that way only if they are listed
	// here.
	Insecure []string

	// Retries is how often a request is repeated after a transient fault (connection
	// faults, 408, 429, 5xx), as [retry.Retries] reads it.
	Retries int

	// MaxElapsed limits the time of all attempts of one request, or of one blob's
	// upload, including waits. 0 means 10 minutes.
	MaxElapsed time.Duration

	// Timeout ends an attempt that transfers no byte for this time. It does not limit a
	// transfer that makes progress. 0 means [retry.DefaultTimeout].
	Timeout time.Duration

	// Jobs limits the number of concurrent transfers of blobs and tags. 0 means 8.
	Jobs int

	// UserAgent is sent with each request. "" means "kolla-build".
	UserAgent string

	// EtcDir is the directory with the host's configuration of registries:
	// docker/certs.d, containers/certs.d, containers/registries.conf. "" means /etc.
	EtcDir string

	// BaseDelay is the first wait before a request is repeated; it doubles each time.
	// 0 means 200 milliseconds.
	BaseDelay time.Duration
}

// Client is a client of registries. It remembers the protocol and login of each
// registry, so that a look-up takes one request. It is safe for concurrent use.
type Client struct {
	opts        Options
	policy      retry.Policy
	credentials *credentials
	conf        *registriesConf
	insecure    insecureList
	retried     atomic.Int64
	proxy       func(*http.Request) (*url.URL, error)

	mu    sync.Mutex
	hosts map[hostKey]*host

	transportsMu sync.Mutex
	transports   map[hostKey]*http.Transport
}

// New makes a Client. It reads the host's configuration of registries, until ctx ends, and
// does not use the network.
func New(ctx context.Context, opts Options) (*Client, error) {
	opts.Retries = retry.Retries(opts.Retries)
	if opts.MaxElapsed <= 0 {
		opts.MaxElapsed = 10 * time.Minute
	}
	if opts.Timeout <= 0 {
		opts.Timeout = retry.DefaultTimeout
	}
	if opts.Jobs <= 0 {
		opts.Jobs = defaultJobs
	}
	if opts.EtcDir == "" {
		opts.EtcDir = "/etc"
	}
	if opts.UserAgent == "" {
		opts.UserAgent = "kolla-build"
	}
	c := &Client{
		opts:       opts,
		policy:     retry.Policy{Retries: opts.Retries, MaxElapsed: opts.MaxElapsed, BaseDelay: opts.BaseDelay},
		hosts:      map[hostKey]*host{},
		transports: map[hostKey]*http.Transport{}, proxy: http.ProxyFromEnvironment,
	}
	var err error
	if c.conf, err = readRegistriesConf(ctx, opts.EtcDir); err != nil {
		return nil, err
	}
	c.credentials = newCredentials(c.conf.helpers)
	c.conf.eachLocation(c.insecure.add)
	if err := c.addDaemonConf(ctx, opts.EtcDir); err != nil {
		return nil, err
	}
	for _, typed := range opts.Insecure {
		host, _, err := imageref.NormalizeRegistry(typed)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInsecureHost, err)
		}
		if strings.Contains(host, "/") {
			return nil, fmt.Errorf("%w: %q: expected HOST or HOST:PORT, without a path", ErrInsecureHost, typed)
		}
		c.insecure.addAllPorts(host)
	}
	return c, nil
}

// transport returns the transport to a host, with the certificates that are configured
// for it.
func (c *Client) transport(key hostKey) (*http.Transport, error) {
	c.transportsMu.Lock()
	defer c.transportsMu.Unlock()
	if t := c.transports[key]; t != nil {
		return t, nil
	}
	config, err := tlsConfig(c.opts.EtcDir, key.host)
	if err != nil {
		return nil, err
	}
	// This machine's certificate need not be verified, unless an authority for it is
	// configured.
	if key.insecure || imageref.IsLoopback(key.host) && (config == nil || config.RootCAs == nil) {
		if config == nil {
			config = &tls.Config{}
		}
		config.InsecureSkipVerify = true //nolint:gosec // only for this machine and hosts that the user listed
	}
	t := newTransport(c.opts.Jobs)
	t.TLSClientConfig = config
	t.Proxy = func(r *http.Request) (*url.URL, error) { return c.proxy(r) }
	c.transports[key] = t
	return t, nil
}

// presentsCertificate reports whether there is a client certificate for a host.
func (c *Client) presentsCertificate(key hostKey) bool {
	t, err := c.transport(key)
	return err == nil && t.TLSClientConfig != nil && len(t.TLSClientConfig.Certificates) > 0
}

func newTransport(jobs int) *http.Transport {
	t := httpget.NewTransport(4 * jobs) // more look-ups than uploads run at once
	t.MaxIdleConns = t.MaxIdleConnsPerHost
	t.DialContext = dial
	return t
}

type dialKey struct{}

// WithDial returns a context in which requests to the registry at a HOST:PORT use a
// function to connect, for example through a socket.
func WithDial(ctx context.Context, host string, dialContext func(context.Context) (net.Conn, error)) context.Context {
	return context.WithValue(ctx, dialKey{}, func(ctx context.Context, addr string) (net.Conn, bool, error) {
		if addr != host {
			return nil, false, nil
		}
		conn, err := dialContext(ctx)
		return conn, true, err
	})
}

func dial(ctx context.Context, network, addr string) (net.Conn, error) {
	if special, ok := ctx.Value(dialKey{}).(func(context.Context, string) (net.Conn, bool, error)); ok {
		if conn, handled, err := special(ctx, addr); handled {
			return conn, err
		}
	}
	return httpget.Dialer.DialContext(ctx, network, addr)
}

// Close closes idle connections. The Client can still be used.
func (c *Client) Close() {
	c.transportsMu.Lock()
	defer c.transportsMu.Unlock()
	for _, t := range c.transports {
		t.CloseIdleConnections()
	}
}

// Retried returns the number of repeated requests so far.
func (c *Client) Retried() int64 { return c.retried.Load() }

// Policy returns how the client repeats requests, for callers that repeat sequences
// of them.
func (c *Client) Policy() retry.Policy { return c.policy }

// Jobs returns the maximum number of concurrent transfers.
func (c *Client) Jobs() int { return c.opts.Jobs }

// mayBeInsecure reports whether plain HTTP and unverified certificates are allowed
// for a host: it is this machine, or the user listed it.
func (c *Client) mayBeInsecure(host string) bool {
	return imageref.IsLoopback(host) || c.listedAsInsecure(host)
}

// listedAsInsecure reports whether the user allows plain HTTP and unverified certificates for
// all of a host.
func (c *Client) listedAsInsecure(host string) bool { return c.insecure.contains(host, "") }

// network returns the transport for requests to a host, with retries.
func (c *Client) network(key hostKey) (http.RoundTripper, error) {
	inner, err := c.transport(key)
	if err != nil {
		return nil, err
	}
	return &retryTransport{
		inner: &userAgentTransport{inner: inner, userAgent: c.opts.UserAgent}, policy: c.policy, stall: c.opts.Timeout,
		count: func() { c.retried.Add(1) },
	}, nil
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
