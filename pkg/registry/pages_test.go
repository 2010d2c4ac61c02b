package registry_test

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// quayPages gives lists as quay.io does: in short pages, with its own token in the link
// to the next one.
func quayPages(t *testing.T, backend string) (host string) {
	return registrytest.Serve(t, &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(&url.URL{Scheme: "http", Host: backend})
			r.Out.Host = r.In.Host
			query := r.In.URL.Query()
			if query.Has("n") {
				query.Set("n", "2")
				query.Del("last")
				if token := query.Get("next_page"); token != "" {
					query.Set("last", token)
				}
				r.Out.URL.RawQuery = query.Encode()
			}
		},
		ModifyResponse: func(resp *http.Response) error {
			if link := resp.Header.Get("Link"); link != "" {
				resp.Header.Set("Link", `</v2/>; rel="first", `+strings.Replace(link, "last=", "next_page=", 1))
			}
			return nil
		},
	})
}

func TestPagesOfAnyRegistry(t *testing.T) {
	backend := registrytest.Embedded(t, server.Options{}).Host()
	client := registrytest.Client(t, registry.Options{})
	publisher := push.New(client, push.Options{})
	img := registrytest.Base(t, 100)
	var tags []push.Tag
	var wantTags, wantRepositories []string
	for i := range 5 {
		repository := fmt.Sprintf("kolla/image-%d", i)
		d, err := publisher.Push(t.Context(), backend+"/"+repository, img)
		if err != nil {
			t.Fatal(err)
		}
		tag := fmt.Sprintf("t%d", i)
		tags = append(tags, push.Tag{Ref: backend + "/" + repository + ":t", Digest: d.Digest},
			push.Tag{Ref: backend + "/kolla/image-0:" + tag, Digest: d.Digest})
		wantTags, wantRepositories = append(wantTags, tag), append(wantRepositories, repository)
	}
	wantTags = append([]string{"t"}, wantTags...)
	if err := publisher.Commit(t.Context(), tags); err != nil {
		t.Fatal(err)
	}
	host := quayPages(t, backend)
	got, err := client.Tags(t.Context(), host+"/kolla/image-0")
	if slices.Sort(got); err != nil || !slices.Equal(got, wantTags) {
		t.Errorf("tags %q, %v, want %q", got, err, wantTags)
	}
	got, err = client.Repositories(t.Context(), host, "kolla/")
	if err != nil || !slices.Equal(got, wantRepositories) {
		t.Errorf("repositories %q, %v, want %q", got, err, wantRepositories)
	}
}

// A list is not complete if its next page cannot be requested.
func TestPageThatCannotBeRequested(t *testing.T) {
	host := hostileRegistry(t, map[string]func(http.ResponseWriter, *http.Request){"/tags/list": func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Link", `</v2/kolla/base/tags/list/page/2>; rel="next"`)
		fmt.Fprint(w, `{"tags":["t"]}`)
	}})
	if got, err := registrytest.Client(t, registry.Options{}).Tags(t.Context(), host+"/kolla/base"); err == nil ||
		!strings.Contains(err.Error(), "/page/2") {
		t.Errorf("%q, %v", got, err)
	}
}

// Without a login, a registry may list nothing and serve everything else, or serve nothing.
func TestHintOfMissingCatalog(t *testing.T) {
	for _, c := range []struct {
		err          error
		login, names bool
	}{
		{&registry.UnauthorizedError{Host: "site.example:4000"}, true, true},
		{&registry.UnauthorizedError{Host: "site.example:4000", Denied: true}, false, true},
		{&registry.NotFoundError{}, false, true},
	} {
		hint := (&registry.NoCatalogError{Host: "site.example:4000", Err: c.err}).Hint()
		login, names := strings.Contains(hint, "docker login site.example:4000"),
			strings.Contains(hint, "name the images in full")
		if login != c.login || names != c.names {
			t.Errorf("%v: %s", c.err, hint)
		}
	}
}
