package server_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// TestCertificateIsRenewed follows a generated certificate over years: the authority stays
// the same, the certificate is renewed in time, when names are missing, and when its files
// are damaged.
func TestCertificateIsRenewed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tls")
	now := time.Now()
	day := 24 * time.Hour
	renew := func(now time.Time, names ...string) *x509.Certificate {
		t.Helper()
		cert, key, err := server.Renew(dir, names, now)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		pem, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		for _, name := range names {
			if _, err := pair.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: roots, CurrentTime: now}); err != nil {
				t.Errorf("%v after the start, %s: %v", time.Until(now), name, err)
			}
		}
		return pair.Leaf
	}
	first := renew(now, "registry.example", "10.0.0.1")
	authority, err := server.Fingerprint(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	if renewed := renew(now.Add(100*day), "registry.example"); !renewed.Equal(first) {
		t.Error("it was renewed long before its end")
	}
	if renewed := renew(now.Add(300*day), "registry.example", "10.0.0.1"); renewed.Equal(first) {
		t.Error("it was not renewed before its end")
	}
	// A clock that was wrong when the certificate was made.
	renew(now.Add(-50*day+time.Hour), "registry.example")
	third := renew(now, "registry.example", "new.example")
	if err := os.WriteFile(filepath.Join(dir, "server.crt"), []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if repaired := renew(now, "registry.example"); repaired.Equal(third) {
		t.Error("a damaged certificate was read")
	}
	renew(now.Add(5*365*day), "registry.example")
	if after, err := server.Fingerprint(filepath.Join(dir, "ca.crt")); err != nil || after != authority {
		t.Errorf("the authority has changed: %s, %s (%v)", authority, after, err)
	}
	for _, name := range []string{"ca.key", "server.key"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v (%v)", name, info.Mode(), err)
		}
	}
}

// TestCertificateFilesAreReadAgain replaces the certificate of a running registry.
func TestCertificateFilesAreReadAgain(t *testing.T) {
	authority := registrytest.NewAuthority(t, "site")
	certificate, key := authority.Issue(t, "first", time.Hour+time.Minute, "localhost", "127.0.0.1")
	s := registrytest.Embedded(t, server.Options{Certificate: certificate, Key: key})
	presented := func() *x509.Certificate {
		t.Helper()
		client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
		resp, err := client.Get("https://" + s.Addr().String() + "/v2/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.TLS.PeerCertificates[0]
	}
	first := presented()
	newCertificate, newKey := authority.Issue(t, "second", 48*time.Hour, "localhost", "127.0.0.1")
	registrytest.CopyFile(t, newKey, key)
	registrytest.CopyFile(t, newCertificate, certificate)
	if err := os.Chtimes(certificate, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	second := presented()
	if second.Equal(first) {
		t.Error("the previous certificate is still presented")
	}
	if err := os.WriteFile(certificate, []byte("damaged"), 0o644); err != nil {
		t.Fatal(err)
	}
	if !presented().Equal(second) {
		t.Error("a damaged file replaced the certificate")
	}
	if err := errors.Join(os.Remove(certificate), syscall.Mkfifo(certificate, 0o644)); err != nil {
		t.Fatal(err)
	}
	if !presented().Equal(second) {
		t.Error("a named pipe replaced the certificate")
	}
}

// A certificate that clients refuse, or soon will, is in the log when the registry starts.
func TestCertificateWarnings(t *testing.T) {
	authority := registrytest.NewAuthority(t, "site")
	for name, tc := range map[string]struct {
		valid time.Duration
		want  string // "" for no warning
	}{
		"long":    {90 * 24 * time.Hour, ""},
		"soon":    {5 * 24 * time.Hour, "expires on"},
		"expired": {30 * time.Minute, "expired on"},
	} {
		certificate, key := authority.Issue(t, name, tc.valid, "localhost", "127.0.0.1")
		var log syncBuffer
		registrytest.Embedded(t, server.Options{Certificate: certificate, Key: key, Log: &log})
		if text := log.String(); (tc.want == "") != (text == "") || !strings.Contains(text, tc.want) {
			t.Errorf("%s: the log has %q, want %q", name, text, tc.want)
		}
	}
}
