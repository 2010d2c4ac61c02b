package define

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// An external image that several Dockerfiles name is looked up once, even if that
// fails. Other images are not affected.
func TestExternalImageIsLookedUpOnce(t *testing.T) {
	s := newSite(t)
	s.tag(registrytest.Base(t, 2000))
	var mu sync.Mutex
	requests := map[string]int{}
	proxy := registrytest.StartProxy(t, s.host, func(r *http.Request) registrytest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if strings.Contains(r.URL.Path, "/tools") {
			requests[r.Method+" "+r.URL.Path]++
		}
		return registrytest.None
	})
	for _, name := range []string{"u1", "u2", "u3", "u4"} {
		s.write("tree/"+name+"/Dockerfile.j2", "FROM "+proxy.Host+"/tools:1 AS build\nFROM scratch\nCOPY --from=build /x /x\n")
	}
	d := s.mustDefine(nil)
	for _, name := range []string{"u1", "u2", "u3", "u4"} {
		if im := d.Image(image.ID{Name: name}); im.Err == nil || im.Key != "" ||
			!strings.Contains(im.Err.Error(), name+"/Dockerfile.j2:1: base image "+proxy.Host+"/tools:1: ") {
			t.Errorf("%s: key %q, error %v", name, im.Key, im.Err)
		}
	}
	if im := d.Image(child); im.Err != nil || im.Key == "" {
		t.Errorf("child: %+v", im)
	}
	mu.Lock()
	defer mu.Unlock()
	for request, n := range requests {
		if n > 1 {
			t.Errorf("%s was requested %d times", request, n)
		}
	}
	if len(requests) == 0 {
		t.Error("nothing was looked up")
	}
}

// If no image can be built, the run fails, unless the images are allowed to fail.
func TestNothingToBuild(t *testing.T) {
	s := newSite(t)
	s.host = "127.0.0.1:1"
	if _, err := s.define(nil); err == nil || !strings.Contains(err.Error(), "127.0.0.1:1/base:1") {
		t.Errorf("the error is %v", err)
	}
	d := s.mustDefine(nil, "--allowed-to-fail", "base")
	if im := d.Image(base); im.Err == nil {
		t.Error("base can be built")
	}
	if im := d.Image(child); im.Err != nil || im.Key != "" {
		t.Errorf("child: key %q, error %v", im.Key, im.Err)
	}
}
