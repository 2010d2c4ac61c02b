package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/remotes/docker/auth"
	remoteserrors "github.com/containerd/containerd/v2/core/remotes/errors"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// challenge is the login method of a registry. The zero value requires no login.
type challenge struct {
	scheme  auth.AuthenticationScheme
	realm   string // of a bearer challenge: the token server
	service string
	scopes  string // that the refused request needs
}

// maxChallenge is the size in bytes of the largest challenge that is followed. Tokens are kept by
// challenge, and a registry can send another one with each answer.
const maxChallenge = 4096

// challengeOf reads the challenge of an answer; tokens take precedence over passwords. It is an
// error if all challenges are too large.
func (h *host) challengeOf(resp *http.Response) (ch challenge, err error) {
	if resp.StatusCode != http.StatusUnauthorized {
		return challenge{}, nil
	}
	for _, c := range auth.ParseAuthHeader(resp.Header) {
		switch c.Scheme {
		case auth.BearerAuth:
			ch = challenge{
				scheme: c.Scheme, realm: c.Parameters["realm"],
				service: c.Parameters["service"], scopes: c.Parameters["scope"],
			}
			if len(ch.realm)+len(ch.service)+len(ch.scopes) > maxChallenge {
				err = &SizeError{What: "the login challenge of registry " + h.name, Limit: maxChallenge}
				continue
			}
			return ch, nil
		case auth.BasicAuth:
			return challenge{scheme: c.Scheme}, nil
		}
	}
	return challenge{}, err
}

// The actions that a token allows on a repository.
const (
	actionsPull   = "pull"
	actionsPush   = "pull,push"
	actionsDelete = "pull,push,delete"
)

func scope(repository, actions string) string { return "repository:" + repository + ":" + actions }

// tokenKey identifies a token. It includes the credentials, because a token belongs to
// a login.
type tokenKey struct {
	realm, service, scopes string
	login                  login
}

type token struct {
	value   string
	expires time.Time
}

func (t token) valid() bool { return time.Now().Before(t.expires) }

// header returns the header Authorization of requests with the token.
func (t token) header() string { return "Bearer " + t.value }

// tokenMargin is how long before its end a token is no longer used, and tokenLife is
// the life of tokens that do not declare one (the specification's default).
const (
	tokenMargin = 5 * time.Second
	tokenLife   = 60 * time.Second
)

// do sends a request to the registry, logged in for the scopes. repository selects the
// credentials. The first scope should be the most important one, because some token
// servers only use one.
func (h *host) do(req *http.Request, repository string, scopes ...string) (*http.Response, error) {
	scheme, _ := h.scheme.Known()
	// The registry named the locations of uploads.
	if err := h.checkTarget(scheme, req.URL); err != nil {
		return nil, err
	}
	return h.send(&authTransport{host: h, repository: repository, scopes: scopes}, req)
}

// authTransport adds credentials to requests to one registry, and to no other host
// that it redirects to.
type authTransport struct {
	host       *host
	repository string
	scopes     []string
}

// RoundTrip implements http.RoundTripper. A request that is refused because it has no
// valid token is repeated once with one.
func (t *authTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	h := t.host
	if !sameHost(req.URL, h.addr) {
		req = req.Clone(req.Context())
		req.Header.Del("Authorization")
		elsewhere, err := h.client.network(h.transportTo(req.URL.Host))
		if err != nil {
			return nil, err
		}
		return elsewhere.RoundTrip(req)
	}
	login, err := h.login(req.Context(), t.repository, req.URL.Scheme)
	if err != nil {
		return nil, err
	}
	scopes := t.scopes
	for first := true; ; first = false {
		authorized := req.Clone(req.Context())
		if !first && req.GetBody != nil {
			if authorized.Body, err = req.GetBody(); err != nil {
				return nil, err
			}
		}
		h.mu.Lock()
		ch := h.challenge
		h.mu.Unlock()
		key, err := h.authorize(authorized, ch, login, scopes)
		if err != nil {
			return nil, err
		}
		resp, err := h.base.RoundTrip(authorized)
		if err != nil || resp.StatusCode != http.StatusUnauthorized || !first {
			return resp, err
		}
		required, err := h.challengeOf(resp)
		if err != nil {
			drain(resp)
			return nil, err
		}
		if !h.learn(required, ch, key, authorized.Header.Get("Authorization")) {
			return resp, nil
		}
		if required.scopes != "" && !covers(scopes, required.scopes) {
			scopes = append(strings.Fields(required.scopes), scopes...)
		}
		if req.Body != nil && req.Body != http.NoBody && req.GetBody == nil {
			return resp, nil // its caller repeats it as a whole
		}
		drain(resp)
	}
}

