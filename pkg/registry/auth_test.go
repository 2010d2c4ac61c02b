package registry_test

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
	"sync/atomic"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

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
	host := registrytest.Embedded(t, server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret")}).Host()
	img := registrytest.Base(t, 1000)
	ref := host + "/kolla/base"

	var u *registry.UnauthorizedError
	_, err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(ctx, ref, img)
	if !errors.As(err, &u) || u.Host != host || !strings.Contains(u.Hint(), "docker login "+host) {
		t.Fatalf("without a login: %v", err)
	}
	if _, err := registrytest.Client(t, registry.Options{}).Head(ctx, ref+":t"); !errors.As(err, &u) {
		t.Fatalf("look-up without a login: %v", err)
	}

	login(t, host, "ada", "wrong")
	_, err = push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(ctx, ref, img)
	if !errors.As(err, &u) || strings.Contains(err.Error(), "wrong") {
		t.Fatalf("with a wrong password: %v", err)
	}

	login(t, host, "ada", "s3cret")
	c := registrytest.Client(t, registry.Options{})
	p := push.New(c, push.Options{})
	d, err := p.Push(ctx, ref, img)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Commit(ctx, []push.Tag{{Ref: ref + ":t", Digest: d.Digest}}); err != nil {
		t.Fatal(err)
	}
	if got, err := c.Head(ctx, ref+":t"); err != nil || got.Digest != d.Digest {
		t.Fatalf("%v %v", got, err)
	}
	registrytest.MustPull(t, host, ref+":t", d.Digest)
	// skopeo agrees that the login is needed, and that ours is one.
	skopeo := testenv.Program(t, "skopeo", "skopeo")
	registrytest.Run(t, skopeo, "inspect", "--tls-verify=false", "--creds", "ada:s3cret", "docker://"+ref+":t")
	if exec.Command(skopeo, "inspect", "--tls-verify=false", "--no-creds", "docker://"+ref+":t").Run() == nil {
		t.Error("skopeo reads without a login")
	}
}

