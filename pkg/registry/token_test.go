package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
)

// auths writes a Docker configuration with these entries.
func auths(t *testing.T, entries map[string]map[string]string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	b, err := json.Marshal(map[string]any{"auths": entries})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// pushAndPull publishes an image and reads it back.
func pushAndPull(t *testing.T, host string) {
	t.Helper()
	c := registrytest.Client(t, registry.Options{})
	p := push.New(c, push.Options{})
	base := registrytest.Base(t, 2000)
	var tags []push.Tag
	for name, img := range map[string]v1.Image{"base": base, "child": registrytest.Image(t, base, 1000, 1)} {
		d, err := p.Push(t.Context(), host+"/kolla/"+name, img)
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, push.Tag{Ref: host + "/kolla/" + name + ":t", Digest: d.Digest})
	}
	if err := p.Commit(t.Context(), tags); err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		registrytest.MustPull(t, host, tag.Ref, tag.Digest)
	}
	if got, err := c.Tags(t.Context(), host+"/kolla/base"); err != nil || !slices.Equal(got, []string{"t"}) {
		t.Errorf("tags %v, %v", got, err)
	}
}

// Token servers differ in their answers and in the storage of logins.
func TestTokens(t *testing.T) {
	password := map[string]string{"username": "ada", "password": "s3cret"}
	for name, c := range map[string]struct {
		opts  registrytest.TokenOptions
		login map[string]string
	}{
		"Docker Hub: both fields, password":    {registrytest.TokenOptions{}, password},
		"Docker Hub: identity token":           {registrytest.TokenOptions{IdentityTokens: map[string]string{"id-1": "ada"}}, map[string]string{"username": "<token>", "identitytoken": "id-1"}},
		"Quay: token alone, without a life":    {registrytest.TokenOptions{Field: "token", Silent: true}, password},
		"GHCR: token alone, everyone may pull": {registrytest.TokenOptions{Field: "token", Public: true}, password},
		"Harbor: both fields, short life":      {registrytest.TokenOptions{Life: time.Second}, password},
		"Azure: access_token from identity token": {registrytest.TokenOptions{Field: "access_token",
			IdentityTokens: map[string]string{"id-2": "ada"}}, map[string]string{"identitytoken": "id-2"}},
	} {
		t.Run(name, func(t *testing.T) {
			testenv.SlowExcept(t, name, "Docker Hub: both fields, password")
			c.opts.Accounts = map[string]string{"ada": "s3cret"}
			host, tokens := registrytest.WithTokens(t, c.opts)
			auths(t, map[string]map[string]string{host: c.login})
			pushAndPull(t, host)
			if len(tokens.Requests()) == 0 {
				t.Error("the token server was not asked")
			}
		})
	}
}

func TestTokenRefusals(t *testing.T) {
	host, tokens := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"},
		Public: true, Paths: map[string][]string{"ada": {"kolla/"}}})
	head := func() error {
		_, err := registrytest.Client(t, registry.Options{}).Head(t.Context(), host+"/kolla/base:t")
		return err
	}
	send := func(repo string) error {
		_, err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(t.Context(), host+repo,
			registrytest.Base(t, 100))
		return err
	}
	var missing *registry.NotFoundError
	var refused *registry.UnauthorizedError
	auths(t, nil)
	if err := head(); !errors.As(err, &missing) {
		t.Errorf("anonymous look-up where everyone may pull: %v", err)
	}
	if err := send("/kolla/base"); !errors.As(err, &refused) || !strings.Contains(refused.Hint(), "docker login "+host) {
		t.Errorf("anonymous push: %v", err)
	}
	auths(t, map[string]map[string]string{host: {"username": "ada", "password": "wr0ng"}})
	if err := head(); !errors.As(err, &refused) ||
		strings.Contains(fmt.Sprintf("%+v %v", err, errors.Unwrap(err)), "wr0ng") {
		t.Errorf("wrong password: %v", err)
	}
	auths(t, map[string]map[string]string{host: {"username": "ada", "password": "s3cret"}})
	if err := send("/kolla/base"); err != nil {
		t.Error(err)
	}
	if err := send("/other/base"); !errors.As(err, &refused) {
		t.Errorf("push to a repository of others: %v", err)
	}
	for _, r := range tokens.Requests() {
		if strings.Contains(r, "catalog") && strings.Contains(r, "repository:") {
			t.Errorf("request %q: a server may refuse both scopes because of the first", r)
		}
	}
}

// Look-ups of many repositories do not wait for each other's tokens, and one repository
// needs one token.
func TestTokensAreFetchedInParallel(t *testing.T) {
	testenv.Slow(t)
	const n, together = 40, 16
	host, tokens := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"},
		Together: together})
	auths(t, map[string]map[string]string{host: {"username": "ada", "password": "s3cret"}})
	c := registrytest.Client(t, registry.Options{})
	var names []string
	for i := range n {
		for _, tag := range []string{"a", "b"} {
			names = append(names, fmt.Sprintf("%s/kolla/image-%d:%s", host, i, tag))
		}
	}
	for _, r := range c.Heads(t.Context(), names) {
		var missing *registry.NotFoundError
		if !errors.As(r.Err, &missing) {
			t.Fatal(r.Err)
		}
	}
	if got := tokens.MostAtOnce(); got < together {
		t.Errorf("at most %d tokens were requested at once, expected %d", got, together)
	}
	if got := len(tokens.Requests()); got != n {
		t.Errorf("%d tokens for %d repositories", got, n)
	}
}

