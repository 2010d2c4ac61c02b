package registry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// At the first contact, a server that is not a registry is distinguished from a
// registry without the requested image.
func TestNoRegistry(t *testing.T) {
	html := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			w.WriteHeader(status)
			_, _ = w.Write([]byte("<html>"))
		}
	}
	for name, h := range map[string]http.Handler{"plain 404": http.NotFoundHandler(), "HTML 404": html(404),
		"a web site": html(200)} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: h}
		go func() { _ = srv.Serve(ln) }()
		defer srv.Close()
		mustBeNone(t, name, ln.Addr().String())
	}
	// Something that does not speak HTTP, such as an SSH server.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go testenv.AcceptAll(ln, func(c net.Conn) { _, _ = c.Write([]byte("SSH-2.0-OpenSSH_9.2\r\n")) })
	mustBeNone(t, "SSH", ln.Addr().String())
}

func mustBeNone(t *testing.T, name, host string) {
	t.Helper()
	c := registrytest.Client(t, registry.Options{Retries: 1})
	var no *registry.NoRegistryError
	if err := c.Reach(context.Background(), host+"/kolla/base:t"); !errors.As(err, &no) ||
		!strings.Contains(err.Error(), host+" answers, but not as a registry") || !strings.Contains(no.Hint(), "4000") {
		t.Errorf("%s: %v", name, err)
	}
	if _, _, err := c.Fetch(context.Background(), host+"/debian:x", ""); !errors.As(err, &no) {
		t.Errorf("%s, pulling: %v", name, err)
	}
}
