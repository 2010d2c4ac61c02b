package server_test

import (
	"net/http"
	"strings"
	"testing"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// Blobs are mounted for those who may push only, although anyone may pull.
func TestMountsNeedLogins(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{Htpasswd: registrytest.Htpasswd(t, "ada", "s3cret"),
		Anonymous: server.AccessPull}).Host()
	request := func(method, address, password, body string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if password != "" {
			req.SetBasicAuth("ada", password)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp
	}
	d := digest.FromString("content")
	location, err := request(http.MethodPost, "http://"+host+"/v2/first/app/blobs/uploads/", "s3cret", "").Location()
	if err != nil {
		t.Fatal(err)
	}
	query := location.Query()
	query.Set("digest", d.String())
	location.RawQuery = query.Encode()
	if resp := request(http.MethodPut, location.String(), "s3cret", "content"); resp.StatusCode != http.StatusCreated {
		t.Fatalf("upload: %s", resp.Status)
	}
	for _, c := range []struct {
		password       string
		mount, present int
	}{
		{"", http.StatusUnauthorized, http.StatusNotFound},
		{"wrong", http.StatusUnauthorized, http.StatusNotFound},
		{"s3cret", http.StatusCreated, http.StatusOK},
	} {
		resp := request(http.MethodPost, "http://"+host+"/v2/second/app/blobs/uploads/?mount="+d.String(), c.password, "")
		if resp.StatusCode != c.mount {
			t.Errorf("password %q: %s, want %d", c.password, resp.Status, c.mount)
		}
		resp = request(http.MethodHead, "http://"+host+"/v2/second/app/blobs/"+d.String(), "", "")
		if resp.StatusCode != c.present {
			t.Errorf("after password %q: %s, want %d", c.password, resp.Status, c.present)
		}
	}
}
