package registry_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// TestDowngradesAreRefused checks that a registry with TLS cannot lead to plain HTTP, in
// redirects and in the locations of uploads, unless the user allows that.
func TestDowngradesAreRefused(t *testing.T) {
	addr := registrytest.OtherAddress(t)
	listen := func() net.Listener {
		ln, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
		if err != nil {
			t.Fatal(err)
		}
		return ln
	}
	serve := func(ln net.Listener, handler http.HandlerFunc) {
		srv := &http.Server{Handler: handler}
		go func() { _ = srv.Serve(ln) }()
		t.Cleanup(func() { srv.Close() })
	}
	var mu sync.Mutex
	asked := 0
	plain, secure := listen(), listen()
	serve(plain, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		asked++
		if r.Method == http.MethodPut {
			w.WriteHeader(http.StatusCreated)
		}
	})
	target := plain.Addr().String()
	ca := registrytest.NewAuthority(t, "site CA")
	cert, key := ca.Issue(t, "server", 2*time.Hour, addr)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	firstContact := false
	serve(tls.NewListener(secure, &tls.Config{Certificates: []tls.Certificate{pair}}),
		func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			mu.Lock()
			defer mu.Unlock()
			w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			switch {
			case r.Method == http.MethodPost:
				w.Header().Set("Location", "http://"+target+"/upload")
				w.WriteHeader(http.StatusAccepted)
			case r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/blobs/"):
				w.WriteHeader(http.StatusNotFound)
			case r.URL.Path != "/v2/" || firstContact:
				http.Redirect(w, r, "http://"+target+r.URL.Path, http.StatusTemporaryRedirect)
			}
		})
	host := secure.Addr().String()
	etc := t.TempDir()
	registrytest.CopyFile(t, ca.File, filepath.Join(etc, "docker/certs.d", host, "ca.crt"))
	ref, err := imageref.Parse(host + "/kolla/base:t")
	if err != nil {
		t.Fatal(err)
	}
	blob := registry.Blob{Digest: digest.FromString("x"), Size: 1,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte("x"))), nil }}
	requests := map[string]func(*registry.Client) error{
		"head": func(c *registry.Client) error { _, err := c.Head(t.Context(), ref.String()); return err },
		"tags": func(c *registry.Client) error { _, err := c.Tags(t.Context(), ref.String()); return err },
		"upload": func(c *registry.Client) error {
			_, err := c.Repository(ref).Upload(t.Context(), blob, nil, nil)
			return err
		},
	}
	for name, request := range requests {
		var downgrade *registry.DowngradeError
		err := request(registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1}))
		if !errors.As(err, &downgrade) || downgrade.Target != target ||
			!strings.Contains(downgrade.Hint(), "--registry-insecure "+target) {
			t.Errorf("%s: %v", name, err)
		}
	}
	mu.Lock()
	firstContact = true
	mu.Unlock()
	var downgrade *registry.DowngradeError
	start := time.Now()
	if err := registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1}).Reach(t.Context(),
		ref.String()); !errors.As(err, &downgrade) {
		t.Errorf("the first contact: %v", err)
	}
	if took := time.Since(start); took > 4*time.Second { // the time that a TLS alert is waited for is 5 s
		t.Errorf("the first contact took %v", took)
	}
	mu.Lock()
	firstContact = false
	if asked != 0 {
		t.Errorf("%d requests were sent over plain HTTP", asked)
	}
	mu.Unlock()
	// If the user allows it, the requests are sent.
	for name, request := range requests {
		var downgrade *registry.DowngradeError
		if err := request(registrytest.Client(t,
			registry.Options{EtcDir: etc, Retries: -1, Insecure: []string{target}})); errors.As(err, &downgrade) {
			t.Errorf("%s, allowed: %v", name, err)
		}
	}
	if mu.Lock(); asked < len(requests) {
		t.Errorf("%d requests were sent for %d when that was allowed", asked, len(requests))
	}
	mu.Unlock()
}
