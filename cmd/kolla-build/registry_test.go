package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/opencontainers/go-digest"
)

// servedRegistry is a "kolla-build registry serve" process.
type servedRegistry struct {
	host, dir string
	output    string // file
}

// serveRegistry starts a registry on a free port, as systemd does, and waits until it says
// that it is ready.
func serveRegistry(t *testing.T, dir string, args ...string) *servedRegistry {
	t.Helper()
	notify := filepath.Join(shortTempDir(t), "notify")
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: notify, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	r := &servedRegistry{host: registrytest.FreeAddr(t), dir: dir, output: filepath.Join(t.TempDir(), "output")}
	out, err := os.Create(r.output)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd := exec.Command("kolla-build", append([]string{"registry", "serve", "--addr", r.host, "--dir", dir}, args...)...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+notify, "HOME="+dir, "KOLLA_BUILD_ENGINE=none")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		done <- cmd.Wait()
		socket.Close()
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-done; err != nil {
			t.Errorf("the registry ended with %v", err)
		}
		if text, err := os.ReadFile(r.output); t.Failed() && err == nil {
			t.Logf("output of the registry:\n%s", text)
		}
	})
	state := make([]byte, 100)
	n, err := socket.Read(state)
	if err != nil || string(state[:n]) != "READY=1" {
		t.Fatalf("the registry reports %q, %v", state[:n], err)
	}
	return r
}

