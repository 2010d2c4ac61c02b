package nightly

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

// newStore returns a store with an image under each of the names.
func newStore(t *testing.T, names ...string) (*store.Store, digest.Digest) {
	t.Helper()
	s, err := store.Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	d, err := s.WriteImage(t.Context(), registrytest.Base(t, 1000))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := s.Put(store.Entry{Name: name, Digest: d, Kind: store.KindBuilt}); err != nil {
			t.Fatal(err)
		}
	}
	return s, d
}

func TestDefaultsOfTags(t *testing.T) {
	now := time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		tag      string
		also     []string
		want     string
		wantAlso []string
		floating string
		added    bool
	}{
		{tag: "2025.2", want: "2025.2-2026-11-28", wantAlso: []string{"2025.2"}, floating: "2025.2", added: true},
		{tag: "a", also: []string{"b", "a"}, want: "a-2026-11-28", wantAlso: []string{"a", "b"}, floating: "a", added: true},
		{tag: "a-2026-11-01", want: "a-2026-11-01"},
		{tag: "a-2026-11-01", also: []string{"a"}, want: "a-2026-11-01", wantAlso: []string{"a"}, floating: "a"},
	} {
		cfg, n := Defaults(&config.Config{Tag: c.tag, AlsoTag: c.also}, now)
		if cfg.Tag != c.want || !slices.Equal(cfg.AlsoTag, c.wantAlso) || n.Floating != c.floating || n.AddedDate != c.added {
			t.Errorf("%s %v: %s %v, %+v", c.tag, c.also, cfg.Tag, cfg.AlsoTag, n)
		}
		if !cfg.Refresh || !cfg.Push || cfg.Retain == "" {
			t.Errorf("%s: refresh %v, push %v, retain %q", c.tag, cfg.Refresh, cfg.Push, cfg.Retain)
		}
	}
}

// TestUnusedTag checks that a second set of one day gets its own tag, in the store and in
// a registry, also if only one image of the first set is there.
func TestUnusedTag(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Addr().String()
	client := registrytest.Client(t, registry.Options{Timeout: 10 * time.Second})
	refs := []string{host + "/kolla/base:d", host + "/kolla/leaf:d"}
	s, _ := newStore(t, host+"/kolla/leaf:d", host+"/kolla/base:d-2")
	if tag, err := UnusedTag(t.Context(), "d", refs, Destination{Store: s}); err != nil || tag != "d-3" {
		t.Errorf("store: %q, %v", tag, err)
	}
	if tag, err := UnusedTag(t.Context(), "d", refs, Destination{Client: client, Store: s}); err != nil || tag != "d" {
		t.Errorf("empty registry: %q, %v", tag, err)
	}
	name, err := name.ParseReference(host + "/kolla/leaf:d")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(name, registrytest.Base(t, 1000)); err != nil {
		t.Fatal(err)
	}
	if tag, err := UnusedTag(t.Context(), "d", refs, Destination{Client: client, Store: s}); err != nil || tag != "d-2" {
		t.Errorf("registry: %q, %v", tag, err)
	}
}

// TestNothingNew checks that a night publishes nothing only if the floating tag names every
// image of the plan.
func TestNothingNew(t *testing.T) {
	s, d := newStore(t, "kolla/base:t", "kolla/leaf:t")
	items := func(action plan.Action, leaf digest.Digest) *plan.Plan {
		return &plan.Plan{Items: []*plan.Item{
			{Image: image.ID{Name: "base"}, Reference: "kolla/base:t-1", Action: plan.Keep, Digest: d},
			{Image: image.ID{Name: "leaf"}, Reference: "kolla/leaf:t-1", Action: action, Digest: leaf},
		}}
	}
	night := &Night{Floating: "t"}
	for name, c := range map[string]struct {
		night *Night
		plan  *plan.Plan
		want  bool
	}{
		"all named":         {night, items(plan.Keep, d), true},
		"an image is built": {night, items(plan.Build, d), false},
		"another digest":    {night, items(plan.Keep, digest.FromString("other")), false},
		"another tag":       {&Night{Floating: "u"}, items(plan.Keep, d), false},
		"no floating tag":   {&Night{}, items(plan.Keep, d), false},
		"not a nightly run": {nil, items(plan.Keep, d), false},
	} {
		if got := c.night.NothingNew(c.plan, s, nil); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestLockIsHeldOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	unlock, err := Lock(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Lock(dir); !errors.Is(err, ErrBusy) {
		t.Errorf("a second run: %v", err)
	}
	unlock()
	if unlock, err = Lock(dir); err != nil {
		t.Fatalf("after the first run: %v", err)
	}
	unlock()
}