// learn records a challenge, removes the refused token, and reports whether the request
// may succeed when it is repeated: also if another request has replaced the token meanwhile.
func (h *host) learn(required, before challenge, key tokenKey, refused string) bool {
	if required.scheme == 0 {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	unchanged := required.scheme == before.scheme && required.realm == before.realm && required.service == before.service
	if !unchanged {
		h.challenge = required
	}
	h.tokens.Forget(key, func(t token) bool { return t.header() == refused })
	return !unchanged || key != (tokenKey{})
}

// authorize adds the credentials that a challenge asks for. It returns the key of the
// token that was used, if one was.
func (h *host) authorize(req *http.Request, ch challenge, login login, scopes []string) (tokenKey, error) {
	req.Header.Del("Authorization")
	switch {
	case ch.scheme == auth.BasicAuth && login.Username != "":
		req.SetBasicAuth(login.Username, login.Password)
	case ch.scheme == auth.BearerAuth && login.RegistryToken != "":
		req.Header.Set("Authorization", "Bearer "+login.RegistryToken)
	case ch.scheme == auth.BearerAuth:
		key := tokenKey{realm: ch.realm, service: ch.service, scopes: strings.Join(scopes, " "), login: login}
		t, err := h.token(req.Context(), key)
		if err != nil {
			return key, err
		}
		req.Header.Set("Authorization", t.header())
		return key, nil
	}
	return tokenKey{}, nil
}

// token returns a token from memory, or gets one from the token server. Only callers
// that need the same token wait for each other.
func (h *host) token(ctx context.Context, key tokenKey) (token, error) {
	return h.tokens.Get(ctx, key, func() (t token, err error) {
		err = h.client.repeat(ctx, func() (err error) {
			t, err = h.fetchToken(ctx, key)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				err = final(err) // the answer was complete, so the transport has already repeated it
			}
			return err
		})
		if err == nil {
			h.countToken(key, t)
		}
		return t, err
	})
}

// countToken makes room for a new token. A registry can ask for another one with each answer.
func (h *host) countToken(key tokenKey, t token) {
	size := len(t.value) + len(key.realm) + len(key.service) + len(key.scopes)
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tokenBytes += size; h.tokenBytes > maxTokens {
		h.tokens.Clear()
		h.tokenBytes = size
	}
}

// Limits of a token server, in bytes. There is a token for each repository, and servers limit the
// headers that contain it, usually to 32 KiB.
const (
	maxTokenAnswer = 1 << 20
	maxToken       = 64 << 10
	maxTokens      = 16 << 20 // of all tokens of a registry, some 5,000; then all are requested again
)

// transportTo identifies the transport to the host of an address that the registry named.
func (h *host) transportTo(name string) hostKey {
	if name == h.addr {
		return h.key()
	}
	return hostKey{name, h.client.listedAsInsecure(name)}
}

// fetchToken gets a token. With a password it asks by GET, which every token server
// supports; with an identity token by POST, as OAuth 2 has it.
func (h *host) fetchToken(ctx context.Context, key tokenKey) (token, error) {
	realm, err := url.Parse(key.realm)
	if err == nil {
		_, _, err = imageref.NormalizeRegistry(realm.Host) // it may be printed as a part of a command
	}
	if err != nil || realm.Host == "" || realm.Scheme != "https" && realm.Scheme != "http" {
		return token{}, fmt.Errorf("registry %s: its token server %q is not a URL", h.name, key.realm)
	}
	if realm.Scheme == "http" && key.login != (login{}) && !h.mayBeInsecureAt(realm.Host) && !h.insecure {
		return token{}, &UnauthorizedError{Host: h.name, Withheld: true, TokenServer: realm.Host}
	}
	network, err := h.client.network(h.transportTo(realm.Host))
	if err != nil {
		return token{}, err
	}
	client := &http.Client{
		Transport: &limitTransport{inner: network, limit: maxTokenAnswer},
		CheckRedirect: func(next *http.Request, via []*http.Request) error {
			if len(via) > maxRedirects {
				return &RedirectError{URL: key.realm, Limit: maxRedirects}
			}
			if next.URL.Host != realm.Host || next.URL.Scheme != realm.Scheme && next.URL.Scheme != "https" {
				return http.ErrUseLastResponse // the other host would get our password
			}
			return nil
		},
	}
	opts := auth.TokenOptions{
		Realm: key.realm, Service: key.service, Scopes: strings.Fields(key.scopes),
		Username: key.login.Username, Secret: key.login.Password,
	}
	header := http.Header{"User-Agent": {h.client.opts.UserAgent}}
	if key.login.IdentityToken != "" {
		opts.Username, opts.Secret = "", key.login.IdentityToken
		t, err := auth.FetchTokenWithOAuth(ctx, client, header, "kolla-build", opts)
		if err != nil {
			return token{}, h.tokenError(ctx, realm, err)
		}
		return h.newToken(realm, t.AccessToken, t.ExpiresInSeconds)
	}
	t, err := auth.FetchToken(ctx, client, header, opts)
	if err != nil {
		return token{}, h.tokenError(ctx, realm, err)
	}
	return h.newToken(realm, t.Token, t.ExpiresInSeconds)
}