func TestCredentialHelper(t *testing.T) {
	ctx := context.Background()
	host := registrytest.Embedded(t, server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret")}).Host()
	dir := t.TempDir()
	script := "#!/bin/sh\ncat >/dev/null\necho '{\"Username\":\"ada\",\"Secret\":\"s3cret\"}'\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-kbtest"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
	t.Setenv("DOCKER_CONFIG", dir)
	if err := os.WriteFile(filepath.Join(dir, "config.json"),
		fmt.Appendf(nil, `{"credHelpers":{%q:"kbtest"}}`, host), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := push.New(registrytest.Client(t, registry.Options{}), push.Options{}).Push(ctx, host+"/kolla/base",
		registrytest.Base(t, 100)); err != nil {
		t.Fatal(err)
	}

	// Helpers that registries.conf lists are asked in their order; one that has no login
	// leaves the question to the next.
	nothing := "#!/bin/sh\ncat >/dev/null\necho 'credentials not found in native keychain'\nexit 1\n"
	if err := os.WriteFile(filepath.Join(dir, "docker-credential-kbnone"), []byte(nothing), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	check := func(list string, works bool) {
		t.Helper()
		etc := t.TempDir()
		writeFile(t, filepath.Join(etc, "containers/registries.conf"), "credential-helpers = ["+list+"]\n")
		_, err := registrytest.Client(t, registry.Options{EtcDir: etc}).Tags(ctx, host+"/kolla/base")
		if (err == nil) != works {
			t.Errorf("credential-helpers = [%s]: %v", list, err)
		}
	}
	check(`"containers-auth.json", "kbnone", "kbtest"`, true)
	check(`"kbmissing", "kbtest"`, true) // as in podman
	check(`"containers-auth.json", "kbnone"`, false)
	check(`"kbmissing", "kbnone"`, false)
	check(``, false)
	login(t, host, "ada", "s3cret")
	check(``, true) // an empty list means the files
	check(`"kbnone"`, false)
	check(`"kbmissing", "containers-auth.json"`, true)
}

// Credentials are not sent unencrypted unless the user allows it. Only the test's HTTP
// proxy can reach the registry's private address.
func TestCredentialsAreWithheldFromPlainHTTP(t *testing.T) {
	ctx := context.Background()
	const host = "10.99.98.97:4000"
	backend := registrytest.Embedded(t, server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret")}).Host()
	sent := 0
	px := registrytest.StartProxy(t, backend, func(r *http.Request) registrytest.Fault {
		if r.Header.Get("Authorization") != "" {
			sent++
		}
		if r.Method == http.MethodConnect {
			return registrytest.Reset // no TLS on this address
		}
		return registrytest.None
	})
	client := func(opts registry.Options) *registry.Client {
		opts.Retries = -1
		c := registrytest.Client(t, opts)
		registry.UseProxy(c, &url.URL{Scheme: "http", Host: px.Host})
		return c
	}
	login(t, host, "ada", "s3cret")
	var u *registry.UnauthorizedError
	_, err := client(registry.Options{}).Head(ctx, host+"/kolla/base:t")
	if !errors.As(err, &u) || !u.Withheld || !strings.Contains(u.Hint(), "--registry-insecure "+host) {
		t.Errorf("got %v", err)
	}
	if sent != 0 {
		t.Error("credentials were sent")
	}
	for _, listed := range []string{host, "10.99.98.97"} {
		_, err := push.New(client(registry.Options{Insecure: []string{listed}}), push.Options{}).Push(ctx,
			host+"/kolla/base", registrytest.Base(t, 100))
		if err != nil || sent == 0 {
			t.Errorf("%s is listed as insecure: %v", listed, err)
		}
	}

	// An entry of registries.conf with a path is for the repositories below it.
	etc := t.TempDir()
	writeFile(t, filepath.Join(etc, "containers/registries.conf"),
		"[[registry]]\nlocation='"+host+"/kolla'\ninsecure=true\n")
	for repo, works := range map[string]bool{"/kolla/base": true, "/kolla2/base": false} {
		sent = 0
		_, err := push.New(client(registry.Options{EtcDir: etc}), push.Options{}).Push(ctx, host+repo,
			registrytest.Base(t, 100))
		if (err == nil) != works || (sent > 0) != works || !works && (!errors.As(err, &u) || !u.Withheld) {
			t.Errorf("%s: credentials were sent %d times, %v", repo, sent, err)
		}
	}
}

// A registry on this host needs no TLS, but a token server on another one that it names does.
func TestPasswordForOtherHostNeedsTLS(t *testing.T) {
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://10.99.98.97:4000/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	login(t, host, "ada", "s3cret")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var u *registry.UnauthorizedError
	_, err := registrytest.Client(t, registry.Options{Retries: -1}).Head(ctx, host+"/kolla/base:t")
	if !errors.As(err, &u) || !u.Withheld || !strings.Contains(u.Error(), "token server 10.99.98.97:4000") ||
		!strings.HasSuffix(u.Hint(), "--registry-insecure 10.99.98.97:4000") {
		t.Errorf("got %v; hint: %s", err, u.Hint())
	}
}

// The name of a token server is printed in a hint, which users copy to a shell.
func TestTokenServerWithoutHostName(t *testing.T) {
	host := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://$(reboot)/token",service="x"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
	login(t, host, "ada", "s3cret")
	_, err := registrytest.Client(t, registry.Options{Retries: -1}).Head(t.Context(), host+"/kolla/base:t")
	if err == nil || !strings.Contains(err.Error(), "is not a URL") || strings.Contains(usererr.Hint(err), "reboot") {
		t.Errorf("got %v; hint: %s", err, usererr.Hint(err))
	}
}

// A challenge that is different and large each time would be kept, with its token.
func TestLargeChallengesAreNotFollowed(t *testing.T) {
	var tokens atomic.Int32
	var host string
	host = registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			tokens.Add(1)
			fmt.Fprint(w, `{"token":"x"}`)
			return
		}
		scope := strings.Repeat("repository:x:pull ", 10_000)
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="x",scope=%q`, host, scope))
		w.WriteHeader(http.StatusUnauthorized)
	}))
	var u *registry.UnauthorizedError
	_, err := registrytest.Client(t, registry.Options{Retries: -1}).Head(t.Context(), host+"/kolla/base:t")
	if n := tokens.Load(); n != 0 || errors.As(err, &u) ||
		!strings.Contains(fmt.Sprint(err), "login challenge of registry "+host) {
		t.Errorf("%d tokens, %v", n, err)
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
	c := registrytest.Client(t, registry.Options{})
	_, err = c.Head(ctx, host+"/kolla/base:t")
	var un *registry.UnreachableError
	if !errors.As(err, &un) || un.Host != host {
		t.Fatalf("got %v", err)
	}
	if got, want := err.Error(), "registry "+host+" cannot be reached: connection refused"; got != want {
		t.Errorf("error is %q, want %q", got, want)
	}
	_, port, _ := net.SplitHostPort(host)
	if want := "`kolla-build registry serve --addr localhost:" + port + "`"; !strings.Contains(un.Hint(), want) {
		t.Errorf("hint is %q, want %q in it", un.Hint(), want)
	}
	if c.Retried() != 0 {
		t.Errorf("a registry that is not there was asked %d times again", c.Retried())
	}
	if _, err := push.New(c, push.Options{}).Push(ctx, host+"/kolla/base",
		registrytest.Base(t, 10)); !errors.As(err, &un) {
		t.Errorf("push: %v", err)
	}
	// And when it is started later, the same client reaches it.
	registrytest.Embedded(t, server.Options{Addr: host})
	if _, err := push.New(c, push.Options{}).Push(ctx, host+"/kolla/base", registrytest.Base(t, 10)); err != nil {
		t.Errorf("after the registry was started: %v", err)
	}
}

// A registry that restarts while images are pushed costs retries, not the run.
func TestRegistryRestartsMidway(t *testing.T) {
	testenv.Slow(t)
	ctx := context.Background()
	dir := t.TempDir()
	s := registrytest.Embedded(t, server.Options{Dir: dir})
	host := s.Addr().String()
	c := registrytest.Client(t, registry.Options{Retries: 30})
	p := push.New(c, push.Options{})
	if _, err := p.Push(ctx, host+"/kolla/base", registrytest.Base(t, 100)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	img := registrytest.Base(t, 100_000)
	go func() { _, err := p.Push(ctx, host+"/kolla/next", img); done <- err }()
	for c.Retried() == 0 {
		time.Sleep(time.Millisecond)
	}
	registrytest.Embedded(t, server.Options{Dir: dir, Addr: host})
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	registrytest.MustPull(t, host, "HOST/kolla/next@"+registrytest.Digest(t, img).String(), registrytest.Digest(t, img))
}
