package registry

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// A tag goes, and nothing else: neither the image's other tags nor the image.
func TestDeleteTag(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		p := newClient(t, Options{}).NewPublisher(PublishOptions{})
		img := ociBase(t, 300)
		repo := host + "/kolla/base"
		if _, err := p.Push(ctx, repo, img); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []Tag{{repo + ":a", digestOf(t, img)}, {repo + ":b", digestOf(t, img)}}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // the second time there is nothing to delete
			if err := p.DeleteTag(ctx, repo+":a"); err != nil {
				t.Fatal(err)
			}
			tags, err := p.c.Tags(ctx, repo)
			if err != nil || !slices.Equal(tags, []string{"b"}) {
				t.Errorf("tags %v (%v), want b alone", tags, err)
			}
		}
		mustPull(t, host, "HOST/kolla/base:b", digestOf(t, img))
		if err := p.DeleteTag(ctx, repo+"@"+digestOf(t, img).String()); err == nil {
			t.Error("a digest was deleted")
		}
		if tags, err := p.c.Tags(ctx, host+"/kolla/none"); err != nil || len(tags) != 0 {
			t.Errorf("tags of a repository that does not exist: %v (%v)", tags, err)
		}
	})
}

// A registry that forbids deletion keeps its tags as they are.
func TestDeleteTagForbidden(t *testing.T) {
	eachRegistry(t, func(t *testing.T, host string) {
		ctx := context.Background()
		px := startProxy(t, host, nil)
		next := px.Handler
		px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodDelete && (px.denyTags || strings.Contains(r.URL.Path, "sha256:")) {
				http.Error(w, `{"errors":[{"code":"UNSUPPORTED"}]}`, http.StatusMethodNotAllowed)
				return
			}
			next.ServeHTTP(w, r)
		})
		p := newClient(t, Options{}).NewPublisher(PublishOptions{})
		img := ociBase(t, 300)
		repo := px.host + "/kolla/base"
		if _, err := p.Push(ctx, repo, img); err != nil {
			t.Fatal(err)
		}
		if err := p.Commit(ctx, []Tag{{repo + ":a", digestOf(t, img)}}); err != nil {
			t.Fatal(err)
		}
		px.denyTags = true
		var de *DeleteError
		if err := p.DeleteTag(ctx, repo+":a"); !errors.As(err, &de) || de.Hint() == "" {
			t.Errorf("got %v", err)
		}
		px.denyTags = false
		tag, err := p.c.parse(repo + ":a")
		if err != nil {
			t.Fatal(err)
		}
		// By digest only, and that not either.
		if err := p.deleteByStandIn(ctx, tag.Context().Tag("a")); !errors.As(err, &de) {
			t.Errorf("got %v", err)
		}
		mustPull(t, host, "HOST/kolla/base:a", digestOf(t, img))
	})
}

// What a registry damages when it stores it is found before any tag moves.
func TestManifestsAreReadBack(t *testing.T) {
	host := startEmbedded(t, ServeOptions{}).Host()
	px := startProxy(t, host, nil)
	next := px.Handler
	px.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/sha256:") {
			_, _ = w.Write([]byte(`{"schemaVersion":2}`))
			return
		}
		next.ServeHTTP(w, r)
	})
	p := newClient(t, Options{}).NewPublisher(PublishOptions{})
	var ce *ContentError
	if _, err := p.Push(context.Background(), px.host+"/kolla/base", ociBase(t, 100)); !errors.As(err, &ce) || !ce.Remote {
		t.Errorf("got %v, want a ContentError", err)
	}
}