// A token that the registry no longer accepts is replaced in the middle of a push.
func TestRevokedTokenIsReplaced(t *testing.T) {
	host, tokens := registrytest.WithTokens(t, registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"}})
	var refuse atomic.Bool
	px := registrytest.StartProxy(t, host, nil)
	next := px.Handler
	var refusals atomic.Int64
	px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && refuse.CompareAndSwap(true, false) {
			refusals.Add(1)
			w.Header().Set("WWW-Authenticate",
				fmt.Sprintf(`Bearer realm=%q,service="registry.test",scope="repository:kolla/base:pull,push",error="invalid_token"`,
					tokens.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	})
	auths(t, map[string]map[string]string{px.Host: {"username": "ada", "password": "s3cret"}})
	p := push.New(registrytest.Client(t, registry.Options{Jobs: 1}), push.Options{})
	for range 3 {
		refuse.Store(true)
		if _, err := p.Push(t.Context(), px.Host+"/kolla/base", registrytest.Base(t, 5000)); err != nil {
			t.Fatal(err)
		}
	}
	if refusals.Load() != 3 {
		t.Errorf("%d refusals", refusals.Load())
	}
}

// A token server that is broken or answers nonsense is named, in bounded memory.
func TestBrokenTokenServers(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"fault":    {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, "token server"},
		"page":     {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "token server"},
		"no token": {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "{}") }, "token server"},
		"redirects": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.String(),
				http.StatusFound)
		}, "redirects"},
		"endless": {endless, "larger than the limit of 1048576 bytes"},
		"empty":   {func(http.ResponseWriter, *http.Request) {}, "unable to decode token response"},
		"large token": {func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"token":%q}`, strings.Repeat("t", 100_000))
		}, "a token of more than 64.0 KiB"},
		"disconnected": {func(w http.ResponseWriter, _ *http.Request) { testenv.Abort(w) }, "connection reset"},
	} {
		t.Run(name, func(t *testing.T) {
			var requests atomic.Int64
			realm := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				c.handler(w, r)
			}))
			host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, realm))
				w.WriteHeader(http.StatusUnauthorized)
			}))
			_, err := registrytest.Client(t, registry.Options{Retries: 2}).Head(context.Background(), host+"/kolla/base:t")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), realm) {
				t.Errorf("got %v", err)
			}
			if reached := name != "disconnected"; reached && strings.Contains(err.Error(), "cannot be reached") {
				t.Errorf("it answers: %v", err)
			}
			if n := requests.Load(); n > 15 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// endless answers a JSON string without end.
func endless(w http.ResponseWriter, r *http.Request) {
	fmt.Fprint(w, `{"token":"`)
	for r.Context().Err() == nil {
		if _, err := w.Write([]byte(strings.Repeat("x", 64<<10))); err != nil {
			return
		}
	}
}

// Credentials go to the token server that the registry names, but not to where that one
// redirects.
func TestTokenServerRedirectGetsNoPassword(t *testing.T) {
	var leaked atomic.Bool
	thief := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			leaked.Store(true)
		}
		fmt.Fprint(w, `{"token":"x"}`)
	}))
	realm := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://"+strings.Replace(thief, "127.0.0.1", "localhost", 1)+r.URL.Path,
			http.StatusTemporaryRedirect)
	}))
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x"`, realm))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	auths(t, map[string]map[string]string{host: {"username": "ada", "password": "s3cret"}})
	if _, err := registrytest.Client(t, registry.Options{Retries: -1}).Head(t.Context(),
		host+"/kolla/base:t"); err == nil {
		t.Error("the look-up succeeded")
	}
	if leaked.Load() {
		t.Error("the password was sent to another host")
	}
}

// Requests whose token is refused at the same time get one new token, also those that are refused
// while it is fetched, and those that are refused after that.
func TestTokenRefusedAtTheSameTime(t *testing.T) {
	const requests = 8
	var tokens, refused atomic.Int32
	together := make(chan struct{}) // closed when all requests have been sent with the first token
	var host string
	host = registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		authorization := r.Header.Get("Authorization")
		switch {
		case r.URL.Path == "/token":
			fmt.Fprintf(w, `{"token":"t%d"}`, tokens.Add(1))
		case authorization == "Bearer t2":
			w.Header().Set("Docker-Content-Digest", digest.FromString("").String())
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			w.Header().Set("Content-Length", "9")
		default:
			if authorization == "Bearer t1" {
				if refused.Add(1) == requests {
					close(together)
				}
				<-together
			}
			w.Header().Set("Www-Authenticate", fmt.Sprintf("Bearer realm=%q,service=%q", "http://"+host+"/token", "test"))
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	c := registrytest.Client(t, registry.Options{Retries: -1})
	var group sync.WaitGroup
	for range requests {
		group.Go(func() {
			if _, err := c.Head(t.Context(), host+"/kolla/base:t"); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if n := tokens.Load(); n != 2 {
		t.Errorf("%d tokens were fetched, want 2", n)
	}
}
