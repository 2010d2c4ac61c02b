package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	digest "github.com/opencontainers/go-digest"
)

func TestRetryAfterIsKept(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, nil)
	var mu sync.Mutex
	var times []time.Time
	px.Handler = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				mu.Lock()
				times = append(times, time.Now())
				first := len(times) == 1
				mu.Unlock()
				if first {
					w.Header().Set("Retry-After", "1")
					w.WriteHeader(http.StatusTooManyRequests)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}(px.Handler)
	c := registrytest.Client(t, registry.Options{})
	var nf *registry.NotFoundError
	if _, err := c.Head(context.Background(), px.Host+"/kolla/none:t"); !errors.As(err, &nf) {
		t.Fatal(err)
	}
	if len(times) != 2 || times[1].Sub(times[0]) < time.Second {
		t.Errorf("asked at %v", times)
	}
	// A wait that exceeds the total time limit is not started.
	times = nil
	short := registrytest.Client(t, registry.Options{MaxElapsed: 500 * time.Millisecond})
	if _, err := short.Head(context.Background(), px.Host+"/kolla/none:t"); err == nil || errors.As(err, &nf) {
		t.Errorf("got %v, want the refusal", err)
	}
	if len(times) != 1 {
		t.Errorf("asked %d times", len(times))
	}
}

// Requests with final answers are not repeated.
func TestNoRetryOnFinalAnswers(t *testing.T) {
	for _, code := range []int{400, 401, 403, 404} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			n := 0
			px := registrytest.StartProxy(t, "127.0.0.1:1", nil)
			px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/v2/" {
					return
				}
				n++
				w.WriteHeader(code)
			})
			c := registrytest.Client(t, registry.Options{})
			_, err := c.Head(context.Background(), px.Host+"/kolla/base:t")
			if err == nil || n != 1 {
				t.Errorf("%d requests, error %v", n, err)
			}
			var u *registry.UnauthorizedError
			if want := code == 401 || code == 403; errors.As(err, &u) != want {
				t.Errorf("%T: %v", err, err)
			}
			if u != nil && (u.Denied != (code == 403) || !strings.Contains(u.Hint(), "docker login "+px.Host)) {
				t.Errorf("%+v, hint %q", u, u.Hint())
			}
		})
	}
}

// An interrupted pull is resumed.
func TestPullResumes(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		img := registrytest.Base(t, 400_000)
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
		d, err := p.Push(ctx, host+"/kolla/base", img)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []push.Tag{{Ref: host + "/kolla/base:t", Digest: d.Digest}}); err != nil {
			t.Fatal(err)
		}
		cuts, ranges := 0, 0
		px := registrytest.StartProxy(t, host, func(r *http.Request) registrytest.Fault {
			if r.Method != http.MethodGet || !strings.Contains(r.URL.Path, "/blobs/") {
				return registrytest.None
			}
			if r.Header.Get("Range") != "" {
				ranges++
			}
			if cuts++; cuts%3 != 0 {
				return registrytest.Cut
			}
			return registrytest.None
		})
		got, _, err := registrytest.Client(t, registry.Options{Retries: 4}).Fetch(ctx, px.Host+"/kolla/base:t", "")
		if err != nil {
			t.Fatal(err)
		}
		layers, err := got.Layers()
		if err != nil {
			t.Fatal(err)
		}
		r, err := layers[0].Compressed()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if n, err := io.Copy(io.Discard, r); err != nil {
			t.Fatalf("after %d bytes: %v", n, err)
		}
		if ranges == 0 {
			t.Error("nothing was resumed")
		}
	})
}

