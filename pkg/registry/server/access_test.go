package server_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// A registry is not open to other hosts without an option.
func TestOpenRegistriesAreRefused(t *testing.T) {
	for _, addr := range []string{":0", "0.0.0.0:0", "[::]:0", "10.0.0.1:4000", "example.org:4000"} {
		var open *server.OpenError
		if _, err := server.Start(server.Options{Addr: addr, Dir: t.TempDir()}); !errors.As(err, &open) ||
			!strings.Contains(open.Hint(), "--htpasswd") {
			t.Errorf("%s: %v", addr, err)
		}
	}
	for name, opts := range map[string]server.Options{
		"loopback":       {Addr: "127.0.0.1:0"},
		"localhost":      {Addr: "localhost:0"},
		"other loopback": {Addr: "127.0.0.2:0"},
		"logins":         {Addr: ":0", Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret")},
		"pull only":      {Addr: ":0", Anonymous: server.AccessPull},
		"all":            {Addr: ":0", Anonymous: server.AccessPush},
		"read-only":      {Addr: ":0", ReadOnly: true},
	} {
		opts.Dir = t.TempDir()
		s, err := server.Start(opts)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := server.Start(server.Options{Addr: "localhost:0", Dir: t.TempDir(), Anonymous: "everything"}); err == nil {
		t.Error("an unknown level of access was accepted")
	}
}

// Access of clients on this host and elsewhere, with and without a login, through a
// proxy, and of web pages.
func TestAccess(t *testing.T) {
	remote := registrytest.OtherAddress(t)
	if remote == "" {
		testenv.Missing(t, "this machine has no address but loopback ones")
	}
	const pull, push = "GET /v2/_catalog", "POST /v2/kolla/base/blobs/uploads/"
	for name, c := range map[string]struct {
		opts server.Options
		want map[string]int // "WHO METHOD PATH": status
	}{
		"pull only": {server.Options{Anonymous: server.AccessPull}, map[string]int{
			"local " + pull: 200, "local " + push: 202, "remote " + pull: 200, "remote " + push: 403, "remote GET /v2/": 200,
			"proxied " + pull: 200, "proxied " + push: 403, "page " + push: 403, "remote DELETE /v2/kolla/base/manifests/t": 403,
		}},
		"all": {server.Options{Anonymous: server.AccessPush},
			map[string]int{"remote " + pull: 200, "remote " + push: 202, "page " + push: 403}},
		"logins": {server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret")}, map[string]int{
			"local " + pull: 401, "local " + push: 401, "remote " + push: 401, "ada " + pull: 200, "ada " + push: 202,
			"eve " + pull: 401, "local GET /v2/": 401, "ada GET /v2/": 200,
		}},
		"logins to push": {server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret"),
			Anonymous: server.AccessPull}, map[string]int{
			"local " + pull: 200, "remote " + pull: 200, "nobody " + pull: 200, "local " + push: 401, "remote " + push: 401,
			"ada " + push: 202, "eve " + pull: 401, "remote GET /v2/": 401,
		}},
		"read-only": {server.Options{ReadOnly: true},
			map[string]int{"remote " + pull: 200, "remote " + push: 403, "local " + push: 405}},
		"nothing": {server.Options{Anonymous: server.AccessNone},
			map[string]int{"local " + pull: 403, "remote " + push: 403}},
	} {
		t.Run(name, func(t *testing.T) {
			c.opts.Addr = ":0"
			s := registrytest.Embedded(t, c.opts)
			_, port, _ := net.SplitHostPort(s.Addr().String())
			for request, want := range c.want {
				f := strings.Fields(request)
				host := "127.0.0.1"
				if f[0] == "remote" {
					host = remote
				}
				req, err := http.NewRequest(f[1], "http://"+net.JoinHostPort(host, port)+f[2], nil)
				if err != nil {
					t.Fatal(err)
				}
				switch f[0] {
				case "ada":
					req.SetBasicAuth("ada", "s3cret")
				case "eve":
					req.SetBasicAuth("eve", "s3cret")
				case "nobody": // as some clients send it
					req.SetBasicAuth("", "")
				case "proxied":
					req.Header.Set("X-Forwarded-For", "192.0.2.1")
				case "page":
					req.Header.Set("Origin", "http://evil.example")
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				b, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				if resp.StatusCode != want {
					t.Errorf("%s: status %d, expected %d: %s", request, resp.StatusCode, want, b)
				}
				if want == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Basic") {
					t.Errorf("%s: no challenge", request)
				}
			}
		})
	}
}

