package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/memo"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// dockerHubAPI is the host of Docker Hub's registry.
const dockerHubAPI = "registry-1.docker.io"

// hostKey identifies what is reached in one way.
type hostKey struct {
	host     string // HOST[:PORT]
	insecure bool   // it is listed for plain HTTP and unverified certificates
}

// host holds the scheme, the login method and the tokens of a registry, or of the paths in
// it that are listed as insecure.
type host struct {
	client   *Client
	name     string // as in the names of images: "localhost:4000"
	addr     string // HOST[:PORT] of its API
	insecure bool   // it is listed for plain HTTP and unverified certificates
	base     http.RoundTripper
	unusable error // why requests are impossible, or nil

	anywhere anywhereMounts

	scheme memo.Value[string] // "http" or "https"; known when the registry has answered once
	tokens memo.Map[tokenKey, token]

	mu         sync.Mutex
	challenge  challenge
	tokenBytes int              // of the tokens since they were last forgotten
	logins     map[string]login // by repository
	withheld   bool             // there are credentials that were not sent
	user       string           // whose credentials were sent last, "" if none were
}

// host returns the host of a repository; path is "" for requests about the whole registry.
func (c *Client) host(name, path string) *host {
	key := hostKey{name, c.insecure.contains(name, path)}
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.hosts[key]
	if h == nil {
		h = &host{client: c, name: name, addr: name, insecure: key.insecure, logins: map[string]login{}}
		if name == imageref.DockerHub {
			h.addr = dockerHubAPI
		}
		h.tokens.Valid = token.valid
		h.base, h.unusable = c.network(h.key())
		c.hosts[key] = h
	}
	return h
}

// key identifies the transport to the host.
func (h *host) key() hostKey { return hostKey{h.addr, h.insecure} }

// mayBeInsecure reports whether plain HTTP and unverified certificates are allowed.
func (h *host) mayBeInsecure() bool { return h.insecure || imageref.IsLoopback(h.addr) }

// mayBeInsecureAt is mayBeInsecure for the host of an address that the registry named.
func (h *host) mayBeInsecureAt(name string) bool {
	if name == h.addr {
		return h.mayBeInsecure()
	}
	return h.client.mayBeInsecure(name)
}

// url returns an address in the registry's API.
func (h *host) url(scheme, path string, query url.Values) *url.URL {
	return &url.URL{Scheme: scheme, Host: h.addr, Path: path, RawQuery: query.Encode()}
}

// sameHost reports whether an address is at a HOST[:PORT], which may or may not name the port
// of the address's scheme.
func sameHost(u *url.URL, host string) bool {
	withPort := func(host string) string {
		if _, _, err := net.SplitHostPort(host); err == nil {
			return host
		}
		if u.Scheme == "http" {
			return host + ":80"
		}
		return host + ":443"
	}
	return strings.EqualFold(withPort(u.Host), withPort(host))
}

