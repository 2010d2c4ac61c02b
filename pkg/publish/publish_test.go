package publish

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/registrytest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
)

func TestMain(m *testing.M) { registrytest.Main(m) }

// site is a store with images, and a client.
type site struct {
	t      *testing.T
	store  *store.Store
	client *registry.Client
	dir    string
	stderr bytes.Buffer
}

func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{t: t, dir: t.TempDir(), client: registrytest.Client(t, registry.Options{Timeout: 10 * time.Second})}
	var err error
	if s.store, err = store.Open(filepath.Join(s.dir, "store")); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.store.Close() })
	return s
}

// images writes new images to the store and returns them as a set of a registry.
func (s *site) images(host, tag string, names ...string) Set {
	s.t.Helper()
	set := Set{}
	for _, name := range names {
		d, err := s.store.WriteImage(s.t.Context(), registrytest.Base(s.t, 3000))
		if err != nil {
			s.t.Fatal(err)
		}
		ref := host + "/kolla/" + name + ":" + tag
		if err := s.store.Put(store.Entry{Name: ref, Digest: d, Kind: store.KindBuilt}); err != nil {
			s.t.Fatal(err)
		}
		set[ref] = d
	}
	return set
}

func (s *site) console() *console.Console {
	return &console.Console{Stdout: io.Discard, Stderr: &s.stderr}
}

// open opens the registry of a set as a run does when it starts.
func (s *site) open(set Set, alsoTags ...string) Target {
	s.t.Helper()
	r, err := OpenRegistry(s.t.Context(), set.References(),
		RegistryOptions{Console: s.console(), Client: s.client, Store: s.store,
			AlsoTags: alsoTags, Journal: JournalDir(s.dir), Recover: true})
	if err != nil {
		s.t.Fatal(err)
	}
	return Target{Console: s.console(), Store: s.store, Registry: r, AlsoTags: alsoTags, Threads: 2}
}

// tagged returns what a name names in the registry, "" for nothing.
func (s *site) tagged(name string) digest.Digest {
	s.t.Helper()
	d, err := s.client.Head(s.t.Context(), name)
	var notFound *registry.NotFoundError
	if err != nil && !errors.As(err, &notFound) {
		s.t.Fatal(err)
	}
	return d.Digest
}

func (s *site) inStore(name string) digest.Digest {
	s.t.Helper()
	e, _, err := s.store.Lookup(name)
	if err != nil {
		s.t.Fatal(err)
	}
	return e.Digest
}

func TestPublishTagsTheWholeSet(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		s := newSite(t)
		first := s.images(host, "1", "base", "nova-api")
		target := s.open(first, "nightly")
		for ref, d := range first {
			if c := target.Registry.Change(ref, d); c != ChangeNew {
				t.Errorf("%s: the preview says %q, want new", ref, c)
			}
		}
		out, err := target.Publish(t.Context(), first, true)
		if err != nil || !out.Published {
			t.Fatalf("published %v, %v", out.Published, err)
		}
		for ref, d := range first {
			for _, name := range Names(ref, []string{"nightly"}) {
				registrytest.MustPull(t, host, name, d)
				if s.inStore(name) != d {
					t.Errorf("%s names %s in the store", name, s.inStore(name))
				}
			}
			if !out.Named[ref] || !out.Changed[ref] {
				t.Errorf("%s: named %v, changed %v", ref, out.Named[ref], out.Changed[ref])
			}
		}

		// The next set keeps one image. Its floating tag does not change.
		second := s.images(host, "2", "nova-api")
		for ref, d := range first {
			if strings.Contains(ref, "/base:") {
				second[WithTag(ref, "2")] = d
			}
		}
		target = s.open(second, "nightly")
		for ref, d := range second {
			want := ChangeReplaced
			if strings.Contains(ref, "/base:") {
				want = ChangeNew // of tag 2; nightly names it already
			}
			if c := target.Registry.Change(ref, d); c != want {
				t.Errorf("%s: the preview says %q, want %q", ref, c, want)
			}
		}
		if _, err := target.Publish(t.Context(), second, true); err != nil {
			t.Fatal(err)
		}
		for ref, d := range second {
			if got := s.tagged(WithTag(ref, "nightly")); got != d {
				t.Errorf("%s: nightly names %s, want %s", ref, got, d)
			}
		}
		// A run without changes reports that.
		target = s.open(second, "nightly")
		out, err = target.Publish(t.Context(), second, true)
		if err != nil || slices.Contains(slices.Collect(maps.Values(out.Changed)), true) ||
			target.Registry.Stats().Tags != 0 {
			t.Errorf("publishing again: changed %v, %d tags, %v", out.Changed, target.Registry.Stats().Tags, err)
		}
	})
}