func (h *host) newToken(realm *url.URL, value string, seconds int) (token, error) {
	if len(value) > maxToken {
		return token{}, fmt.Errorf("token server %s of registry %s: a token of more than %s",
			realm.Host, h.name, units.Bytes(maxToken))
	}
	life := tokenLife
	if seconds > 0 {
		life = min(time.Duration(seconds), 1e6) * time.Second
	}
	return token{value: value, expires: time.Now().Add(life - min(tokenMargin, life/4))}, nil
}

// tokenError reports that the token server, not the registry, refused or failed.
func (h *host) tokenError(ctx context.Context, realm *url.URL, err error) error {
	var status remoteserrors.ErrUnexpectedStatus
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &status) && status.StatusCode == http.StatusUnauthorized:
		return &UnauthorizedError{Host: h.name, Err: err}
	case errors.As(err, &status) && status.StatusCode == http.StatusForbidden:
		return &UnauthorizedError{Host: h.name, Denied: true, Err: err}
	case errors.As(err, &status):
		return &AnswerError{Host: realm.Host, Status: status.StatusCode, TokenServerOf: h.name, Err: err}
	}
	var wrapped *url.Error
	if !errors.As(err, &wrapped) { // it answered, but not with a token
		return &tokenAnswerError{fmt.Errorf("token server %s of registry %s: %w", realm.Host, h.name, err)}
	}
	err = wrapped.Err
	if classified := classify(realm.Host, "", err); classified != err {
		return fmt.Errorf("token server of registry %s: %w", h.name, classified)
	}
	return fmt.Errorf("token server %s of registry %s: %w", realm.Host, h.name, err)
}

// tokenAnswerError reports an answer of a token server that is not a token.
type tokenAnswerError struct{ error }

// Unwrap returns the cause.
func (e *tokenAnswerError) Unwrap() error { return e.error }

// Hint returns what the user can do.
func (e *tokenAnswerError) Hint() string {
	return "check the address of the token server in the registry's settings, and a proxy in front of it"
}

// covers reports whether scopes include all wanted ones.
func covers(scopes []string, wanted string) bool {
	for _, want := range strings.Fields(wanted) {
		i := strings.LastIndexByte(want, ':')
		if i < 0 {
			if !slices.Contains(scopes, want) {
				return false
			}
			continue
		}
		var allowed []string
		for _, scope := range scopes {
			if actions, ok := strings.CutPrefix(scope, want[:i+1]); ok {
				allowed = append(allowed, strings.Split(actions, ",")...)
			}
		}
		for _, action := range strings.Split(want[i+1:], ",") {
			if !slices.Contains(allowed, action) {
				return false
			}
		}
	}
	return true
}

// limitTransport bounds the bodies of answers.
type limitTransport struct {
	inner http.RoundTripper
	limit int64
}

// RoundTrip implements http.RoundTripper.
func (t *limitTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := t.inner.RoundTrip(req)
	if err == nil {
		resp.Body = &limitedBody{ReadCloser: resp.Body, limit: t.limit}
	}
	return resp, err
}

// limitedBody is a body that ends with an error after its limit.
type limitedBody struct {
	io.ReadCloser
	read, limit int64
}

// Read implements io.Reader.
func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.read += int64(n); b.read > b.limit {
		return 0, &SizeError{What: "the answer", Limit: b.limit}
	}
	return n, err
}
