package registry

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

func htpasswd(t *testing.T, user, password string) string {
	t.Helper()
	h, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, fmt.Appendf(nil, "%s:%s\n", user, h), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// login writes a Docker configuration as "docker login" does.
func login(t *testing.T, host, user, password string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("DOCKER_CONFIG", dir)
	text := fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, host, base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBasicLogin(t *testing.T) {
	ctx := context.Background()
	host := startEmbedded(t, ServeOptions{Htpasswd: htpasswd(t, "ada", "s3cret")}).Host()
	img := ociBase(t, 1000)
	ref := host + "/kolla/base"

	var u *UnauthorizedError
	_, err := newClient(t, Options{}).NewPublisher(PublishOptions{}).Push(ctx, ref, img)
	if !errors.As(err, &u) || u.Host != host || !strings.Contains(u.Hint(), "docker login "+host) {
		t.Fatalf("without a login: %v", err)
	}
	if _, err := newClient(t, Options{}).Head(ctx, ref+":t"); !errors.As(err, &u) {
		t.Fatalf("look-up without a login: %v", err)
	}

	login(t, host, "ada", "wrong")
	_, err = newClient(t, Options{}).NewPublisher(PublishOptions{}).Push(ctx, ref, img)
	if !errors.As(err, &u) || strings.Contains(err.Error(), "wrong") {
		t.Fatalf("with a wrong password: %v", err)
	}

	login(t, host, "ada", "s3cret")
	c := newClient(t, Options{})
	p := c.NewPublisher(PublishOptions{})
	d, err := p.Push(ctx, ref, img)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(ctx, []Tag{{ref + ":t", d.Digest}}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Head(ctx, ref+":t"); err != nil || got.Digest != d.Digest {
		t.Fatalf("%v %v", got, err)
	}
	mustPull(t, host, ref+":t", d.Digest)
	// skopeo agrees that the login is needed, and that ours is one.
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	runTool(t, skopeo, "inspect", "--tls-verify=false", "--creds", "ada:s3cret", "docker://"+ref+":t")
	if exec.Command(skopeo, "inspect", "--tls-verify=false", "--no-creds", "docker://"+ref+":t").Run() == nil {
		t.Error("skopeo reads without a login")
	}
}

func TestCredentialHelper(t *testing.T) {
	ctx := context.Background()
	host := startEmbedded(t, ServeOptions{Htpasswd: htpasswd(t, "ada", "s3cret")}).Host()
	dir := t.TempDir()
	script := "#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"ada\",\"Secret\":\"s3cret\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-kbtest"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"), fmt.Appendf(nil, `{"credHelpers":{%q:"kbtest"}}`, host), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newClient(t, Options{}).NewPublisher(PublishOptions{}).Push(ctx, host+"/kolla/base", ociBase(t, 100)); err != nil {
		t.Fatal(err)
	}
}

// Credentials do not travel in the clear unless the user says that they may. The
// registry's private address is one that only the test's HTTP proxy can reach.
func TestCredentialsAreWithheldFromPlainHTTP(t *testing.T) {
	ctx := context.Background()
	const host = "10.99.98.97:4000"
	backend := startEmbedded(t, ServeOptions{Htpasswd: htpasswd(t, "ada", "s3cret")}).Host()
	sent := 0
	px := startProxy(t, backend, func(r *http.Request) fault {
		if r.Header.Get("Authorization") != "" {
			sent++
		}
		if r.Method == http.MethodConnect {
			return faultReset // nothing speaks TLS there
		}
		return faultNone
	})
	client := func(opts Options) *Client {
		opts.Retries = -1
		c := newClient(t, opts)
		u := &url.URL{Scheme: "http", Host: px.host}
		c.strict.Proxy, c.lax.Proxy = http.ProxyURL(u), http.ProxyURL(u)
		return c
	}
	login(t, host, "ada", "s3cret")
	var u *UnauthorizedError
	_, err := client(Options{}).Head(ctx, host+"/kolla/base:t")
	if !errors.As(err, &u) || !u.Withheld || !strings.Contains(u.Hint(), "--registry-insecure "+host) {
		t.Errorf("got %v", err)
	}
	if sent != 0 {
		t.Error("credentials were sent")
	}
	for _, listed := range []string{host, "10.99.98.97"} {
		_, err := client(Options{Insecure: []string{listed}}).NewPublisher(PublishOptions{}).Push(ctx, host+"/kolla/base", ociBase(t, 100))
		if err != nil || sent == 0 {
			t.Errorf("%s is listed as insecure: %v", listed, err)
		}
	}
}

func TestUnreachable(t *testing.T) {
	ctx := context.Background()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := ln.Addr().String()
	ln.Close()
	c := newClient(t, Options{})
	_, err = c.Head(ctx, host+"/kolla/base:t")
	var un *UnreachableError
	if !errors.As(err, &un) || un.Host != host {
		t.Fatalf("got %v", err)
	}
	if got, want := err.Error(), "registry "+host+" cannot be reached: connection refused"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
	_, port, _ := net.SplitHostPort(host)
	if want := "`kolla-build registry serve --addr :" + port + "`"; !strings.Contains(un.Hint(), want) {
		t.Errorf("hint is %q, want %q in it", un.Hint(), want)
	}
	if c.Retried() != 0 {
		t.Errorf("a registry that is not there was asked %d times again", c.Retried())
	}
	if _, err := c.NewPublisher(PublishOptions{}).Push(ctx, host+"/kolla/base", ociBase(t, 10)); !errors.As(err, &un) {
		t.Errorf("push: %v", err)
	}
	// And when it is started later, the same client reaches it.
	startEmbedded(t, ServeOptions{Addr: host})
	if _, err := c.NewPublisher(PublishOptions{}).Push(ctx, host+"/kolla/base", ociBase(t, 10)); err != nil {
		t.Errorf("after the registry was started: %v", err)
	}
}

// A registry that restarts while images are pushed costs retries, not the run.
func TestRegistryRestartsMidway(t *testing.T) {
	ctx := context.Background()
	dir := t.TempDir()
	s := startEmbedded(t, ServeOptions{Dir: dir})
	host := s.Addr().String()
	c := newClient(t, Options{Retries: 30})
	p := c.NewPublisher(PublishOptions{})
	if _, err := p.Push(ctx, host+"/kolla/base", ociBase(t, 100)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	img := ociBase(t, 100_000)
	go func() { _, err := p.Push(ctx, host+"/kolla/next", img); done <- err }()
	for c.Retried() == 0 {
		time.Sleep(time.Millisecond)
	}
	startEmbedded(t, ServeOptions{Dir: dir, Addr: host})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	mustPull(t, host, "HOST/kolla/next@"+digestOf(t, img).String(), digestOf(t, img))
}