// A tag that named the right image when the run began, and that another publisher has changed
// since, is part of the set, too.
func TestTagsThatChangedDuringTheRun(t *testing.T) {
	host := registrytest.Embedded(t, server.Options{}).Host()
	s := newSite(t)
	first := s.images(host, "1", "base", "nova-api")
	if _, err := s.open(first, "nightly").Publish(t.Context(), first, true); err != nil {
		t.Fatal(err)
	}
	base := host + "/kolla/base:1"
	second := s.images(host, "1", "nova-api")
	second[base] = first[base]
	target := s.open(second, "nightly")
	other := s.images(host, "other", "base")
	also := s.open(other, "nightly")
	if _, err := also.Publish(t.Context(), other, true); err != nil {
		t.Fatal(err)
	}
	if _, err := target.Publish(t.Context(), second, true); err != nil {
		t.Fatal(err)
	}
	for ref, d := range second {
		for _, name := range Names(ref, []string{"nightly"}) {
			if got := s.tagged(name); got != d {
				t.Errorf("%s names %s, the set has %s", name, got, d)
			}
		}
	}
}

// If the registry refuses one tag, no tag changes, and the outcome says which
// images are not published and why.
func TestPublishAllOrNothing(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, backend string) {
		s := newSite(t)
		proxy := registrytest.StartProxy(t, backend, nil)
		old := s.images(proxy.Host, "t", "base", "nova-api")
		target := s.open(old)
		if _, err := target.Publish(t.Context(), old, true); err != nil {
			t.Fatal(err)
		}
		set := s.images(proxy.Host, "t", "base", "nova-api")
		target = s.open(set)
		proxy.Set(func(r *http.Request) registrytest.Fault {
			if r.Method == http.MethodPut && strings.HasSuffix(r.URL.Path, "/nova-api/manifests/t") {
				return registrytest.Status503
			}
			return registrytest.None
		})
		out, err := target.Publish(t.Context(), set, true)
		if err == nil || out.Published {
			t.Fatalf("published %v, %v", out.Published, err)
		}
		proxy.Set(nil)
		for ref, d := range old {
			if got := s.tagged(ref); got != d {
				t.Errorf("%s names %s, want the old %s", ref, got, d)
			}
			if out.Failed[ref] == nil || out.Named[ref] {
				t.Errorf("%s: failed %v, named %v", ref, out.Failed[ref], out.Named[ref])
			}
		}
		if failed := out.Failed[proxy.Host+"/kolla/nova-api:t"].Error(); !strings.Contains(failed, "503") {
			t.Errorf("the refused tag failed with %q", failed)
		}
	})
}

func TestUploadWhileOthersBuild(t *testing.T) {
	s := newSite(t)
	host := registrytest.Debian(t)
	set := s.images(host, "t", "base")
	target := s.open(set)
	for ref, d := range set {
		if err := target.Registry.Upload(t.Context(),
			&plan.Item{Image: image.ID{Name: "base"}, Reference: ref}, d); err != nil {
			t.Fatal(err)
		}
		if got := s.tagged(ref); got != "" {
			t.Errorf("the tag was set before the set was complete: %s", got)
		}
		registrytest.MustPull(t, host, repository(ref)+"@"+d.String(), d)
	}
	if _, err := target.Publish(t.Context(), set, false); err != nil {
		t.Fatal(err)
	}
	for ref, d := range set {
		registrytest.MustPull(t, host, ref, d)
	}
}

// A damaged blob is removed from the store, so that its image is built again.
func TestDamagedBlobIsNotPublished(t *testing.T) {
	s := newSite(t)
	host := registrytest.Debian(t)
	set := s.images(host, "t", "base")
	target := s.open(set)
	for ref, d := range set {
		blobs, err := s.store.Blobs(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		layer := blobs[len(blobs)-1].Digest
		path := filepath.Join(s.dir, "store", "blobs", layer.Algorithm().String(), layer.Encoded())
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o644), os.WriteFile(path, content, 0o644)); err != nil {
			t.Fatal(err)
		}
		_, err = target.Publish(t.Context(), set, true)
		var damage *repair.DamageError
		if !errors.As(err, &damage) {
			t.Fatalf("publishing damaged content: %v", err)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the damaged blob is still there: %v", err)
		}
		if got := s.tagged(ref); got != "" {
			t.Errorf("%s names %s", ref, got)
		}
	}
}

func TestUnreachableRegistryIsFoundFirst(t *testing.T) {
	s := newSite(t)
	_, err := OpenRegistry(t.Context(), []string{registrytest.FreeAddr(t) + "/kolla/base:t"},
		RegistryOptions{Console: s.console(), Client: s.client, Store: s.store})
	var unreachable *registry.UnreachableError
	if !errors.As(err, &unreachable) {
		t.Errorf("a registry that does not run: %v", err)
	}
}

