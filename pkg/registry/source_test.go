package registry_test

import (
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// publish puts an image into a registry under a name without its host, and returns its
// digest.
func publish(t *testing.T, host, name string) digest.Digest {
	t.Helper()
	p := push.New(registrytest.Client(t, registry.Options{EtcDir: t.TempDir()}), push.Options{})
	d, err := p.Push(t.Context(), host+"/"+name, registrytest.Base(t, 300))
	if err == nil {
		err = p.Commit(t.Context(), []push.Tag{{Ref: host + "/" + name, Digest: d.Digest}})
	}
	if err != nil {
		t.Fatal(err)
	}
	return d.Digest
}

// Images are pulled according to registries.conf, and published under their own names.
func TestRegistriesConf(t *testing.T) {
	mirror := registrytest.Embedded(t, server.Options{}).Addr().String()
	origin := registrytest.Embedded(t, server.Options{}).Addr().String()
	gone := registrytest.FreeAddr(t)
	inMirror := publish(t, mirror, "hub/library/debian:t")
	inOrigin := publish(t, origin, "library/debian:t")
	only := publish(t, origin, "library/only:t")
	for name, c := range map[string]struct {
		conf string // M, O and G are the registries' addresses
		pull string
		want digest.Digest
		says string // of the error if want is ""
	}{
		"nothing": {``, "O/library/debian:t", inOrigin, ""},
		"mirror": {"[[registry]]\nprefix='O'\n[[registry.mirror]]\nlocation='M/hub'",
			"O/library/debian:t", inMirror, ""},
		"mirror of Docker Hub": {"[[registry]]\nprefix='docker.io'\n[[registry.mirror]]\nlocation='M/hub'",
			"debian:t", inMirror, ""},
		"not in the mirror": {"[[registry]]\nprefix='O'\n[[registry.mirror]]\nlocation='M/hub'",
			"O/library/only:t", only, ""},
		"mirror that is gone": {"[[registry]]\nprefix='O'\n[[registry.mirror]]\nlocation='G/hub'",
			"O/library/debian:t", inOrigin, ""},
		"two mirrors":                {"[[registry]]\nprefix='O'\n[[registry.mirror]]\nlocation='G/hub'\n[[registry.mirror]]\nlocation='M/hub'", "O/library/debian:t", inMirror, ""},
		"mirror for digests":         {"[[registry]]\nprefix='O'\nmirror-by-digest-only=true\n[[registry.mirror]]\nlocation='M/hub'", "O/library/debian:t", inOrigin, ""},
		"mirror for digests, digest": {"[[registry]]\nprefix='G'\n[[registry.mirror]]\nlocation='M/hub'\npull-from-mirror='digest-only'", "G/library/debian@" + inMirror.String(), inMirror, ""},
		"mirror for tags":            {"[[registry]]\nprefix='G'\n[[registry.mirror]]\nlocation='M/hub'\npull-from-mirror='tag-only'", "G/library/debian:t", inMirror, ""},
		"another location": {"[[registry]]\nprefix='example.org/base'\nlocation='O/library'",
			"example.org/base/debian:t", inOrigin, ""},
		"all hosts of a domain": {"[[registry]]\nprefix='*.example.org'\nlocation='O'",
			"a.b.example.org/library/debian:t", inOrigin, ""},
		"a domain with ports": {"[[registry]]\nprefix='*.example.org'\n[[registry.mirror]]\nlocation='M/x'\n[[registry]]\nprefix='*.example.org:5000/base'\nlocation='O/library'", "a.example.org:5000/base/debian:t", inOrigin, ""},
		"a domain with a path": {"[[registry]]\nprefix='*.example.org/base'\nlocation='O/library'",
			"a.example.org/base/debian:t", inOrigin, ""},
		"blocked, version 1": {"[registries.block]\nregistries=['O']", "O/library/debian:t", "", "blocks it"},
		"blocked and insecure": {"[registries.insecure]\nregistries=['O']\n[registries.block]\nregistries=['O']",
			"O/library/debian:t", "", "blocks it"},
		"the longest prefix": {"[[registry]]\nprefix='O'\nlocation='G'\n[[registry]]\nprefix='O/library'\nlocation='M/hub/library'", "O/library/debian:t", inMirror, ""},
		"a prefix twice": {"[[registry]]\nprefix='O'\nlocation='M/hub'\n[[registry]]\nprefix='O'\nlocation='G'",
			"O/library/debian:t", inMirror, ""},
		"a similar name": {"[[registry]]\nprefix='O/lib'\nlocation='G'", "O/library/debian:t", inOrigin, ""},
		"a similar host": {"[[registry]]\nprefix='127.0.0.1'\nlocation='G'", "O/library/debian:t", inOrigin, ""},
		"blocked":        {"[[registry]]\nprefix='O'\nblocked=true", "O/library/debian:t", "", "blocks it"},
		"blocked, with a mirror": {"[[registry]]\nprefix='O'\nblocked=true\n[[registry.mirror]]\nlocation='M/hub'",
			"O/library/debian:t", inMirror, ""},
		"blocked, not in the mirror": {"[[registry]]\nprefix='O'\nblocked=true\n[[registry.mirror]]\nlocation='M/hub'",
			"O/library/only:t", "", "blocks it"},
		"blocked, another location": {"[[registry]]\nprefix='G'\nlocation='O'\nblocked=true",
			"G/library/debian:t", "", "blocks it"},
		"a blocked mirror":   {"[[registry]]\nprefix='O'\n[[registry.mirror]]\nlocation='M/hub'\n[[registry]]\nprefix='M'\nblocked=true", "O/library/debian:t", inOrigin, ""},
		"a blocked location": {"[[registry]]\nprefix='example.org/base'\nlocation='O/library'\n[[registry]]\nprefix='O'\nblocked=true", "example.org/base/debian:t", "", "blocks it"},
		"nowhere": {"[[registry]]\nprefix='G'\n[[registry.mirror]]\nlocation='M/none'",
			"G/library/debian:t", "", "cannot be reached: connection refused (mirror M: M/none/library/debian:t: not found"},
		"a bad location": {"[[registry]]\nprefix='O'\nlocation='NOT A NAME'",
			"O/library/debian:t", "", "not allowed"},
		"not TOML": {"[[registry]\nprefix=", "O/library/debian:t", "", "registries.conf: line 1, column"},
		"no prefix": {"[[registry]]\ninsecure=true", "O/library/debian:t", "",
			"neither a prefix nor a location"},
		"a mirror without location": {"[[registry]]\nprefix='O'\n[[registry.mirror]]\ninsecure=true",
			"O/library/debian:t", "", "has no location"},
	} {
		t.Run(name, func(t *testing.T) {
			address := strings.NewReplacer("'O", "'"+origin, "'M", "'"+mirror, "'G", "'"+gone).Replace
			name := strings.NewReplacer("O/", origin+"/", "G/", gone+"/").Replace(c.pull)
			etc := t.TempDir()
			writeFile(t, filepath.Join(etc, "containers/registries.conf"), address(c.conf))
			client, err := registry.New(t.Context(), registry.Options{EtcDir: etc, Retries: -1})
			var got digest.Digest
			if err == nil {
				defer client.Close()
				_, got, err = client.Fetch(t.Context(), name, "")
				if d, herr := client.HeadSource(t.Context(), name); d.Digest != got || (herr == nil) != (err == nil) {
					t.Errorf("the look-up gives %s, %v", d.Digest, herr)
				}
				if rerr := client.ReachSource(t.Context(), name); err == nil && rerr != nil {
					t.Errorf("reaching: %v", rerr)
				}
			}
			expected := strings.NewReplacer("mirror M: M/", "mirror "+mirror+": "+mirror+"/").Replace(c.says)
			if got != c.want || c.want == "" && (err == nil || !strings.Contains(err.Error(), expected)) {
				t.Errorf("got %s, %v; expected %s %s", got, err, c.want, expected)
			}
			if c.want != "" && err != nil {
				t.Error(err)
			}
		})
	}
}

// The files of registries.conf.d are read too, and those of the user replace the system's. They do
// not change the names under which a set is published.
func TestRegistriesConfDirectories(t *testing.T) {
	origin := registrytest.Embedded(t, server.Options{}).Addr().String()
	gone := registrytest.FreeAddr(t)
	published := publish(t, origin, "library/debian:t")
	etc := t.TempDir() + "/not[a]pattern"
	writeFile(t, filepath.Join(etc, "containers/registries.conf.d/x.conf"),
		fmt.Sprintf("[[registry]]\nprefix=%q\nlocation=%q\n", origin, gone))
	c := registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1})
	if d, err := c.Head(t.Context(), origin+"/library/debian:t"); err != nil || d.Digest != published {
		t.Errorf("looking up a tag to publish: %v", err)
	}
	if _, _, err := c.Fetch(t.Context(), origin+"/library/debian:t", ""); err == nil {
		t.Error("a file of registries.conf.d is not read")
	}

	// The last file that has an entry for a prefix counts, and in it the first one.
	writeFile(t, filepath.Join(etc, "containers/registries.conf.d/y.conf"),
		fmt.Sprintf("[[registry]]\nprefix=%q\nlocation=%q\n[[registry]]\nprefix=%q\nlocation=%q\n",
			origin, origin, origin, gone))
	if _, _, err := registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1}).Fetch(t.Context(),
		origin+"/library/debian:t", ""); err != nil {
		t.Errorf("a later file of registries.conf.d: %v", err)
	}

	// A file of the user replaces the system's, and with it the system's directory.
	home, system := t.TempDir(), t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("XDG_CONFIG_HOME", "")
	writeFile(t, filepath.Join(system, "containers/registries.conf.d/x.conf"),
		fmt.Sprintf("[[registry]]\nprefix=%q\nlocation=%q\n", origin, gone))
	writeFile(t, filepath.Join(home, ".config/containers/registries.conf"), "")
	if _, _, err := registrytest.Client(t, registry.Options{EtcDir: system, Retries: -1}).Fetch(t.Context(),
		origin+"/library/debian:t", ""); err != nil {
		t.Errorf("the system's registries.conf.d counts beside the user's registries.conf: %v", err)
	}
}

