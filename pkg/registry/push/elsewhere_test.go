package push_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// pushOnly pushes images in their own publication.
func pushOnly(t *testing.T, host string, images map[string]v1.Image) push.Stats {
	t.Helper()
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	var tags []push.Tag
	for _, name := range slices.Sorted(maps.Keys(images)) {
		d, err := p.Push(t.Context(), host+"/"+name, images[name])
		if err != nil {
			t.Fatal(err)
		}
		tags = append(tags, push.Tag{Ref: host + "/" + name + ":t", Digest: d.Digest})
	}
	if err := p.Commit(t.Context(), tags); err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags {
		registrytest.MustPull(t, host, tag.Ref, tag.Digest)
	}
	return p.Stats()
}

// Blobs that other repositories of a registry have are not sent again: to another namespace,
// and for a new image on known parents.
func TestBlobsOfOtherRepositories(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		base := registrytest.Base(t, 3<<20)
		api := registrytest.Image(t, base, 2<<20, 2)
		pushOnly(t, host, map[string]v1.Image{"kolla/base": base, "kolla/nova-api": api})
		if s := pushOnly(t, host, map[string]v1.Image{"other/nova-api": api}); s.Uploaded > 0 || s.Mounted != 4 {
			t.Errorf("to another namespace: %+v", s)
		}
		// Of a second image for a repository, small blobs are looked up where those of the first
		// were found.
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
		small := registrytest.Image(t, base, 1000, 1)
		pushOnly(t, host, map[string]v1.Image{"kolla/nova-api": small})
		for _, img := range []v1.Image{api, small} {
			if _, err := p.Push(t.Context(), host+"/third/nova-api", img); err != nil {
				t.Fatal(err)
			}
		}
		if s := p.Stats(); s.Uploaded > 0 || s.Mounted != 6 {
			t.Errorf("two images to another namespace: %+v", s)
		}
		conductor := registrytest.Image(t, base, 2<<20, 1)
		if s := pushOnly(t, host, map[string]v1.Image{"kolla/nova-conductor": conductor}); s.Uploaded != 2 || s.Mounted != 1 {
			t.Errorf("a new image on a known parent: %+v", s)
		}
	})
}

// The embedded registry finds a blob in whichever repository it is, also for other clients.
func TestBlobsOfAnyRepository(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	base := registrytest.Base(t, 2<<20)
	images := map[string]v1.Image{"somewhere/else/entirely": base}
	for i := range 6 {
		images[fmt.Sprintf("kolla/zun-%d", i)] = registrytest.Base(t, 1000)
	}
	pushOnly(t, host, images)
	if s := pushOnly(t, host, map[string]v1.Image{"kolla/zun-api": registrytest.Image(t, base, 1000,
		1)}); s.Uploaded != 2 || s.Mounted != 1 {
		t.Errorf("%+v", s)
	}
	layers, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	h, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	for query, want := range map[string]int{
		"?mount=" + h.String():                            http.StatusCreated,
		"?from=kolla/zun-1&mount=" + h.String():           http.StatusCreated,
		"?from=../../../etc&mount=" + h.String():          http.StatusCreated,
		"?mount=" + registrytest.Digest(t, base).String(): http.StatusAccepted, // a manifest is not a blob of a repository
		"?mount=sha256:nonsense":                          http.StatusAccepted,
	} {
		resp, err := http.Post("http://"+host+"/v2/kolla/new/blobs/uploads/"+query, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: status %d, want %d", query, resp.StatusCode, want)
		}
	}
}

// Registries that do not list their repositories, and those that fail for a mount that names
// none, get the blobs sent.
func TestRegistriesWithoutMounts(t *testing.T) {
	for name, fails := range map[string]func(*http.Request) bool{
		"no catalog":          func(r *http.Request) bool { return r.URL.Path == "/v2/_catalog" },
		"mounts need a place": func(r *http.Request) bool { return r.URL.Query().Has("mount") && !r.URL.Query().Has("from") },
		"nothing is readable elsewhere": func(r *http.Request) bool {
			return strings.HasPrefix(r.URL.Path, "/v2/first/") || r.URL.Query().Get("from") == "first/app"
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := registrytest.Embedded(t, server.Options{})
			first := registrytest.Base(t, 2<<20)
			pushOnly(t, s.Host(), map[string]v1.Image{"first/app": first})
			target := &url.URL{Scheme: "http", Host: s.Host()}
			pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
			host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if fails(r) {
					w.WriteHeader(http.StatusBadRequest)
					return
				}
				pass.ServeHTTP(w, r)
			}))
			if got := pushOnly(t, host,
				map[string]v1.Image{"second/web": first, "second/worker": registrytest.Image(t, first, 1000,
					1)}); got.Uploaded < 2 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// rewriting serves a registry, except for the requests that answer handles.
func rewriting(t *testing.T, backend string, answer func(http.ResponseWriter, *http.Request) bool) (host string) {
	t.Helper()
	target := &url.URL{Scheme: "http", Host: backend}
	pass := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target); r.Out.Host = r.In.Host }}
	return registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !answer(w, r) {
			pass.ServeHTTP(w, r)
		}
	}))
}

