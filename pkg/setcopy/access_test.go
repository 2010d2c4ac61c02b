package setcopy

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// logins writes a file of logins, USER:PASSWORD by registry.
func logins(t *testing.T, byHost map[string]string) {
	t.Helper()
	auths := map[string]map[string]string{}
	for host, login := range byHost {
		auths[host] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(login))}
	}
	b, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), b, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("DOCKER_CONFIG", dir)
}

// Both registries require tokens, of different users with different rights. The tokens are
// replaced when they expire.
func TestCopyBetweenRegistriesWithTokens(t *testing.T) {
	testenv.Slow(t)
	source, sourceTokens := registrytest.WithTokens(t,
		registrytest.TokenOptions{Accounts: map[string]string{"ada": "s3cret"}})
	target, targetTokens := registrytest.WithTokens(t, registrytest.TokenOptions{
		Accounts: map[string]string{"bob": "hunter2"}, Paths: map[string][]string{"bob": {"site/"}},
		Field: "access_token", Life: time.Second,
	})
	logins(t, map[string]string{source: "ada:s3cret", target: "bob:hunter2"})
	s := newSite(t, source)
	sourceTokens.Requests()
	// Token servers seldom let users list all repositories.
	images := []string{"base", "nova-api", "keystone"}
	r, err := s.copy(Options{}, append([]string{source + "/kolla:t1", target + "/site"}, images...)...)
	if err != nil || r.changed() != 3 {
		t.Fatalf("%+v, %v", r, err)
	}
	for host, requests := range map[string][]string{"source": sourceTokens.Requests(), "target": targetTokens.Requests()} {
		if len(requests) == 0 {
			t.Errorf("no token of the %s was requested", host)
		}
		other := map[string]string{"source": "bob", "target": "ada"}[host]
		if slices.ContainsFunc(requests, func(request string) bool { return strings.Contains(request, other) }) {
			t.Errorf("the %s got the login of the other registry: %q", host, requests)
		}
	}
	s.complete(target, "site")
	// A namespace for which the rights do not suffice, and a missing login.
	var refused *registry.UnauthorizedError
	if _, err := s.copy(Options{}, append([]string{source + "/kolla:t1", target + "/kolla"},
		images...)...); !errors.As(err,
		&refused) || refused.Host != target {
		t.Errorf("to a namespace of others: %v", err)
	}
	logins(t, map[string]string{target: "bob:hunter2"})
	if _, err := s.copy(Options{},
		append([]string{source + "/kolla:t1", target + "/site:t2"}, images...)...); !errors.As(err, &refused) ||
		refused.Host != source {
		t.Errorf("without a login for the source: %v", err)
	}
}

// A registry that accepts no content is found before anything is read, and one that lets the
// user only pull is a source.
func TestCopyAndReadOnlyRegistries(t *testing.T) {
	testenv.Slow(t)
	s := newSite(t, registrytest.Embedded(t, server.Options{}).Host())
	readOnly := registrytest.Embedded(t, server.Options{ReadOnly: true}).Host()
	px := registrytest.StartProxy(t, s.host, nil)
	var refused *registry.ReadOnlyError
	if _, err := s.copy(Options{}, px.Host+"/kolla:t1", readOnly+"/site"); !errors.As(err, &refused) ||
		refused.Hint() == "" {
		t.Errorf("to a registry that is read-only: %v", err)
	}
	if n := px.Count("GET", "/blobs/"); n > 0 {
		t.Errorf("%d blobs were read before", n)
	}
	public, _ := registrytest.WithTokens(t, registrytest.TokenOptions{Public: true,
		Accounts: map[string]string{"ada": "s3cret"}})
	logins(t, map[string]string{public: "ada:s3cret"})
	source := newSite(t, public)
	logins(t, nil)
	var denied *registry.UnauthorizedError
	if _, err := source.copy(Options{}, public+"/kolla:t1", public+"/site", "base"); !errors.As(err, &denied) {
		t.Errorf("to a registry from which everyone may pull: %v", err)
	}
	if _, err := source.copy(Options{}, public+"/kolla:t1", s.host+"/site", "base", "nova-api", "keystone"); err != nil {
		t.Error(err)
	}
	source.client = registrytest.Client(t, registry.Options{})
	source.complete(s.host, "site")
}
