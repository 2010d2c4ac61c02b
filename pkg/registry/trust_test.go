package registry_test

import (
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// A registry behind a private authority that requires client certificates (field case 10).
func TestPrivateAuthorityAndClientCertificates(t *testing.T) {
	ca := registrytest.NewAuthority(t, "site CA")
	cert, key := ca.Issue(t, "server", 2*time.Hour, "127.0.0.1", "localhost")
	host := registrytest.Debian(t, "  tls:", "    certificate: "+cert, "    key: "+key, "    clientcas: ["+ca.File+"]")
	clientCert, clientKey := ca.Issue(t, "client", 2*time.Hour)
	stranger := registrytest.NewAuthority(t, "stranger")
	strangeCert, strangeKey := stranger.Issue(t, "client", 2*time.Hour)
	for name, c := range map[string]struct {
		files map[string]string // below the configuration directory
		want  string            // "" if it works
	}{
		"docker": {map[string]string{"docker/certs.d/HOST/ca.crt": ca.File,
			"docker/certs.d/HOST/client.cert": clientCert, "docker/certs.d/HOST/client.key": clientKey}, ""},
		"containers": {map[string]string{"containers/certs.d/HOST/ca.crt": ca.File,
			"containers/certs.d/HOST/c.cert": clientCert, "containers/certs.d/HOST/c.key": clientKey}, ""},
		"no client certificate": {map[string]string{"docker/certs.d/HOST/ca.crt": ca.File},
			"it requires a client certificate"},
		"another's certificate": {map[string]string{"docker/certs.d/HOST/ca.crt": ca.File,
			"docker/certs.d/HOST/client.cert": strangeCert, "docker/certs.d/HOST/client.key": strangeKey}, "client certificate"},
		"another authority": {map[string]string{"docker/certs.d/HOST/ca.crt": stranger.File},
			"signed by an unknown authority (CN=site CA)"},
		"a certificate alone": {map[string]string{"docker/certs.d/HOST/client.cert": clientCert}, "there is no key"},
		"a key alone":         {map[string]string{"docker/certs.d/HOST/client.key": clientKey}, "there is no certificate"},
		"not a certificate":   {map[string]string{"docker/certs.d/HOST/ca.crt": clientKey}, "no PEM certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			etc := t.TempDir()
			for path, from := range c.files {
				registrytest.CopyFile(t, from, filepath.Join(etc, strings.Replace(path, "HOST", host, 1)))
			}
			p := push.New(registrytest.Client(t, registry.Options{EtcDir: etc, Retries: 1}), push.Options{})
			_, err := p.Push(t.Context(), host+"/kolla/base", registrytest.Base(t, 100))
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Fatalf("got %v, expected %q", err, c.want)
			}
			var hint interface{ Hint() string }
			if err != nil && (!errors.As(err, &hint) || !strings.Contains(hint.Hint(), "certs.d")) {
				t.Errorf("no hint: %v", err)
			}
		})
	}
}

// Errors of certificates contain the reason and the option that helps.
func TestCertificateErrors(t *testing.T) {
	addr := registrytest.OtherAddress(t)
	if addr == "" {
		testenv.Missing(t, "this machine has no address but loopback ones, for which certificates are not checked")
	}
	ca := registrytest.NewAuthority(t, "site CA")
	for name, c := range map[string]struct {
		valid time.Duration
		names []string
		trust bool
		want  string
	}{
		"unknown authority": {2 * time.Hour, []string{addr}, false, "signed by an unknown authority (CN=site CA)"},
		"expired":           {30 * time.Minute, []string{addr}, true, "expired on"},
		"another name": {2 * time.Hour, []string{"registry.example", "192.0.2.1"}, true,
			"for another name: registry.example, 192.0.2.1"},
		"no name": {2 * time.Hour, nil, true, "no name"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := ca.Issue(t, "server", c.valid, c.names...)
			pair, err := tls.LoadX509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			ln, err := tls.Listen("tcp", net.JoinHostPort(addr, "0"), &tls.Config{Certificates: []tls.Certificate{pair}})
			if err != nil {
				t.Fatal(err)
			}
			srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
			})}
			go func() { _ = srv.Serve(ln) }()
			t.Cleanup(func() { srv.Close() })
			host, etc := ln.Addr().String(), t.TempDir()
			if c.trust {
				registrytest.CopyFile(t, ca.File, filepath.Join(etc, "docker/certs.d", host, "ca.crt"))
			}
			err = registrytest.Client(t, registry.Options{EtcDir: etc, Retries: 1}).Reach(t.Context(), host+"/kolla/base:t")
			var te *registry.TLSError
			if !errors.As(err, &te) || !strings.Contains(err.Error(), c.want) ||
				!strings.Contains(te.Hint(), "--registry-insecure "+host) {
				t.Errorf("got %v", err)
			}
			if err := registrytest.Client(t, registry.Options{EtcDir: etc, Insecure: []string{host}}).Reach(t.Context(),
				host+"/kolla/base:t"); err != nil {
				t.Errorf("as an insecure registry: %v", err)
			}
		})
	}
}

// The embedded registry serves TLS, for other tools, too.
func TestEmbeddedRegistryWithTLS(t *testing.T) {
	ca := registrytest.NewAuthority(t, "site CA")
	cert, key := ca.Issue(t, "server", 2*time.Hour, "127.0.0.1", "localhost")
	s := registrytest.Embedded(t, server.Options{Certificate: cert, Key: key})
	host := s.Addr().String()
	etc := t.TempDir()
	registrytest.CopyFile(t, ca.File, filepath.Join(etc, "docker/certs.d", host, "ca.crt"))
	p := push.New(registrytest.Client(t, registry.Options{EtcDir: etc}), push.Options{})
	d, err := p.Push(t.Context(), host+"/kolla/base", registrytest.Base(t, 100_000))
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(t.Context(), []push.Tag{{Ref: host + "/kolla/base:t", Digest: d.Digest}}); err != nil {
		t.Fatal(err)
	}
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	certs := t.TempDir()
	registrytest.CopyFile(t, ca.File, filepath.Join(certs, "ca.crt"))
	registrytest.Run(t, skopeo, "inspect", "--cert-dir", certs, "docker://"+host+"/kolla/base:t")
}
