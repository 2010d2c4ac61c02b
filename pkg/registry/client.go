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

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// Options say how a Client speaks to registries. The zero value is usable.
type Options struct {
	// Insecure lists registries (host or host:port) that may be spoken to in
	// plain HTTP or with a certificate that nobody signed. Loopback addresses
	// always may, as with Docker. Other private addresses (10/8, 172.16/12,
	// 192.168/16) are tried in plain HTTP when they do not speak TLS, but never
	// get credentials that way unless they are listed here.
	Insecure []string

	// Retries is how often a request is tried again after a transient fault
	// (connection faults, 408, 429, 5xx). 0 means 5, below 0 means never.
	Retries int

	// MaxElapsed bounds the tries of one request, or of one blob's upload,
	// waits included. 0 means 10 minutes.
	MaxElapsed time.Duration

	// Timeout gives up a try in which no byte moves for so long. It does not
	// bound a transfer that moves. 0 means 2 minutes.
	Timeout time.Duration

	// Jobs bounds the blobs and tags that are in flight at once. 0 means 8.
	Jobs int

	// UserAgent is sent with each request. "" means "kolla-build".
	UserAgent string

	// Keychain finds credentials. nil means authn.DefaultKeychain: Docker's
	// configuration ($DOCKER_CONFIG or ~/.docker/config.json, credential
	// helpers included), then Podman's.
	Keychain authn.Keychain
}

// Client speaks to registries. It remembers per registry how to speak to it, so
// that a look-up costs one request. Safe for concurrent use.
type Client struct {
	opts     Options
	policy   retryPolicy
	strict   *http.Transport
	lax      *http.Transport // for Options.Insecure: certificates are not checked
	insecure map[string]bool
	retried  atomic.Int64

	mu       sync.Mutex
	sessions map[string]*session
}

// New makes a Client. It touches no network.
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
	if opts.Keychain == nil {
		opts.Keychain = authn.DefaultKeychain
	}
	c := &Client{
		opts:     opts,
		policy:   retryPolicy{retries: opts.Retries, maxElapsed: opts.MaxElapsed, stall: opts.Timeout, base: backoffBase},
		insecure: map[string]bool{},
		sessions: map[string]*session{},
	}
	for _, host := range opts.Insecure {
		h, _, err := imageref.NormalizeRegistry(host)
		if err != nil {
			return nil, fmt.Errorf("insecure registry: %w", err)
		}
		if strings.Contains(h, "/") {
			return nil, fmt.Errorf("insecure registry %q: give HOST or HOST:PORT, without a path", host)
		}
		c.insecure[h] = true
	}
	c.strict = baseTransport(opts.Jobs)
	c.lax = baseTransport(opts.Jobs)
	c.lax.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // only for hosts that the user listed
	return c, nil
}

func baseTransport(jobs int) *http.Transport {
	return &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		MaxIdleConns:        4 * jobs,
		MaxIdleConnsPerHost: 4 * jobs, // look-ups run in greater number than uploads
		IdleConnTimeout:     90 * time.Second,
		TLSHandshakeTimeout: 15 * time.Second,
	}
}

// Close drops idle connections. The Client can be used on.
func (c *Client) Close() {
	c.strict.CloseIdleConnections()
	c.lax.CloseIdleConnections()
}

// Retried says how many requests were repeated so far.
func (c *Client) Retried() int64 { return c.retried.Load() }

// allowed reports whether the user allowed plain HTTP for host.
func (c *Client) allowed(host string) bool {
	if imageref.IsLoopback(host) || c.insecure[host] {
		return true
	}
	h, _, err := net.SplitHostPort(host)
	return err == nil && c.insecure[h]
}

// parse reads a reference: REGISTRY/REPOSITORY[:TAG|@DIGEST]. A reference
// without a registry means Docker Hub, one without a tag "latest".
func (c *Client) parse(ref string) (name.Reference, error) {
	var opts []name.Option
	if c.allowed(hostOf(ref)) {
		opts = append(opts, name.Insecure)
	}
	r, err := name.ParseReference(ref, opts...)
	if err != nil {
		return nil, fmt.Errorf("image reference %q: %w", ref, err)
	}
	return r, nil
}

// parseRepo reads REGISTRY/REPOSITORY, ignoring a tag or digest after it.
func (c *Client) parseRepo(ref string) (name.Repository, error) {
	r, err := c.parse(ref)
	if err != nil {
		return name.Repository{}, err
	}
	return r.Context(), nil
}