// Retention removes older sets of the same series, in the registry and in the
// store, and nothing else.
func TestOlderSetsAreRemoved(t *testing.T) {
	registrytest.Each(t, func(t *testing.T, host string) {
		s := newSite(t)
		other := s.images(host, "release-2026-11-01", "base")
		if _, err := s.open(other).Publish(t.Context(), other, true); err != nil {
			t.Fatal(err)
		}
		var sets []Set
		for _, tag := range []string{"2026-11-20", "2026-11-21", "2026-11-22"} {
			set := s.images(host, tag, "base", "nova-api")
			retention, err := ParseRetention("2", []string{tag}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			target := s.open(set)
			target.Retention = retention
			s.stderr.Reset()
			if err := target.PreviewExpiry(t.Context(), set.References()); err != nil {
				t.Fatal(err)
			}
			if got, want := strings.Contains(s.stderr.String(), "2026-11-20"), tag == "2026-11-22"; got != want {
				t.Errorf("%s: the preview names the oldest set: %v\n%s", tag, got, s.stderr.String())
			}
			if _, err := target.Publish(t.Context(), set, true); err != nil {
				t.Fatal(err)
			}
			sets = append(sets, set)
		}
		for i, set := range append(sets, other) {
			for ref, d := range set {
				want := d
				if i == 0 {
					want = ""
				}
				if got := s.tagged(ref); got != want {
					t.Errorf("%s names %q in the registry, want %q", ref, got, want)
				}
				if got := s.inStore(ref); got != want {
					t.Errorf("%s names %q in the store, want %q", ref, got, want)
				}
			}
		}
	})
}

// A set without a registry gets its further tags in the store.
func TestPublishInTheStore(t *testing.T) {
	s := newSite(t)
	set := s.images("registry.example", "t", "base")
	out, err := Target{Console: s.console(), Store: s.store, AlsoTags: []string{"also"}}.Publish(t.Context(), set, true)
	if err != nil || out.Published {
		t.Fatalf("published %v, %v", out.Published, err)
	}
	for ref, d := range set {
		if got := s.inStore(WithTag(ref, "also")); got != d {
			t.Errorf("also names %q, want %q", got, d)
		}
	}
}

// An image belongs to the set if it and all images that it depends on exist on every
// platform.
func TestComplete(t *testing.T) {
	id := func(name, platform string) image.ID { return image.ID{Name: name, Platform: platform} }
	for _, several := range []bool{false, true} {
		var in []plan.Input
		platforms := []string{""}
		if several {
			platforms = []string{"linux/amd64", "linux/arm64"}
		}
		for _, p := range platforms {
			in = append(in,
				plan.Input{Image: id("base", p), Reference: "base:t"},
				plan.Input{Image: id("ok", p), Reference: "ok:t", Needs: []image.ID{id("base", p)}},
				plan.Input{Image: id("failed", p), Reference: "failed:t", Needs: []image.ID{id("base", p)}},
				plan.Input{Image: id("child", p), Reference: "child:t", Needs: []image.ID{id("failed", p)}})
		}
		p := plan.New(in, plan.History{Stored: func(digest.Digest) (plan.StoredImage,
			bool) {
			return plan.StoredImage{}, false
		},
			Parts:    func(image.ID) (map[string]string, bool) { return nil, false },
			Duration: func(image.ID) (time.Duration, bool) { return 0, false }}, false)
		var results []build.Result
		for i, it := range p.Items {
			res := build.Result{Image: it.Image, Reference: it.Reference, Status: build.StatusBuilt,
				Digest: digest.FromString(it.Image.String())}
			if it.Image.Name == "failed" && i == len(p.Items)-2 { // on the last platform only
				res.Status = build.StatusError
			}
			results = append(results, res)
		}
		var indexes map[string]digest.Digest
		want := Set{"base:t": digest.FromString("base"), "ok:t": digest.FromString("ok")}
		missing := []string{"failed", "child"}
		if several {
			indexes = map[string]digest.Digest{"base:t": "sha256:b", "ok:t": "sha256:o"}
			want = Set{"base:t": "sha256:b", "ok:t": "sha256:o"}
			missing = []string{"failed@amd64", "child@amd64", "failed@arm64", "child@arm64"}
		}
		set, left := Complete(p, results, indexes)
		if !maps.Equal(set, want) {
			t.Errorf("several %v: the set is %v, want %v", several, set, want)
		}
		var names []string
		for _, id := range left {
			names = append(names, id.String())
		}
		if !slices.Equal(names, missing) {
			t.Errorf("several %v: missing are %v, want %v", several, names, missing)
		}
	}
}

func TestCheckRetentionNeedsNoTags(t *testing.T) {
	for text, ok := range map[string]bool{"": true, "14": true, "30d": true, "bogus": false, "0": false} {
		if err := CheckRetention(text); (err == nil) != ok {
			t.Errorf("--retain %q: %v", text, err)
		}
	}
}

// Permission to push is checked before anything is built, and only if a tag changes.
func TestCheckPush(t *testing.T) {
	s := newSite(t)
	proxy := registrytest.StartProxy(t, registrytest.Debian(t), nil)
	set := s.images(proxy.Host, "t", "base")
	target := s.open(set)
	if err := target.Registry.CheckPush(t.Context(), set); err != nil || proxy.Count("POST") == 0 {
		t.Errorf("a registry that allows it: %v, after %d requests", err, proxy.Count("POST"))
	}
	if _, err := target.Publish(t.Context(), set, true); err != nil {
		t.Fatal(err)
	}
	before := proxy.Count("POST")
	if err := s.open(set).Registry.CheckPush(t.Context(), set); err != nil || proxy.Count("POST") != before {
		t.Errorf("without a change: %v, %d requests", err, proxy.Count("POST")-before)
	}
}

// TestCompleteOfPlatforms checks that nothing but an index of all platforms gets the tags
// of an image in a run for several.
func TestCompleteOfPlatforms(t *testing.T) {
	id := func(name, platform string) image.ID { return image.ID{Name: name, Platform: platform} }
	p := &plan.Plan{}
	var results []build.Result
	for _, name := range []string{"base", "leaf", "joined"} {
		for _, platform := range []string{"linux/amd64", "linux/arm64"} {
			it := &plan.Item{Image: id(name, platform), Reference: "kolla/" + name + ":t"}
			if name == "leaf" {
				it.Needs = []image.ID{id("base", platform)}
			}
			p.Items = append(p.Items, it)
			results = append(results, build.Result{Image: it.Image, Reference: it.Reference, Status: build.StatusBuilt,
				Digest: digest.FromString(name + platform)})
		}
	}
	index := digest.FromString("index")
	set, missing := Complete(p, results, map[string]digest.Digest{"kolla/leaf:t": index, "kolla/joined:t": index})
	if len(set) != 1 || set["kolla/joined:t"] != index || len(missing) != 4 {
		t.Errorf("without an index of base: %v, missing %v", set, missing)
	}
	results[1].Status = build.StatusError // base for arm64
	all := map[string]digest.Digest{"kolla/base:t": index, "kolla/leaf:t": index, "kolla/joined:t": index}
	if set, _ := Complete(p, results, all); len(set) != 1 || set["kolla/joined:t"] != index {
		t.Errorf("base failed for a platform: %v", set)
	}
}

// Damage of a blob whose file counts as verified, because a medium changed it without changing its
// times, is found when the registry does not accept it. No tag changes, and the blob is removed.
func TestDamageSinceVerification(t *testing.T) {
	testenv.Slow(t)
	registrytest.Each(t, func(t *testing.T, host string) {
		s := newSite(t)
		set := s.images(host, "1", "base")
		if err := s.store.SaveVerified(); err != nil {
			t.Fatal(err)
		}
		ref := set.References()[0]
		blobs, err := s.store.Blobs(t.Context(), set[ref])
		if err != nil {
			t.Fatal(err)
		}
		layer := blobs[len(blobs)-1].Digest
		path := filepath.Join(s.store.Dir(), "blobs", "sha256", layer.Encoded())
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		if err := errors.Join(os.Chmod(path, 0o600), os.WriteFile(path, b, 0o600)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(1100 * time.Millisecond) // a file that has just changed does not count
		recordVerified(t, s.store.Dir(), layer, path)
		if s.store, err = store.Open(s.store.Dir()); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.store.Close() })
		_, err = s.open(set).Publish(t.Context(), set, true)
		var damaged *repair.DamageError
		if !errors.As(err, &damaged) || damaged.Blob.Digest != layer {
			t.Errorf("got %v, want a *repair.DamageError", err)
		}
		if d := s.tagged(ref); d != "" {
			t.Errorf("%s names %s", ref, d)
		}
		if s.store.HasBlob(layer, -1) {
			t.Error("the damaged blob was kept")
		}
	})
}

// recordVerified changes the record of a verification to the present state of a file.
func recordVerified(t *testing.T, dir string, d digest.Digest, path string) {
	t.Helper()
	name := filepath.Join(dir, "verified.json")
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	stamps := map[digest.Digest]map[string]int64{}
	if err := json.Unmarshal(text, &stamps); err != nil || stamps[d] == nil {
		t.Fatalf("%s: %v", text, err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	stamps[d]["mtime"], stamps[d]["ctime"], stamps[d]["inode"] = st.Mtim.Nano(), st.Ctim.Nano(), int64(st.Ino)
	if text, err = json.Marshal(stamps); err == nil {
		err = os.WriteFile(name, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}