// shortTempDir is a directory whose path is short enough for a socket.
func shortTempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kb-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// get asks for a path; user is "" or USER:PASSWORD.
func (r *servedRegistry) get(t *testing.T, client *http.Client, method, path, user string) (int, string) {
	t.Helper()
	req, err := http.NewRequest(method, "https://"+r.host+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if name, password, ok := strings.Cut(user, ":"); ok {
		req.SetBasicAuth(name, password)
	}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// trustingClient returns a client that trusts only the authority of the registry, and the
// certificate of the authority, which comes from the registry itself.
func (r *servedRegistry) trustingClient(t *testing.T) (client *http.Client, ca string) {
	t.Helper()
	careless := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	status, ca := r.get(t, careless, "GET", "/ca.crt", "")
	if status != http.StatusOK {
		t.Fatalf("the authority's certificate: status %d", status)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(ca)) {
		t.Fatalf("the file of the authority is not a certificate: %q", ca)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}}, ca
}

// bundleOfSkopeo returns the path of an archive with the image example.org/kolla/nova-api:1, and
// its digest.
func bundleOfSkopeo(t *testing.T, skopeo string) (path string, d digest.Digest) {
	t.Helper()
	origin := registrytest.Embedded(t, server.Options{}).Host()
	img := registrytest.Image(t, registrytest.Base(t, 5000), 3000, 2)
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	if _, err := p.Push(t.Context(), origin+"/kolla/nova-api", img); err != nil {
		t.Fatal(err)
	}
	d = registrytest.Digest(t, img)
	if err := p.Commit(t.Context(), []push.Tag{{Ref: origin + "/kolla/nova-api:1", Digest: d}}); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(t.TempDir(), "set.tar")
	registrytest.Run(t, skopeo, "copy", "--src-tls-verify=false", "docker://"+origin+"/kolla/nova-api:1",
		"oci-archive:"+path+":example.org/kolla/nova-api:1")
	return path, d
}

// siteUsers returns the path of a password file with the users site and node.
func siteUsers(t *testing.T) string {
	t.Helper()
	var users strings.Builder
	for _, user := range []string{"site", "node"} {
		hash, err := bcrypt.GenerateFromPassword([]byte(user+"-secret"), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&users, "%s:%s\n", user, hash)
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, []byte(users.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestSiteRegistry runs a registry as a site does: with TLS of a generated authority, users,
// users who may only pull, and a bundle that is loaded when it starts.
func TestSiteRegistry(t *testing.T) {
	testenv.Slow(t)
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	bundle, want := bundleOfSkopeo(t, skopeo)
	dir := filepath.Join(t.TempDir(), "registry")
	r := serveRegistry(t, dir, "--tls-generate", "--htpasswd", siteUsers(t), "--read-only-user", "node", "--load", bundle)

	client, ca := r.trustingClient(t)
	for _, c := range []struct {
		method, path, user string
		status             int
	}{
		{"GET", "/healthz", "", http.StatusOK},
		{"GET", "/metrics", "", http.StatusUnauthorized},
		{"GET", "/metrics", "node:node-secret", http.StatusOK},
		{"GET", "/v2/", "", http.StatusUnauthorized},
		{"GET", "/v2/", "node:wrong", http.StatusUnauthorized},
		{"GET", "/v2/kolla/nova-api/tags/list", "node:node-secret", http.StatusOK},
		{"DELETE", "/v2/kolla/nova-api/manifests/1", "node:node-secret", http.StatusForbidden},
		{"DELETE", "/v2/kolla/nova-api/manifests/1", "node:wrong", http.StatusUnauthorized},
		{"POST", "/v2/kolla/nova-api/blobs/uploads/", "node:node-secret", http.StatusForbidden},
		{"POST", "/v2/kolla/nova-api/blobs/uploads/", "", http.StatusUnauthorized},
		{"POST", "/v2/kolla/nova-api/blobs/uploads/", "site:site-secret", http.StatusAccepted},
	} {
		if status, body := r.get(t, client, c.method, c.path, c.user); status != c.status {
			t.Errorf("%s %s as %q: status %d, want %d: %s", c.method, c.path, c.user, status, c.status, body)
		}
	}

	// A foreign client pulls the loaded images, and has its own configuration of the
	// authority.
	certs := t.TempDir()
	if err := os.WriteFile(filepath.Join(certs, "ca.crt"), []byte(ca), 0o644); err != nil {
		t.Fatal(err)
	}
	got := registrytest.Run(t, skopeo, "inspect", "--cert-dir", certs, "--creds", "node:node-secret", "--format",
		"{{.Digest}}", "docker://"+r.host+"/kolla/nova-api:1")
	if strings.TrimSpace(string(got)) != want.String() {
		t.Errorf("the loaded image has digest %s, want %s", got, want)
	}
	if _, err := os.Stat(filepath.Join(dir, ".kolla-build-load")); err == nil {
		t.Error("loading left its temporary store")
	}

	// Garbage is collected by the running registry.
	if status, _ := r.get(t, client, "DELETE", "/v2/kolla/nova-api/manifests/1",
		"site:site-secret"); status != http.StatusAccepted {
		t.Errorf("deleting a tag: status %d", status)
	}
	out, err := exec.Command("kolla-build", "registry", "gc", "--dry-run", "--dir", dir).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "would be freed") {
		t.Errorf("registry gc --dry-run: %v\n%s", err, out)
	}
	if out, err := exec.Command("kolla-build", "registry", "gc", "--dir", dir).CombinedOutput(); err != nil {
		t.Errorf("registry gc: %v\n%s", err, out)
	}
	_, metrics := r.get(t, client, "GET", "/metrics", "node:node-secret")
	if !strings.Contains(metrics, "kolla_registry_gc_runs_total 1\n") || !strings.HasSuffix(metrics, "# EOF\n") {
		t.Errorf("metrics after one collection:\n%s", metrics)
	}

	if out, err := exec.Command("kolla-build", "registry", "trust", "--dir", dir).CombinedOutput(); err != nil {
		t.Errorf("registry trust: %v\n%s", err, out)
	} else {
		checkTrust(t, string(out), dir, r.host)
	}
	out, err = exec.Command("kolla-build", "registry", "trust", "--dir", dir, "other.example:5443").CombinedOutput()
	if err != nil {
		t.Errorf("registry trust of another name: %v\n%s", err, out)
	}
	for _, want := range []string{"https://other.example:5443/ca.crt", "certs.d/other.example:5443/",
		"--tls-name other.example"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("registry trust of another name does not print %s:\n%s", want, out)
		}
	}
	for options, want := range map[string]string{
		"--addr 192.0.2.7:4001":                           "https://192.0.2.7:4001/ca.crt",
		"--addr 192.0.2.7:4001 --tls-name mirror.example": "https://mirror.example:4001/ca.crt",
		"--addr [2001:db8::7]:4001":                       "https://[2001:db8::7]:4001/ca.crt",
		"--addr :4001":                                    ":4001/ca.crt",
	} {
		args := append([]string{"registry", "trust", "--dir", dir}, strings.Fields(options)...)
		if out, err := exec.Command("kolla-build", args...).CombinedOutput(); err != nil ||
			!strings.Contains(string(out), want) {
			t.Errorf("registry trust %s does not print %s (%v):\n%s", options, want, err, out)
		}
	}
}

// checkTrust checks the output of "registry trust" without a name: it has the fingerprint of
// the authority, and the port on which the registry listens.
func checkTrust(t *testing.T, out, dir, host string) {
	t.Helper()
	authority, err := server.ReadAuthority(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(host)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{authority.Fingerprint, ":" + port + "/ca.crt"} {
		if !strings.Contains(out, want) {
			t.Errorf("registry trust does not print %s:\n%s", want, out)
		}
	}
}

// TestSystemdUnits checks that systemd accepts the example units.
func TestSystemdUnits(t *testing.T) {
	analyze := testenv.Program(t, "systemd-analyze", "systemd")
	units, err := filepath.Glob(filepath.Join(testenv.RepoRoot(t), "examples", "systemd", "*.*"))
	if err != nil || len(units) == 0 {
		t.Fatalf("units: %v, %v", units, err)
	}
	// The units name programs where make install puts them.
	root := t.TempDir()
	for _, bin := range []string{"usr/local/bin/kolla-build", "bin/sh"} {
		registrytest.CopyFile(t, "/bin/true", filepath.Join(root, bin))
		if err := os.Chmod(filepath.Join(root, bin), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range units {
		t.Run(filepath.Base(unit), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			copied := filepath.Join(root, "etc/systemd/system", filepath.Base(unit))
			registrytest.CopyFile(t, unit, copied)
			out, err := exec.CommandContext(ctx, analyze, "verify", "--man=no", "--recursive-errors=no", "--root="+root,
				filepath.Base(unit)).CombinedOutput()
			if err != nil || strings.Contains(string(out), filepath.Base(unit)+":") {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}
