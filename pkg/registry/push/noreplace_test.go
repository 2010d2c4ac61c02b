package push_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// withoutReplacing returns tags that must not replace others, with another tag's name if that is
// not "".
func withoutReplacing(tags []push.Tag, name string) []push.Tag {
	var out []push.Tag
	for _, tag := range tags {
		if name != "" {
			tag.Ref = strings.TrimSuffix(tag.Ref, ":t") + ":" + name
		}
		out = append(out, push.Tag{Ref: tag.Ref, Digest: tag.Digest, NoReplace: true})
	}
	return out
}

// Tags that must not be replaced are updated if they are new or name the image already. If one
// names another image, none is changed.
func TestCommitWithoutReplacing(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		p := push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: t.TempDir()})
		before, after := twoSets(t, p, host, 3)
		wanted := append(withoutReplacing(before, ""), withoutReplacing(after, "new")...)
		if err := p.Commit(t.Context(), wanted); err != nil {
			t.Fatal(err)
		}
		mustReferTo(t, host, wanted)

		wanted = append(withoutReplacing(after[:1], ""), withoutReplacing(after, "newer")...)
		wanted = append(wanted, after[1]) // may be replaced
		var taken *push.TagsTakenError
		if err := p.Commit(t.Context(), wanted); !errors.As(err, &taken) || len(taken.Refs) != 1 ||
			taken.Refs[0] != before[0].Ref {
			t.Errorf("%v", err)
		}
		mustReferTo(t, host, before)
		var missing *registry.NotFoundError
		if _, err := registrytest.Client(t, registry.Options{}).Head(t.Context(),
			withoutReplacing(after, "newer")[0].Ref); !errors.As(err, &missing) {
			t.Errorf("a new tag of a refused set: %v", err)
		}
	})
}

// If another publisher takes a tag at the same moment, its image keeps it, and the other tags
// are restored.
func TestRivalOfACommitWithoutReplacing(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	px := registrytest.StartProxy(t, host, nil)
	p := push.New(registrytest.Client(t, registry.Options{}), push.Options{Journal: t.TempDir()})
	before, after := twoSets(t, p, px.Host, 2)
	mine := withoutReplacing(after, "june")
	theirs := withoutReplacing(before[:1], "june")
	theirs[0].Ref = host + theirs[0].Ref[strings.IndexByte(theirs[0].Ref, '/'):]
	rival := push.New(registrytest.Client(t, registry.Options{}), push.Options{})
	heads := 0
	px.Set(func(r *http.Request) registrytest.Fault {
		if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "image-0/manifests/june") {
			if heads++; heads == 2 { // the first is before the update, the second after it
				if err := rival.Commit(t.Context(), []push.Tag{{Ref: theirs[0].Ref, Digest: theirs[0].Digest}}); err != nil {
					t.Error(err)
				}
			}
		}
		return registrytest.None
	})
	err := p.Commit(t.Context(), mine)
	px.Set(nil)
	var conflict *push.ConflictError
	if !errors.As(err, &conflict) {
		t.Errorf("%v", err)
	}
	mustReferTo(t, host, theirs)
	var missing *registry.NotFoundError
	if _, err := registrytest.Client(t, registry.Options{}).Head(t.Context(), mine[1].Ref); !errors.As(err, &missing) {
		t.Errorf("the other tag: %v", err)
	}
}