// A blocked repository is not used for publishing either; others of its registry are.
func TestBlockedForPublishing(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	publish(t, host, "team/app:t")
	etc := t.TempDir()
	writeFile(t, filepath.Join(etc, "containers/registries.conf"),
		fmt.Sprintf("[[registry]]\nprefix='%s/team'\nlocation='%s/team'\nblocked=true\n", host, host))
	client := registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1})
	p := push.New(client, push.Options{})
	name := host + "/team/app:t"
	for what, try := range map[string]func() error{
		"push":       func() error { _, err := p.Push(t.Context(), name, registrytest.Base(t, 300)); return err },
		"look-up":    func() error { _, err := client.Head(t.Context(), name); return err },
		"tags":       func() error { _, err := client.Tags(t.Context(), name); return err },
		"check":      func() error { return client.CheckPush(t.Context(), []string{name}) },
		"delete":     func() error { return client.DeleteTag(t.Context(), name) },
		"connection": func() error { return client.Reach(t.Context(), name) },
	} {
		var blocked *registry.BlockedError
		if err := try(); !errors.As(err, &blocked) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := p.Push(t.Context(), host+"/other/app:t", registrytest.Base(t, 300)); err != nil {
		t.Errorf("another repository: %v", err)
	}
	if _, err := client.Repositories(t.Context(), host, ""); err != nil {
		t.Errorf("the list of repositories: %v", err)
	}
	writeFile(t, filepath.Join(etc, "containers/registries.conf"),
		fmt.Sprintf("[[registry]]\nlocation=%q\nblocked=true\n", host))
	var blocked *registry.BlockedError
	if _, err := registrytest.Client(t, registry.Options{EtcDir: etc}).Repositories(t.Context(), host,
		""); !errors.As(err, &blocked) {
		t.Errorf("the list of repositories of a blocked registry: %v", err)
	}
}

