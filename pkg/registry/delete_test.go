package registry_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// Only the tag is deleted, not the image or its other tags.
func TestDeleteTag(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		c := registrytest.Client(t, registry.Options{})
		p := push.New(c, push.Options{})
		img := registrytest.Base(t, 300)
		repo := host + "/kolla/base"
		if _, err := p.Push(ctx, repo, img); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []push.Tag{{Ref: repo + ":a", Digest: registrytest.Digest(t, img)},
			{Ref: repo + ":b", Digest: registrytest.Digest(t, img)}}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing to delete
			if err := c.DeleteTag(ctx, repo+":a"); err != nil {
				t.Fatal(err)
			}
			tags, err := registrytest.Client(t, registry.Options{}).Tags(ctx, repo)
			if err != nil || !slices.Equal(tags, []string{"b"}) {
				t.Errorf("tags %v (%v), want b alone", tags, err)
			}
		}
		registrytest.MustPull(t, host, "HOST/kolla/base:b", registrytest.Digest(t, img))
		if err := c.DeleteTag(ctx, repo+"@"+registrytest.Digest(t, img).String()); err == nil {
			t.Error("a digest was deleted")
		}
		if tags, err := registrytest.Client(t, registry.Options{}).Tags(ctx, host+"/kolla/none"); err != nil ||
			len(tags) != 0 {
			t.Errorf("tags of a repository that does not exist: %v (%v)", tags, err)
		}
	})
}

// A registry that forbids deletion keeps its tags unchanged.
func TestDeleteTagForbidden(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := registrytest.StartProxy(t, host, nil)
		denyTags := false
		next := px.Handler
		px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete && (denyTags || strings.Contains(r.URL.Path, "sha256:")) {
				http.Error(w, `{"errors":[{"code":"UNSUPPORTED"}]}`, http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, r)
		})
		c := registrytest.Client(t, registry.Options{})
		p := push.New(c, push.Options{})
		img := registrytest.Base(t, 300)
		repo := px.Host + "/kolla/base"
		if _, err := p.Push(ctx, repo, img); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []push.Tag{{Ref: repo + ":a", Digest: registrytest.Digest(t, img)}}); err != nil {
			t.Fatal(err)
		}
		denyTags = true
		var de *registry.DeleteError
		if err := c.DeleteTag(ctx, repo+":a"); !errors.As(err, &de) || de.Hint() == "" {
			t.Errorf("got %v", err)
		}
		denyTags = false
		ref, err := imageref.Parse(repo + ":a")
		if err != nil {
			t.Fatal(err)
		}
		// By digest only, and that not either.
		if err := registry.DeleteByPlaceholder(c.Repository(ref), ctx, "a"); !errors.As(err, &de) {
			t.Errorf("got %v", err)
		}
		registrytest.MustPull(t, host, "HOST/kolla/base:a", registrytest.Digest(t, img))
	})
}

// Content that a registry damages is found before any tag is changed.
func TestManifestsAreReadBack(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, nil)
	next := px.Handler
	px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			_, _ = w.Write([]byte(`{"schemaVersion":2}`))
			return
		}
		next.ServeHTTP(w, r)
	})
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	var ce *registry.ContentError
	if _, err := p.Push(context.Background(), px.Host+"/kolla/base", registrytest.Base(t, 100)); !errors.As(err, &ce) ||
		!ce.Remote {
		t.Errorf("got %v, want a registry.ContentError", err)
	}
}