// session is what is known about one registry: its scheme, what login it wants,
// and the transports made for it. One per host.
type session struct {
	reg  name.Registry
	auth authn.Authenticator
	// withheld is set when there are credentials that were not used.
	withheld bool
	base     http.RoundTripper // retries, plain network below

	mu    sync.Mutex
	first *firstAnswer                 // nil until the registry answered once
	rts   map[string]http.RoundTripper // by scopes; one entry "" where logins have no scopes
}

// firstAnswer is the registry's answer to GET /v2/, replayed for each transport
// that is made later: go-containerregistry asks again for each repository.
type firstAnswer struct {
	challenge *transport.Challenge
	status    int
	header    http.Header
	scheme    string
}

func (c *Client) session(reg name.Registry) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	host := reg.RegistryStr()
	s := c.sessions[host]
	if s == nil {
		inner := http.RoundTripper(c.strict)
		if c.allowed(host) {
			inner = c.lax
		}
		s = &session{reg: reg, rts: map[string]http.RoundTripper{}}
		s.base = &retryTransport{inner: inner, policy: c.policy, count: func() { c.retried.Add(1) }}
		c.sessions[host] = s
	}
	return s
}

// transport gives the transport for requests in scopes, logged in.
func (c *Client) transport(ctx context.Context, reg name.Registry, scopes ...string) (http.RoundTripper, error) {
	s := c.session(reg)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		if err := c.contact(ctx, s); err != nil {
			return nil, classify(reg.RegistryStr(), "", err)
		}
	}
	key := ""
	if strings.EqualFold(s.first.challenge.Scheme, "bearer") {
		key = strings.Join(scopes, " ")
	}
	if rt := s.rts[key]; rt != nil {
		return rt, nil
	}
	inner := transport.NewUserAgent(&replay{s: s, inner: s.base}, c.opts.UserAgent)
	rt, err := transport.NewWithContext(ctx, reg, s.auth, inner, scopes)
	if err != nil {
		return nil, s.refused(classify(reg.RegistryStr(), "", err))
	}
	s.rts[key] = rt
	return rt, nil
}

// contact finds out how to speak to the registry. The caller holds s.mu.
func (c *Client) contact(ctx context.Context, s *session) error {
	rec := &recorder{inner: s.base}
	challenge, err := transport.Ping(context.WithValue(ctx, keyFirstContact, true), s.reg, rec)
	if no := noRegistry(s.reg.RegistryStr(), rec, err); no != nil {
		return no
	}
	if err != nil {
		return err
	}
	auth, err := authn.Resolve(ctx, c.opts.Keychain, s.reg)
	if err != nil {
		return fmt.Errorf("reading credentials for %s: %w", s.reg.RegistryStr(), err)
	}
	if challenge.Insecure && !c.allowed(s.reg.RegistryStr()) && auth != authn.Anonymous {
		auth, s.withheld = authn.Anonymous, true
	}
	scheme := "https"
	if challenge.Insecure {
		scheme = "http"
	}
	s.auth = auth
	s.first = rec.answer(scheme)
	s.first.challenge, s.first.scheme = challenge, scheme
	return nil
}

// noRegistry recognises servers that are none by their answer to GET /v2/: they
// do not know it, or answer with a page for people.
func noRegistry(host string, rec *recorder, err error) error {
	if err != nil && strings.Contains(err.Error(), "malformed HTTP") {
		return &NoRegistryError{Host: host, Says: "not HTTP"}
	}
	rec.mu.Lock()
	defer rec.mu.Unlock()
	for _, a := range rec.got {
		if a.header.Get("Docker-Distribution-Api-Version") != "" {
			return nil
		}
		page := strings.HasPrefix(a.header.Get("Content-Type"), "text/html")
		if a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status == http.StatusOK && page {
			return &NoRegistryError{Host: host, Status: a.status, Says: a.header.Get("Content-Type")}
		}
	}
	return nil
}

// refused marks a refusal with what was withheld, for the right hint.
func (s *session) refused(err error) error {
	var u *UnauthorizedError
	if errors.As(err, &u) {
		u.Withheld = s.withheld
	}
	return err
}