// The mirrors of Docker's daemon count for Docker Hub, unless registries.conf has an entry
// for it.
func TestDaemonMirrors(t *testing.T) {
	mirror := registrytest.Embedded(t, server.Options{}).Addr().String()
	inMirror := publish(t, mirror, "library/debian:t")
	etc := t.TempDir()
	writeFile(t, filepath.Join(etc, "docker/daemon.json"), fmt.Sprintf(`{"registry-mirrors": ["http://%s"]}`, mirror))
	fetch := func(name string) (digest.Digest, error) {
		_, d, err := registrytest.Client(t, registry.Options{EtcDir: etc, Retries: -1}).Fetch(t.Context(), name, "")
		return d, err
	}
	if got, err := fetch("debian:t"); got != inMirror || err != nil {
		t.Errorf("from the mirror: %s, %v", got, err)
	}
	writeFile(t, filepath.Join(etc, "containers/registries.conf"),
		fmt.Sprintf("[[registry]]\nprefix='docker.io'\nlocation=%q\n", registrytest.FreeAddr(t)))
	if _, err := fetch("debian:t"); err == nil {
		t.Error("registries.conf does not take precedence")
	}
}

// A registry to which the user may not push is found before anything is built.
func TestCheckPush(t *testing.T) {
	check := func(names ...string) error {
		return registrytest.Client(t, registry.Options{}).CheckPush(t.Context(), names)
	}
	open := registrytest.Embedded(t, server.Options{})
	if err := check(open.Host()+"/kolla/base:t", open.Host()+"/kolla/nova:t"); err != nil {
		t.Error(err)
	}
	var readOnly *registry.ReadOnlyError
	if err := check(registrytest.Embedded(t, server.Options{ReadOnly: true}).Host() + "/kolla/base:t"); !errors.As(err,
		&readOnly) || readOnly.Hint() == "" {
		t.Errorf("embedded, read-only: %v", err)
	}
	host, _ := registrytest.WithTokens(t, registrytest.TokenOptions{Public: true,
		Accounts: map[string]string{"ada": "s3cret"}, Paths: map[string][]string{"ada": {"kolla/"}}})
	var refused *registry.UnauthorizedError
	if err := check(host + "/kolla/base:t"); !errors.As(err, &refused) {
		t.Errorf("everyone may pull: %v", err)
	}
	auths(t, map[string]map[string]string{host: {"username": "ada", "password": "s3cret"}})
	if err := check(host + "/kolla/base:t"); err != nil {
		t.Error(err)
	}
	if err := check(host+"/kolla/base:t", host+"/other/base:t"); !errors.As(err, &refused) {
		t.Errorf("a namespace of others: %v", err)
	}
	// Nothing is left of the check.
	px := registrytest.StartProxy(t, open.Host(), nil)
	if err := check(px.Host+"/kolla/base:t", px.Host+"/kolla/nova:t", px.Host+"/team/nova:t"); err != nil {
		t.Error(err)
	}
	if begun, canceled := px.Count(http.MethodPost), px.Count(http.MethodDelete); begun != 2 || canceled != 2 {
		t.Errorf("%d uploads were begun, %d canceled", begun, canceled)
	}
}
