package registry_test

import (
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// A registry may name its port in the addresses to which it directs clients, although it is
// that of the scheme. It is the same registry, and gets the same login.
func TestLocationWithDefaultPort(t *testing.T) {
	backend := registrytest.Embedded(t, server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret")}).Host()
	located := 0
	proxy := registrytest.Serve(t, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: backend}) },
		ModifyResponse: func(resp *http.Response) error {
			if at := resp.Header.Get("Location"); strings.HasPrefix(at, "/") {
				resp.Header.Set("Location", "http://registry.example:80"+at)
				located++
			}
			return nil
		},
	})
	login(t, "registry.example", "ada", "s3cret")
	client := registrytest.Client(t, registry.Options{Insecure: []string{"registry.example"}})
	registry.UseProxy(client, &url.URL{Scheme: "http", Host: proxy})
	if _, err := push.New(client, push.Options{}).Push(t.Context(), "registry.example/kolla/base",
		registrytest.Base(t, 1000)); err != nil {
		t.Error(err)
	}
	if located == 0 {
		t.Error("no answer had a location")
	}
}