// recorder keeps the last answer per scheme.
type recorder struct {
	inner http.RoundTripper
	mu    sync.Mutex
	got   map[string]*firstAnswer
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.inner.RoundTrip(req)
	if err == nil {
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.got == nil {
			r.got = map[string]*firstAnswer{}
		}
		r.got[req.URL.Scheme] = &firstAnswer{status: resp.StatusCode, header: resp.Header.Clone()}
	}
	return resp, err
}

func (r *recorder) answer(scheme string) *firstAnswer {
	r.mu.Lock()
	defer r.mu.Unlock()
	if a := r.got[scheme]; a != nil {
		return a
	}
	return &firstAnswer{status: http.StatusOK, header: http.Header{}} // redirected elsewhere
}

// errOtherScheme answers the half of a ping whose outcome is known.
var errOtherScheme = errors.New("the registry answers on the other scheme")

// replay answers GET /v2/ from memory.
type replay struct {
	s     *session
	inner http.RoundTripper
}

func (r *replay) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet || req.URL.Path != "/v2/" || req.URL.Host != r.s.reg.RegistryStr() {
		return r.inner.RoundTrip(req)
	}
	f := r.s.first // written once, before any replay is made
	if req.URL.Scheme != f.scheme {
		return nil, errOtherScheme
	}
	return &http.Response{
		Status: http.StatusText(f.status), StatusCode: f.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: f.header.Clone(), Body: http.NoBody, Request: req,
	}, nil
}

// url builds an address in the registry's API.
func (s *session) url(path string, query url.Values) *url.URL {
	return &url.URL{Scheme: s.first.scheme, Host: s.reg.RegistryStr(), Path: path, RawQuery: query.Encode()}
}

// remoteOptions are go-containerregistry's for requests on one repository.
func (c *Client) remoteOptions(ctx context.Context, repo name.Repository) ([]remote.Option, error) {
	rt, err := c.transport(ctx, repo.Registry, repo.Scope(transport.PullScope))
	if err != nil {
		return nil, err
	}
	return []remote.Option{remote.WithContext(ctx), remote.WithTransport(rt), remote.WithJobs(c.opts.Jobs)}, nil
}

// Head looks a reference up: one HEAD request (after the first contact with its
// registry). The errors are *NotFoundError, *UnauthorizedError and
// *UnreachableError where they fit.
func (c *Client) Head(ctx context.Context, ref string) (v1.Descriptor, error) {
	r, err := c.parse(ref)
	if err != nil {
		return v1.Descriptor{}, err
	}
	opts, err := c.remoteOptions(ctx, r.Context())
	if err != nil {
		return v1.Descriptor{}, withRef(err, ref)
	}
	d, err := remote.Head(r, opts...)
	if err != nil {
		return v1.Descriptor{}, c.session(r.Context().Registry).refused(classify(r.Context().RegistryStr(), ref, err))
	}
	return *d, nil
}

// HeadResult is one answer of Heads.
type HeadResult struct {
	Ref        string
	Descriptor v1.Descriptor // zero when Err is set
	Err        error
}

// Heads looks many references up in parallel, in the order of refs. It does not
// stop at an error: that something is not there is an answer.
func (c *Client) Heads(ctx context.Context, refs []string) []HeadResult {
	out := make([]HeadResult, len(refs))
	// Four times the uploads' number: a look-up waits and moves nothing.
	slots := make(chan struct{}, 4*c.opts.Jobs)
	var wg sync.WaitGroup
	for i, ref := range refs {
		wg.Add(1)
		slots <- struct{}{}
		go func() {
			defer wg.Done()
			defer func() { <-slots }()
			d, err := c.Head(ctx, ref)
			out[i] = HeadResult{Ref: ref, Descriptor: d, Err: err}
		}()
	}
	wg.Wait()
	return out
}

// Ping finds out whether the registry that ref lies in answers. It says nothing
// about the right to push there.
func (c *Client) Ping(ctx context.Context, ref string) error {
	r, err := c.parseRepo(ref)
	if err != nil {
		return err
	}
	_, err = c.transport(ctx, r.Registry, r.Scope(transport.PullScope))
	return withRef(err, ref)
}

// withRef fills in the reference that a first contact does not know.
func withRef(err error, ref string) error {
	var u *UnauthorizedError
	if errors.As(err, &u) && u.Ref == "" {
		u.Ref = ref
	}
	return err
}