// A repository that cannot be read, or has none of the blobs, is not asked about each blob.
func TestUselessRepositories(t *testing.T) {
	for status, most := range map[int]int64{http.StatusForbidden: 1, http.StatusUnauthorized: 2, http.StatusNotFound: 8} {
		s := registrytest.Embedded(t, server.Options{})
		pushOnly(t, s.Host(), map[string]v1.Image{"first/app": registrytest.Base(t, 1000)})
		var lookups atomic.Int64
		host := rewriting(t, s.Host(), func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodHead || !strings.HasPrefix(r.URL.Path, "/v2/first/app/blobs/") {
				return false
			}
			lookups.Add(1)
			w.WriteHeader(status)
			return true
		})
		p := push.New(registrytest.Client(t, registry.Options{Jobs: 1}), push.Options{})
		if _, err := p.Push(t.Context(), host+"/second/web",
			registrytest.Image(t, registrytest.Base(t, 1000), 1000, 20)); err != nil {
			t.Fatal(err)
		}
		if n := lookups.Load(); n < 1 || n > most {
			t.Errorf("status %d: %d look-ups, want at most %d", status, n, most)
		}
		if got := p.Stats(); got.Uploaded != 22 {
			t.Errorf("status %d: %+v", status, got)
		}
	}
}

// A registry that cannot mount a blob from anywhere is not asked to for each blob. A fault that
// occurs once does not count.
func TestFailingMounts(t *testing.T) {
	testenv.Slow(t)
	for name, c := range map[string]struct {
		status      func(n int64) int // of the nth mount, 0 for the registry's answer
		least, most int64             // mounts
	}{
		"unsupported":   {func(int64) int { return http.StatusBadRequest }, 1, 1},
		"always faulty": {func(int64) int { return http.StatusInternalServerError }, 3, 3},
		"one fault":     {func(n int64) int { return map[int64]int{2: http.StatusServiceUnavailable}[n] }, 20, 22},
		"forbidden":     {func(int64) int { return http.StatusForbidden }, 20, 22},
	} {
		s := registrytest.Embedded(t, server.Options{})
		pushOnly(t, s.Host(), map[string]v1.Image{"first/app": registrytest.Base(t, 1000)})
		var mounts atomic.Int64
		host := rewriting(t, s.Host(), func(w http.ResponseWriter, r *http.Request) bool {
			if query := r.URL.Query(); !query.Has("mount") || query.Has("from") {
				return false
			}
			status := c.status(mounts.Add(1))
			if status == 0 {
				return false
			}
			w.WriteHeader(status)
			return true
		})
		p := push.New(registrytest.Client(t, registry.Options{Jobs: 1}), push.Options{})
		if _, err := p.Push(t.Context(), host+"/second/web",
			registrytest.Image(t, registrytest.Base(t, 1000), 1000, 20)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if n := mounts.Load(); n < c.least || n > c.most {
			t.Errorf("%s: %d mounts, want %d to %d", name, n, c.least, c.most)
		}
	}
}

// An image that waits for the list of repositories ends with its own context, and one whose
// context has ended does not leave the others without the list.
func TestWaitingForTheCatalog(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{})
	known := registrytest.Base(t, 1000)
	pushOnly(t, s.Host(), map[string]v1.Image{"first/app": known})
	listing, lookedUp := make(chan struct{}, 9), make(chan struct{}, 9)
	var ended, open atomic.Bool
	var lists, mounts atomic.Int64
	host := rewriting(t, s.Host(), func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasPrefix(r.URL.Path, "/v2/kolla/b/blobs/") && r.Method == http.MethodHead:
			w.WriteHeader(http.StatusNotFound)
			lookedUp <- struct{}{}
			return true
		case r.URL.Path == "/v2/_catalog" && !open.Load():
			listing <- struct{}{}
			<-r.Context().Done()
			ended.Store(true)
			return true
		case r.URL.Path == "/v2/_catalog":
			lists.Add(1)
		case r.URL.Query().Get("from") == "first/app":
			mounts.Add(1)
		}
		return false
	})
	p := push.New(registrytest.Client(t, registry.Options{Jobs: 4}), push.Options{})
	a, endA := context.WithCancel(t.Context())
	resultA := make(chan error, 1)
	go func() {
		_, err := p.Push(a, host+"/kolla/a", registrytest.Base(t, 1000))
		resultA <- err
	}()
	<-listing
	b, endB := context.WithCancel(t.Context())
	go func() {
		for range 2 { // its layer and its config
			<-lookedUp
		}
		time.Sleep(100 * time.Millisecond) // until both wait for the list
		endB()
	}()
	if _, err := p.Push(b, host+"/kolla/b", registrytest.Base(t, 1000)); !errors.Is(err, context.Canceled) {
		t.Errorf("the waiting image: %v", err)
	}
	if ended.Load() {
		t.Error("the waiting image ended with the list, not with its context")
	}
	open.Store(true)
	endA()
	if err := <-resultA; !errors.Is(err, context.Canceled) {
		t.Errorf("the listing image: %v", err)
	}
	if _, err := p.Push(t.Context(), host+"/second/app", known); err != nil {
		t.Error(err)
	}
	// The registry also mounts blobs without a repository to mount from: the list has that.
	if got := p.Stats(); got.Mounted != 2 || got.Uploaded > 0 || lists.Load() != 1 || mounts.Load() == 0 {
		t.Errorf("the image after it: %+v, %d lists, %d blobs mounted from the listed repository", got,
			lists.Load(), mounts.Load())
	}
}
