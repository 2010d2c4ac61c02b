package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// answering serves a registry that gives the same answer to all requests but GET /v2/.
func answering(t *testing.T, answer http.HandlerFunc) (host string) {
	return registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		if r.URL.Path != "/v2/" {
			answer(w, r)
		}
	}))
}

// TestLongErrorPages checks that the status of an answer decides, also if a long page follows it, or
// less than was announced.
func TestLongErrorPages(t *testing.T) {
	for name, write := range map[string]func(http.ResponseWriter, int){
		"long": func(w http.ResponseWriter, status int) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
		},
		"incomplete": func(w http.ResponseWriter, status int) {
			w.Header().Set("Content-Length", "1000")
			w.WriteHeader(status)
		},
	} {
		for status, want := range map[int]any{
			http.StatusNotFound: new(*registry.NotFoundError), http.StatusUnauthorized: new(*registry.UnauthorizedError),
			http.StatusForbidden: new(*registry.UnauthorizedError), http.StatusTeapot: new(*registry.AnswerError),
		} {
			host := answering(t, func(w http.ResponseWriter, _ *http.Request) { write(w, status) })
			_, err := registrytest.Client(t, registry.Options{Retries: -1}).Repository(ref(t, host)).Manifest(t.Context(), "t")
			if !errors.As(err, want) {
				t.Errorf("%s, status %d: %v", name, status, err)
			}
		}
	}
}

// TestRegistriesForgeNoLines checks that what a registry says is one line of limited length.
func TestRegistriesForgeNoLines(t *testing.T) {
	const says = "no\r\nkolla-build: forged\u2028forged\n  hint: forged"
	body, err := json.Marshal(map[string]any{"errors": []map[string]any{
		{"code": says, "message": says + strings.Repeat("x", 10_000), "detail": map[string]any{says: says}}}})
	if err != nil {
		t.Fatal(err)
	}
	host := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			w.Header().Set("Content-Type", "application/vnd.oci.image.index.v1+json")
			fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[{"digest":%q,"size":1}]}`, "sha256:\nforged")
			return
		}
		w.WriteHeader(http.StatusTeapot)
		_, _ = w.Write(body)
	})
	repo := registrytest.Client(t, registry.Options{Retries: -1}).Repository(ref(t, host))
	_, err = repo.Manifest(t.Context(), "t")
	var answer *registry.AnswerError
	if !errors.As(err, &answer) || !strings.Contains(answer.Says, "no") ||
		strings.ContainsAny(answer.Says, "\r\n\u2028") ||
		len(answer.Says) > 1100 {
		t.Errorf("%q", err)
	}
	if _, _, err := repo.Referrers(t.Context(), digest.FromString("x")); err == nil ||
		strings.Contains(err.Error(), "\n") {
		t.Errorf("referrers: %q", err)
	}
}

// ref is a reference to a repository of a registry.
func ref(t *testing.T, host string) imageref.Ref {
	t.Helper()
	r, err := imageref.Parse(host + "/kolla/base:t")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestUploadsElsewhere checks that a registry cannot have content of others deleted, and that it can
// lead to this machine only if it is there.
func TestUploadsElsewhere(t *testing.T) {
	var mu sync.Mutex
	var requests []string
	victim := registrytest.Serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.Method)
		w.WriteHeader(http.StatusCreated)
	}))
	host := answering(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://"+victim+"/v2/kolla/base/manifests/t")
		w.WriteHeader(http.StatusAccepted)
	})
	if err := registrytest.Client(t, registry.Options{Retries: -1}).CheckPush(t.Context(),
		[]string{host + "/kolla/base:t"}); err != nil {
		t.Error(err)
	}
	if len(requests) > 0 {
		t.Errorf("another host got %q", requests)
	}

	// The registry is on another machine, as far as its name shows.
	client := registrytest.Client(t, registry.Options{Retries: -1, Insecure: []string{"registry.example"}})
	registry.UseProxy(client, &url.URL{Scheme: "http", Host: host})
	blob := registry.Blob{Digest: digest.FromString("x"), Size: 1, Missing: true,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("x")), nil }}
	_, err := client.Repository(ref(t, "registry.example")).Upload(t.Context(), blob, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "registry registry.example leads to this machine") {
		t.Error(err)
	}
	if len(requests) > 0 {
		t.Errorf("this machine got %q", requests)
	}
}

// TestUnreachableTargets checks that an error names the host that cannot be reached, which is not
// always the registry.
func TestUnreachableTargets(t *testing.T) {
	host := answering(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://127.0.0.1:1/x", http.StatusTemporaryRedirect)
	})
	_, err := registrytest.Client(t, registry.Options{Retries: -1}).Head(t.Context(), host+"/kolla/base:t")
	var u *registry.UnreachableError
	if !errors.As(err, &u) || u.Host != "127.0.0.1:1" || u.From != host ||
		strings.Contains(usererr.Hint(err), "registry serve") {
		t.Errorf("%v (%s)", err, usererr.Hint(err))
	}
}
