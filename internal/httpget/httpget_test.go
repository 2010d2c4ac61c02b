package httpget

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// TestGet gets files from a server with faults.
func TestGet(t *testing.T) {
	requests := map[string]int{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests[r.URL.Path]++
		switch n := requests[r.URL.Path]; r.URL.Path {
		case "/file":
			w.Header().Set("ETag", `"1"`)
			if r.Header.Get("If-None-Match") == `"1"` {
				w.WriteHeader(http.StatusNotModified)
				return
			}
			fmt.Fprint(w, "content")
		case "/later":
			if n < 3 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			fmt.Fprint(w, "content")
		case "/large":
			fmt.Fprint(w, strings.Repeat("x", 2000))
		case "/stall":
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/wait":
			w.Header().Set("Retry-After", "3600")
			w.WriteHeader(http.StatusTooManyRequests)
		case "/empty":
		case "/forbidden":
			w.WriteHeader(http.StatusForbidden)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	defer srv.Close()
	c := &Client{Stall: 50 * time.Millisecond, Retry: retry.Policy{Retries: 3, MaxElapsed: time.Minute,
		BaseDelay: time.Millisecond}}
	var stalled *retry.StalledError
	var size *SizeError
	var status *StatusError
	for path, want := range map[string]struct {
		ok       func(Response, error) bool
		requests int
	}{
		"/file": {func(r Response, err error) bool {
			return string(r.Body) == "content" &&
				r.ETag == `"1"` && err == nil
		}, 1},
		"/later": {func(r Response, err error) bool { return string(r.Body) == "content" && err == nil }, 3},
		"/empty": {func(r Response, err error) bool { return r.Body != nil && len(r.Body) == 0 && err == nil }, 1},
		"/large": {func(_ Response, err error) bool { return errors.As(err, &size) }, 1},
		"/stall": {func(_ Response, err error) bool { return errors.As(err, &stalled) }, 4},
		"/loop": {func(_ Response, err error) bool {
			return err != nil &&
				strings.Contains(err.Error(), "redirected")
		}, maxRedirects},
		"/wait":      {func(_ Response, err error) bool { return errors.As(err, &status) && status.Code == 429 }, 1},
		"/none":      {func(_ Response, err error) bool { return errors.Is(err, ErrNotFound) }, 1},
		"/forbidden": {func(_ Response, err error) bool { return errors.Is(err, ErrNotFound) }, 1},
	} {
		r, err := c.Get(t.Context(), srv.URL+path, Validators{}, 1000)
		if !want.ok(r, err) || requests[path] != want.requests {
			t.Errorf("%s: %+v, %v after %d requests, want %d", path, r, err, requests[path], want.requests)
		}
		if err != nil && strings.Contains(err.Error(), srv.URL) {
			t.Errorf("%s: the URL is in %v", path, err)
		}
	}
	if r, err := c.Get(t.Context(), srv.URL+"/file", Validators{ETag: `"1"`}, 1000); err != nil ||
		!r.NotModified || r.Body != nil {
		t.Errorf("unchanged: %+v, %v", r, err)
	}
	for _, location := range []string{"file:///etc/passwd", "x", "http://", "http://user:s3cret@127.0.0.1:1/x",
		"http://user:s3cret@[bad/x"} {
		if _, err := (&Client{}).Get(t.Context(), location, Validators{}, 10); err == nil ||
			strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", location, err)
		}
	}
}

// A redirect does not tell the next server where it came from, and does not give up TLS.
func TestRedirectsKeepSecrets(t *testing.T) {
	var mu sync.Mutex
	seen := map[string]http.Header{}
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		seen[r.URL.Path] = r.Header.Clone()
	}))
	defer other.Close()
	redirect := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+r.URL.Path, http.StatusFound)
	})
	plain := httptest.NewServer(redirect)
	defer plain.Close()
	secure := httptest.NewTLSServer(redirect)
	defer secure.Close()

	location := strings.Replace(plain.URL, "://", "://user:s3cret@", 1) + "/plain?token=s3cret"
	if _, err := (&Client{}).Get(t.Context(), location, Validators{}, 10); err != nil {
		t.Fatal(err)
	}
	client := NewHTTPClient(time.Minute, 1)
	client.Transport = secure.Client().Transport
	if _, err := (&Client{HTTP: client}).Get(t.Context(), secure.URL+"/secure", Validators{},
		10); !errors.Is(err, ErrDowngrade) {
		t.Errorf("from https to http: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if _, followed := seen["/secure"]; followed {
		t.Error("the redirect from https to http was followed")
	}
	if h, ok := seen["/plain"]; !ok || h.Get("Authorization") != "" || strings.Contains(fmt.Sprint(h), "s3cret") {
		t.Errorf("the second server got %v", h)
	}
}