// contact determines the scheme and the login method of the registry, unless they are
// known, and returns the scheme.
func (h *host) contact(ctx context.Context) (string, error) {
	return h.scheme.Get(ctx, func() (string, error) {
		if h.unusable != nil {
			return "", h.unusable
		}
		a, err := h.ping(ctx)
		if err != nil {
			return "", err
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.challenge = a.challenge
		return a.scheme, nil
	})
}

// answer is a registry's answer to GET /v2/ on one scheme.
type answer struct {
	scheme    string
	challenge challenge
	err       error
}

// plainDelay is the head start of HTTPS where plain HTTP may be used, too. Servers
// of plain HTTP usually refuse a TLS handshake at once.
const plainDelay = 300 * time.Millisecond

// ping asks GET /v2/. HTTPS is preferred; where plain HTTP may be used, it is tried
// when HTTPS has failed or takes long, and the first usable answer counts.
func (h *host) ping(ctx context.Context) (answer, error) {
	if !h.mayBeInsecure() && !isPrivate(h.addr) {
		a := h.pingScheme(ctx, "https")
		return a, a.err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	secure, plain := make(chan answer, 1), make(chan answer, 1)
	go func() { secure <- h.pingScheme(ctx, "https") }()
	timer := time.NewTimer(plainDelay)
	defer timer.Stop()
	var failed [2]answer // of HTTPS and of plain HTTP
	select {
	case failed[0] = <-secure:
		if failed[0].err == nil {
			return failed[0], nil
		}
		secure = nil
	case <-timer.C:
	}
	go func() { plain <- h.pingScheme(ctx, "http") }()
	for secure != nil || plain != nil {
		select {
		case failed[0] = <-secure:
			if secure = nil; failed[0].err == nil {
				return failed[0], nil
			}
		case failed[1] = <-plain:
			if plain = nil; failed[1].err == nil {
				return failed[1], nil
			}
		}
	}
	// An error of TLS is more important to the user than one of plain HTTP; without
	// TLS, the error of plain HTTP is reported.
	if errors.Is(failed[1].err, errHTTPSExpected) || isTLS(failed[0].err) {
		return failed[0], failed[0].err
	}
	return failed[1], failed[1].err
}

// errHTTPSExpected is a plain HTTP answer of a server that speaks TLS.
var errHTTPSExpected = errors.New("the server expects HTTPS")

func (h *host) pingScheme(ctx context.Context, scheme string) answer {
	fail := func(err error) answer { return answer{scheme: scheme, err: err} }
	ctx = context.WithValue(ctx, keyFirstContact, true)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, h.url(scheme, "/v2/", nil).String(), nil)
	if err != nil {
		return fail(err)
	}
	resp, err := h.send(h.base, req)
	if err != nil {
		// The second text is net/http's for a server that sends first, such as SSH.
		if text := err.Error(); strings.Contains(text, "malformed HTTP") || strings.Contains(text, "readLoopPeekFailLocked") {
			err = &NoRegistryError{Host: h.name, Says: "not HTTP"}
		}
		if scheme == "https" && mayHideRefusal(err) {
			if refusal := h.client.tlsRefusal(ctx, h.key()); refusal != nil {
				err = refusal
			}
		}
		return fail(h.failure("", err))
	}
	defer drain(resp)
	if scheme == "http" && resp.StatusCode == http.StatusBadRequest &&
		resp.Header.Get("Docker-Distribution-Api-Version") == "" {
		return fail(errHTTPSExpected)
	}
	if u := resp.Request.URL; sameHost(u, h.addr) {
		scheme = u.Scheme // it may have been redirected from HTTP to HTTPS
	}
	if err := notRegistry(h.name, resp); err != nil {
		return fail(err)
	}
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusUnauthorized &&
		resp.StatusCode != http.StatusForbidden {
		return fail(classify(h.name, "", checkStatus(resp, http.StatusOK)))
	}
	ch, err := h.challengeOf(resp)
	return answer{scheme: scheme, challenge: ch, err: err}
}

// notRegistry recognizes servers that are not registries by their answer to GET /v2/:
// an unknown path or an HTML page.
func notRegistry(name string, resp *http.Response) error {
	if resp.Header.Get("Docker-Distribution-Api-Version") != "" {
		return nil
	}
	contentType := resp.Header.Get("Content-Type")
	page := strings.HasPrefix(contentType, "text/html")
	switch {
	case resp.StatusCode == http.StatusNotFound, resp.StatusCode == http.StatusMethodNotAllowed,
		resp.StatusCode == http.StatusOK && page:
		return &NoRegistryError{Host: name, Status: resp.StatusCode, Says: contentType}
	}
	return nil
}

// isPrivate reports whether host is a literal address of a private network.
func isPrivate(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	ip := net.ParseIP(strings.Trim(host, "[]"))
	return ip != nil && ip.IsPrivate()
}

// maxRedirects bounds the redirects that one request follows.
const maxRedirects = 10

// send sends a request through rt and follows a bounded number of redirects: those of
// reads to any host, because registries store blobs elsewhere, and those of writes on
// the same host.
func (h *host) send(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	client := http.Client{Transport: rt, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if err := h.checkTarget(via[0].URL.Scheme, next.URL); err != nil {
			return err
		}
		first := via[0]
		switch {
		case len(via) > maxRedirects:
			return &RedirectError{URL: first.URL.Redacted(), Limit: maxRedirects}
		case next.Method != http.MethodGet && next.Method != http.MethodHead && !sameHost(next.URL, first.URL.Host):
			return http.ErrUseLastResponse
		}
		next.Header.Del("Referer") // other hosts need not know what is pulled
		return nil
	}}
	resp, err := client.Do(req)
	if err != nil && req.Context().Err() != nil {
		return nil, context.Cause(req.Context())
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = h.elsewhere(wrapped.URL, wrapped.Err) // the caller's message contains the URL
	}
	return resp, err
}

// elsewhere returns the error of a request to an address. If that is not the registry's, the
// error names its host.
func (h *host) elsewhere(address string, err error) error {
	var known interface{ Hint() string }
	u, parseErr := url.Parse(address)
	switch {
	case parseErr != nil || u.Host == "" || sameHost(u, h.addr) || errors.As(err, &known):
		return err
	case isTLS(err):
		return &TLSError{Host: u.Host, Err: err}
	case isNetwork(err):
		return &UnreachableError{Host: u.Host, From: h.name, Err: err}
	}
	return err
}

// RedirectError reports that a request was redirected too often.
type RedirectError struct {
	URL   string // of the first request
	Limit int
}

// Error implements error.
func (e *RedirectError) Error() string {
	return fmt.Sprintf("%s: more than %d redirects", e.URL, e.Limit)
}

// Hint returns what the user can do.
func (e *RedirectError) Hint() string {
	return "the registry, or a proxy in front of it, redirects in a circle: check its external URL"
}

// checkTarget returns an error for an address of another protocol that an answer named, and
// for one of plain HTTP that an answer over HTTPS named, unless the user or the address
// allows that: manifests of tags are verified by nothing else, and an upload would be
// readable by all. Neither may it lead to this machine, unless it is there.
func (h *host) checkTarget(scheme string, u *url.URL) error {
	if u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("registry %s leads to an address with the protocol %.20q", h.name, u.Scheme)
	}
	// The registry of another host could have requests sent to one that answers only this machine.
	if imageref.IsLoopback(u.Host) && !imageref.IsLoopback(h.addr) && !h.client.listedAsInsecure(u.Host) {
		return usererr.Errorf("set the external URL of the registry", "registry %s leads to this machine (%s)", h.name, u.Host)
	}
	if scheme != "https" || u.Scheme != "http" || h.mayBeInsecureAt(u.Host) || h.insecure {
		return nil
	}
	return &DowngradeError{Host: h.name, Target: u.Host}
}

// DowngradeError reports that a registry answered over HTTPS, and named an address of plain
// HTTP for what was requested.
type DowngradeError struct {
	Host   string // HOST[:PORT] of the registry
	Target string // HOST[:PORT] of the address
}

// Error implements error.
func (e *DowngradeError) Error() string {
	return fmt.Sprintf("registry %s uses HTTPS, and leads to plain HTTP at %s", e.Host, e.Target)
}

// Hint returns what the user can do.
func (e *DowngradeError) Hint() string {
	return fmt.Sprintf("set the external URL of the registry, or the X-Forwarded-Proto of the proxy in front of it, "+
		"to https, or allow plain HTTP with --registry-insecure %s", e.Target)
}