// A blob at an address that expires, as in object storage, is resumed at a new one.
func TestPullResumesAtNewAddress(t *testing.T) {
	backend := registrytest.Embedded(t, server.Options{})
	img := registrytest.Base(t, 400_000)
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	d, err := p.Push(t.Context(), backend.Host()+"/kolla/base", img)
	if err == nil {
		err = p.Commit(t.Context(), []push.Tag{{Ref: backend.Host() + "/kolla/base:t", Digest: d.Digest}})
	}
	if err != nil {
		t.Fatal(err)
	}
	target := &url.URL{Scheme: "http", Host: backend.Host()}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		ErrorLog: log.New(io.Discard, "", 0)}
	var addresses, ranges atomic.Int64
	used := sync.Map{}
	storage := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, again := used.LoadOrStore(r.URL.RawQuery, true); again {
			w.WriteHeader(http.StatusForbidden) // it has expired
			return
		}
		if r.Header.Get("Range") != "" {
			ranges.Add(1)
			pass.ServeHTTP(w, r)
			return
		}
		pass.ServeHTTP(&halfWriter{ResponseWriter: w, left: 150_000}, r)
	}))
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/blobs/") {
			http.Redirect(w, r, fmt.Sprintf("http://%s%s?address=%d", storage, r.URL.Path, addresses.Add(1)),
				http.StatusTemporaryRedirect)
			return
		}
		pass.ServeHTTP(w, r)
	}))
	got, _, err := registrytest.Client(t, registry.Options{Retries: 3}).Fetch(t.Context(), host+"/kolla/base:t", "")
	if err != nil {
		t.Fatal(err)
	}
	registrytest.ReadAll(t, got)
	if ranges.Load() == 0 {
		t.Error("nothing was resumed")
	}
}

// halfWriter breaks the connection of a long answer.
type halfWriter struct {
	http.ResponseWriter
	left int
}

// Write implements http.ResponseWriter.
func (w *halfWriter) Write(p []byte) (int, error) {
	if w.left -= len(p); w.left < 0 {
		panic(http.ErrAbortHandler)
	}
	return w.ResponseWriter.Write(p)
}

// What an index calls the digest of an image must be one, because it becomes part of a path.
func TestIdentifiersAreChecked(t *testing.T) {
	var seen atomic.Int64
	host := registrytest.Serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { seen.Add(1) }))
	ref, err := imageref.Parse(host + "/kolla/base")
	if err != nil {
		t.Fatal(err)
	}
	repo := registrytest.Client(t, registry.Options{}).Repository(ref)
	for _, d := range []digest.Digest{"../../other/blobs/x", "sha256:../../../x",
		"sha256:" + digest.Digest(strings.Repeat("0", 63)), "a?b", "", "x y"} {
		_, manifest := repo.Manifest(t.Context(), d.String())
		_, child := repo.Child(t.Context(), d)
		_, head := repo.Head(t.Context(), d.String())
		_, has := repo.Has(t.Context(), d)
		_, blob := repo.HasBlob(t.Context(), d)
		put := repo.PutManifest(t.Context(), registry.Manifest{Raw: []byte("{}"), Digest: d})
		for name, err := range map[string]error{"manifest": manifest, "child": child, "head": head, "has": has,
			"blob": blob, "put": put} {
			if err == nil {
				t.Errorf("%s %q: no error", name, d)
			}
		}
	}
	if _, err := repo.Child(t.Context(), "latest"); err == nil {
		t.Error("a tag in place of a digest: no error")
	}
	if seen.Load() > 0 {
		t.Errorf("%d requests were sent", seen.Load())
	}
}

// If reading a manifest is interrupted while its tag changes, the parts of two
// manifests are never combined.
func TestManifestIsReadWhole(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
		repo := host + "/kolla/base"
		var digests []digest.Digest
		for range 2 {
			d, err := p.Push(ctx, repo, registrytest.Image(t, registrytest.Base(t, 100), 100, 3))
			if err != nil {
				t.Fatal(err)
			}
			digests = append(digests, d.Digest)
		}
		if err := p.Commit(ctx, []push.Tag{{Ref: repo + ":t", Digest: digests[0]}}); err != nil {
			t.Fatal(err)
		}
		cuts := 0
		px := registrytest.StartProxy(t, host, func(r *http.Request) registrytest.Fault {
			if r.Method != http.MethodGet || !strings.HasSuffix(r.URL.Path, "/manifests/t") || cuts > 0 {
				return registrytest.None
			}
			cuts++
			return registrytest.Cut
		})
		next := px.Handler
		px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(w, r)
			if cuts == 1 { // the answer was cut: the tag changes before the client asks again
				cuts++
				if err := p.Commit(ctx, []push.Tag{{Ref: repo + ":t", Digest: digests[1]}}); err != nil {
					t.Error(err)
				}
			}
		})
		_, named, err := registrytest.Client(t, registry.Options{BaseDelay: 500 * time.Millisecond}).Fetch(ctx,
			px.Host+"/kolla/base:t", "")
		if err != nil || named != digests[0] && named != digests[1] {
			t.Errorf("got %s, %v; expected %s or %s", named, err, digests[0], digests[1])
		}
		if cuts < 2 {
			t.Error("nothing was cut")
		}
	})
}
