package engineload

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// child returns an image with one more layer than its parent.
func child(t *testing.T, parent v1.Image) v1.Image {
	t.Helper()
	layer, err := random.Layer(100_000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(parent, layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func scratch(t *testing.T) v1.Image {
	t.Helper()
	img, err := mutate.ConfigFile(mutate.MediaType(empty.Image, types.OCIManifestSchema1),
		&v1.ConfigFile{OS: "linux", Architecture: "amd64"})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// chain stores base, service-base and service, each the parent of the next, and
// returns their plan.
func chain(t *testing.T, s *store.Store) (*plan.Plan, map[string]digest.Digest) {
	t.Helper()
	p, digests := &plan.Plan{}, map[string]digest.Digest{}
	img, parent := scratch(t), image.ID{}
	for _, name := range []string{"base", "service-base", "service"} {
		img = child(t, img)
		d, err := s.WriteImage(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		reference := "registry.example/kolla/" + name + ":t"
		if err := s.Put(store.Entry{Name: reference, Digest: d, Kind: store.KindBuilt}); err != nil {
			t.Fatal(err)
		}
		id := image.ID{Name: name}
		p.Items = append(p.Items, &plan.Item{Image: id, Parent: parent, Reference: reference, Action: plan.Build})
		digests[reference] = d
		parent = id
	}
	return p, digests
}

// dockerSet is a set in a store, and a Docker to load it into.
type dockerSet struct {
	addr    string
	store   *store.Store
	plan    *plan.Plan
	digests map[string]digest.Digest // by reference
}

func (d *dockerSet) open(t *testing.T) *engine.Engine {
	t.Helper()
	e, err := engine.Open(t.Context(), engine.Options{Kind: engine.Docker, Addr: d.addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// ancestors returns the digests of the stored ancestors of an image, the parent first.
func (d *dockerSet) ancestors(it *plan.Item) []digest.Digest {
	var found []digest.Digest
	for _, candidate := range slices.Backward(d.plan.Items) {
		if candidate.Image == it.Parent || len(found) > 0 {
			found = append(found, d.digests[candidate.Reference])
		}
	}
	return found
}

func TestDocker(t *testing.T) {
	d := &dockerSet{addr: testenv.Dockerd(t, "").Addr, store: storetest.Open(t)}
	d.plan, d.digests = chain(t, d.store)
	t.Run("images of a run", d.imagesOfRun)

	t.Run("a parent that failed", d.failedParent)

	t.Run("another platform's image stays out", d.otherPlatform)

	t.Run("set", d.set)

	t.Run("names of other images", d.names)

	t.Run("copy", d.copy)
}

func (d *dockerSet) imagesOfRun(t *testing.T) {
	e := d.open(t)
	var mu sync.Mutex
	started, transfers := map[image.ID]bool{}, 0
	l := NewLoader(Options{Engine: e, Store: d.store, Plan: d.plan, Ancestors: d.ancestors,
		Emit: func(event build.Event) {
			mu.Lock()
			defer mu.Unlock()
			if event.Kind == build.EventTransfer {
				transfers++
			}
			if event.Kind == build.EventImageStart {
				started[event.Image] = true
			}
		}})
	var uploads sync.WaitGroup // all at once: children wait for their parents
	for _, it := range d.plan.Items {
		uploads.Go(func() {
			if err := l.Upload(t.Context(), it, d.digests[it.Reference]); err != nil {
				t.Error(err)
			}
		})
	}
	uploads.Wait()
	for _, it := range d.plan.Items {
		if !e.Has(it.Reference) || l.Loaded(it.Reference) != e.String() {
			t.Errorf("%s is not in %s", it.Image, e)
		}
	}
	// Each image sends the one layer that its parent does not have.
	if text := l.Summary(); !strings.Contains(text, "3 images: 3 loaded (3 layers, ") ||
		!strings.Contains(text, "3 layers already present") {
		t.Errorf("summary %q", text)
	}
	if transfers == 0 || len(started) > 0 {
		t.Errorf("%d events of transfers; images that are built were started again: %v", transfers, started)
	}
	if l.Loaded("registry.example/kolla/other:t") != "" {
		t.Error("an image that is in no plan was loaded")
	}
}

func (d *dockerSet) failedParent(t *testing.T) {
	e := d.open(t)
	l := NewLoader(Options{Engine: e, Store: d.store, Plan: d.plan,
		Ancestors: func(*plan.Item) []digest.Digest { return nil },
		Emit:      func(build.Event) {}})
	parent, child := d.plan.Items[1], d.plan.Items[2]
	l.Handle(build.Event{Kind: build.EventImageEnd, Image: parent.Image})
	l.Handle(build.Event{Kind: build.EventImageEnd, Image: parent.Image})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := l.Upload(ctx, child, d.digests[child.Reference]); err != nil {
		t.Errorf("its child: %v", err)
	}
}

func (d *dockerSet) otherPlatform(t *testing.T) {
	e := d.open(t)
	it := &plan.Item{Image: image.ID{Name: "service", Platform: "linux/s390x"},
		Reference: "registry.example/kolla/s390x:t"}
	l := NewLoader(Options{Engine: e, Store: d.store, Plan: &plan.Plan{Items: []*plan.Item{it}}})
	if err := l.Upload(t.Context(), it, d.digests[d.plan.Items[0].Reference]); err != nil {
		t.Fatal(err)
	}
	if e.Has(it.Reference) || l.Summary() != "" {
		t.Errorf("it was loaded: %q", l.Summary())
	}
}

func (d *dockerSet) set(t *testing.T) {
	e := d.open(t)
	text, err := LoadSet(t.Context(), e, d.store, d.digests, false)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text, "3 images: 0 loaded, 3 already present") {
		t.Errorf("loaded again: %q", text)
	}
	tagged := map[string]digest.Digest{}
	for reference, content := range d.digests {
		tagged[strings.TrimSuffix(reference, "t")+"u"] = content
	}
	text, err = LoadSet(t.Context(), e, d.store, tagged, false)
	if err != nil || !strings.Contains(text, "0 loaded, 3 tagged") {
		t.Errorf("under another tag: %q, %v", text, err)
	}
}

// names loads images under names that the engine has for others, and under two names that are
// the same there.
func (d *dockerSet) names(t *testing.T) {
	e := d.open(t)
	load := func(replace bool, set map[string]digest.Digest) error {
		_, err := LoadSet(t.Context(), e, d.store, set, replace)
		return err
	}
	one, two := d.digests[d.plan.Items[0].Reference], d.digests[d.plan.Items[1].Reference]
	// The engine gets the name after its images were listed.
	other := d.open(t)
	if _, err := LoadSet(t.Context(), other, d.store, map[string]digest.Digest{"taken:t": one}, false); err != nil {
		t.Fatal(err)
	}
	id := other.ID("taken:t")
	for _, name := range []string{"taken:t", "docker.io/library/taken:t", "library/taken:t"} {
		err := load(false, map[string]digest.Digest{"free:t": two, name: two})
		var taken *NamesTakenError
		if !errors.As(err, &taken) || !slices.Equal(taken.Names, []string{name}) ||
			!strings.Contains(usererr.Hint(err), "--replace") {
			t.Errorf("%s: %v", name, err)
		}
		if again := d.open(t); again.ID("taken:t") != id || again.Has("free:t") {
			t.Errorf("%s: the engine was changed", name)
		}
	}
	if err := load(false, map[string]digest.Digest{"docker.io/library/taken:t": one}); err != nil {
		t.Errorf("the same image: %v", err)
	}
	for _, replace := range []bool{false, true} {
		err := load(replace, map[string]digest.Digest{"twin:t": one, "docker.io/library/twin:t": two})
		if err == nil || !strings.Contains(err.Error(), "have the same name in Docker") || d.open(t).Has("twin:t") {
			t.Errorf("two names: %v", err)
		}
	}
	if err := load(true, map[string]digest.Digest{"taken:t": two}); err != nil || d.open(t).ID("taken:t") == id {
		t.Errorf("replaced: %v", err)
	}
}

func (d *dockerSet) copy(t *testing.T) {
	e := d.open(t)
	other := storetest.Open(t)
	reference := d.plan.Items[2].Reference
	if err := Copy(t.Context(), e, other, reference, store.KindBase); err != nil {
		t.Fatal(err)
	}
	entry, ok, err := other.Lookup(reference)
	if err != nil || !ok || entry.Kind != store.KindBase || entry.Origin != Origin || entry.Key != Key(e, reference) {
		t.Errorf("stored %+v, %t, %v", entry, ok, err)
	}
	if err := other.Verify(t.Context(), entry.Digest); err != nil {
		t.Error(err)
	}
	if err := Copy(t.Context(), e, other, "registry.example/no/such:t", store.KindBase); err == nil ||
		!strings.Contains(err.Error(), "registry.example/no/such:t") {
		t.Errorf("an image that the engine does not have: %v", err)
	}
}

// TestOpen checks when an engine is used, and when its absence is an error.
func TestOpen(t *testing.T) {
	dead := "DOCKER_HOST=unix://" + filepath.Join(t.TempDir(), "no.sock")
	load := func(args ...string) *config.Config {
		cfg, err := cli.Load(cli.Input{Args: args, Env: []string{"HOME=" + t.TempDir()}})
		if err != nil {
			t.Fatal(err)
		}
		return cfg
	}
	for name, c := range map[string]struct {
		args        []string
		environ     []string
		unavailable bool
		notice      bool
	}{
		"none":                         {[]string{"--engine", "none"}, []string{dead}, false, false},
		"push":                         {[]string{"--push"}, []string{dead}, false, false},
		"named engine does not answer": {[]string{"--engine", "docker"}, []string{dead}, true, false},
		"Docker from the environment":  {nil, []string{dead}, false, true},
	} {
		var stderr bytes.Buffer
		e, err := Open(t.Context(), load(c.args...),
			&console.Console{Stderr: &stderr, Environ: append(os.Environ(), c.environ...)})
		if e != nil {
			t.Errorf("%s: an engine that does not run was opened", name)
		}
		var unavailable *engine.UnavailableError
		if errors.As(err, &unavailable) != c.unavailable || err != nil && usererr.Hint(err) == "" {
			t.Errorf("%s: error %v", name, err)
		}
		if strings.Contains(stderr.String(), "warning: ") != c.notice {
			t.Errorf("%s: printed %q", name, stderr.String())
		}
	}
}