// A user who is removed from the file, or whose password changes, is refused at once.
func TestPasswordFileChanges(t *testing.T) {
	path := registrytest.Htpasswd(t, "ada", "s3cret")
	var log syncBuffer
	s := registrytest.Embedded(t, server.Options{Htpasswd: path, Log: &log})
	status := func(password string) int {
		req, err := http.NewRequest(http.MethodGet, "http://"+s.Addr().String()+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.SetBasicAuth("ada", password)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	for range 3 {
		if got := status("s3cret"); got != 200 {
			t.Fatalf("status %d", got)
		}
		if got := status("s3cre"); got != 401 {
			t.Fatalf("a wrong password: status %d", got)
		}
	}
	changed, err := os.ReadFile(registrytest.Htpasswd(t, "ada", "n3w"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, changed, 0o600); err != nil {
		t.Fatal(err)
	}
	later := time.Now().Add(time.Minute)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if old, current := status("s3cret"), status("n3w"); old != 401 || current != 200 {
		t.Errorf("the old password: status %d, the new one: %d", old, current)
	}
	// The distribution would wait for its writer.
	if err := errors.Join(os.Remove(path), syscall.Mkfifo(path, 0o600)); err != nil {
		t.Fatal(err)
	}
	if got := status("n3w"); got != 400 || !strings.Contains(log.String(),
		path+": it is not a regular file of at most 16.0 MiB") {
		t.Errorf("a named pipe in place of the file: status %d, log:\n%s", got, log.String())
	}
}

// With other tools, everyone can pull and users can push.
func TestSkopeoLogsInToPush(t *testing.T) {
	testenv.Slow(t)
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	s := registrytest.Embedded(t, server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret"),
		Anonymous: server.AccessPull})
	layout := filepath.Join(t.TempDir(), "layout")
	source := registrytest.Embedded(t, server.Options{})
	pushImage(t, source.Host())
	registrytest.Run(t, skopeo, "copy", "--src-tls-verify=false",
		"docker://"+source.Host()+"/kolla/base:t", "oci:"+layout+":t")
	registrytest.Run(t, skopeo, "copy", "--dest-tls-verify=false", "--dest-creds", "ada:s3cret", "oci:"+layout+":t",
		"docker://"+s.Host()+"/kolla/base:t")
	registrytest.Run(t, skopeo, "inspect", "--tls-verify=false", "--no-creds", "docker://"+s.Host()+"/kolla/base:t")
}

// Locations never contain the host that a client claims.
func TestLocationsNameNoHost(t *testing.T) {
	s := registrytest.Embedded(t, server.Options{Anonymous: server.AccessPush})
	for _, header := range []string{"X-Forwarded-Host", "Forwarded", "X-Forwarded-Proto", "Host"} {
		req, err := http.NewRequest(http.MethodPost, "http://"+s.Addr().String()+"/v2/kolla/base/blobs/uploads/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(header, "evil.example")
		if header == "Forwarded" {
			req.Header.Set(header, "host=evil.example;proto=https")
		}
		if header == "Host" {
			req.Host = "evil.example"
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if location := resp.Header.Get("Location"); resp.StatusCode != 202 ||
			!strings.HasPrefix(location, "/v2/kolla/base/blobs/uploads/") {
			t.Errorf("%s: status %d, location %q", header, resp.StatusCode, location)
		}
	}
}
