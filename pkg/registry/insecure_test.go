package registry

import (
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func writeConf(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestInsecureRegistries checks every place where docker and podman keep the names of
// registries that may be used without a verified certificate.
func TestInsecureRegistries(t *testing.T) {
	etc, home := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	writeConf(t, filepath.Join(etc, "containers/registries.conf"), "[[registry]]\nprefix='*.lab.example'\ninsecure=true\n"+
		"[[registry]]\nlocation='plain.example:5000'\ninsecure=true\n[[registry]]\nprefix='name.example'\nlocation='location.example'\ninsecure=true\n"+
		"[[registry.mirror]]\nlocation='mirror.example/hub'\ninsecure=true\n"+
		"[[registry]]\nprefix='*.dom.example/team'\ninsecure=true\n[[registry]]\nlocation='path.example:5000/a/b/'\ninsecure=true\n"+
		"[[registry]]\nlocation='path.example:5000/c'\ninsecure=true\n[[registry]]\nlocation='path.example:5000/a/x'\n"+
		// Exceptions from what is insecure.
		"[[registry]]\nlocation='plain.example:5000/safe'\n[[registry]]\nlocation='plain.example:5000/safe/lab'\ninsecure=true\n"+
		"[[registry]]\nprefix='plain.example:5000/hub'\nlocation='docker.io'\n[[registry.mirror]]\nlocation='plain.example:5000/mirror'\n"+
		"[[registry]]\nlocation='safe.lab.example'\n[[registry]]\nprefix='*.lab.example/safe'\n[[registry]]\nprefix='*.safe.lab.example'\n"+
		"[[registry]]\nlocation='docker.example:5000'\n[[registry]]\nlocation='docker.example:5000/safe'\n[[registry]]\nlocation='10.1.2.3:5000/safe'\n"+
		"[[registry]]\nlocation='flag.example/safe'\n")
	writeConf(t, filepath.Join(etc, "containers/registries.conf.d/old.conf"),
		"[registries.search]\nregistries=['docker.io']\n[registries.insecure]\nregistries=['old.example']\n[registries.block]\nregistries=['blocked.example']\n")
	writeConf(t, filepath.Join(etc, "docker/daemon.json"),
		`{"insecure-registries": ["docker.example:5000", "any.example", "shortname", "10.1.0.0/16", "fd00::/8"], "registry-mirrors": ["http://hub.example:5000/"], "log-level": "warn"}`)
	c, err := New(t.Context(), Options{EtcDir: etc, Insecure: []string{"flag.example"}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for host, want := range map[string]bool{
		"a.lab.example": true, "a.b.lab.example:5000": true, "lab.example": false, "xlab.example": false,
		"plain.example:5000": true, "plain.example": false, "location.example": true, "name.example": false,
		"mirror.example": false,
		"old.example":    true, "docker.example:5000": true, "docker.example:5001": false, "any.example": true,
		"any.example:7000": false, "old.example:5000": false, "location.example:5000": false,
		"10.1.2.3:5000": true, "10.2.2.3:5000": false, "[fd00::1]:5000": true, "[fe00::1]:5000": false,
		"hub.example:5000": true, "flag.example": true, "flag.example:5000": true, "other.example": false,
	} {
		if got := c.listedAsInsecure(host); got != want {
			t.Errorf("%s: %v, want %v", host, got, want)
		}
	}
	for name, want := range map[string]bool{
		"mirror.example/hub": true, "mirror.example/hub/library/debian": true, "mirror.example/hub2": false,
		"mirror.example/x/hub":  false,
		"path.example:5000/a/b": true, "path.example:5000/a/b/c": true, "path.example:5000/a": false,
		"path.example:5000/c/d": true,
		"path.example/a/b":      false, "path.example:5000/a/x": false, "any.example/all": true, "flag.example/all": true,
		"a.dom.example/team/kolla": true, "a.dom.example:5000/team": true, "a.dom.example/teams": false,
		"docker.example:5000/x": true,
		"plain.example:5000/x":  true, "plain.example:5000/safe": false, "plain.example:5000/safe/x": false,
		"plain.example:5000/safer":      true,
		"plain.example:5000/safe/lab/x": true, "plain.example:5000/hub/x": false, "plain.example:5000/mirror/x": false,
		"safe.lab.example/x": false, "safe.lab.example:5000/x": true, "a.lab.example/safe/x": false,
		"a.lab.example/x": true, "a.safe.lab.example/x": false,
		"docker.example:5000/safe/x": false, "10.1.2.3:5000/x": true, "10.1.2.3:5000/safe/x": false,
		"flag.example/safe/x": true,
	} {
		host, path, _ := strings.Cut(name, "/")
		if got := c.insecure.contains(host, path); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		if got := c.host(host, path).mayBeInsecure(); got != want {
			t.Errorf("the host of %s: %v, want %v", name, got, want)
		}
	}
}

// A path that is an exception from an insecure registry is not led to plain HTTP at the
// registry, and gives its token server no password over it.
func TestInsecureExceptions(t *testing.T) {
	etc := t.TempDir()
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_CONFIG_HOME", "")
	writeConf(t, filepath.Join(etc, "containers/registries.conf"),
		"[[registry]]\nlocation='plain.example:5000'\ninsecure=true\n[[registry]]\nlocation='plain.example:5000/safe'\n")
	c, err := New(t.Context(), Options{EtcDir: etc})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for path, allowed := range map[string]bool{"x": true, "safe/x": false} {
		h := c.host("plain.example:5000", path)
		if err := h.checkTarget("https", &url.URL{Scheme: "http", Host: "plain.example:5000"}); (err == nil) != allowed {
			t.Errorf("%s: plain HTTP: %v", path, err)
		}
		if allowed {
			continue
		}
		var refused *UnauthorizedError
		_, err := h.fetchToken(t.Context(), tokenKey{realm: "http://plain.example:5000/token",
			login: login{Username: "ada", Password: "s3cret"}})
		if !errors.As(err, &refused) || !refused.Withheld {
			t.Errorf("%s: a token over plain HTTP: %v", path, err)
		}
	}
}

func TestDaemonConfMistakes(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	for text, want := range map[string]string{
		`{"insecure-registries": "x"}`:        "insecure-registries",
		`{`:                                   "not JSON",
		`{"insecure-registries": ["a b"]}`:    "insecure-registries",
		`{"registry-mirrors": ["hub.local"]}`: "registry-mirrors",
		``:                                    "",
	} {
		etc := t.TempDir()
		writeConf(t, filepath.Join(etc, "docker/daemon.json"), text)
		c, err := New(t.Context(), Options{EtcDir: etc})
		if want == "" && err == nil {
			c.Close()
			continue
		}
		if err == nil || want == "" || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "daemon.json") {
			t.Errorf("%s: %v, want an error with %q", text, err, want)
		}
	}
}
