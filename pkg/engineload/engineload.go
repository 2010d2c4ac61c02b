// Package engineload loads finished images from the local store into Docker, Podman or
// containerd, and copies images of the engine into the store. It must not know how
// images are built or published; pkg/engine knows the engines' interfaces.
package engineload

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// Open opens the container engine that images are loaded into, or returns nil if there
// is none. Without --engine, that is Docker if it runs, as upstream does, unless images
// are pushed: upstream does not keep those in Docker either. If an engine that the user
// named does not answer, that is an error.
func Open(ctx context.Context, cfg *config.Config, con *console.Console) (*engine.Engine, error) {
	named := cfg.IsSet("engine")
	if cfg.Engine == "none" || !named && cfg.Push {
		return nil, nil
	}
	opts := engine.Options{Kind: engine.Kind(cfg.Engine), Getenv: con.Getenv, Retries: cfg.Retries,
		Timeout: time.Duration(cfg.Timeout) * time.Second,
		Notice:  func(line string) { con.Notice("%s", line) }}
	if opts.Kind == engine.Podman && cfg.IsSet("podman_base_url") {
		opts.Addr = strings.Replace(cfg.PodmanBaseURL, "http+unix://", "unix://", 1)
	}
	e, err := engine.Open(ctx, opts)
	var unavailable *engine.UnavailableError
	if err == nil || named || !errors.As(err, &unavailable) {
		return e, err
	}
	if !unavailable.Absent || con.Getenv("DOCKER_HOST") != "" {
		con.Notice("warning: images stay in the local store: %s", usererr.Text(err))
	}
	return nil, nil
}

// Loader loads the images of a run into an engine as they are finished. It
// implements build.Uploader.
type Loader struct {
	engine    *engine.Engine
	store     *store.Store
	ancestors func(*plan.Item) []digest.Digest
	emit      func(build.Event)
	ended     map[image.ID]chan struct{} // closed when the image was loaded, or failed

	mu     sync.Mutex // guards totals and the closing of ended
	totals totals
}

// Options are the settings of a Loader.
type Options struct {
	Engine *engine.Engine
	Store  *store.Store
	Plan   *plan.Plan
	// Ancestors returns the images that an image depends on, the nearest first,
	// as far as they are stored. The engine may have their layers.
	Ancestors func(*plan.Item) []digest.Digest
	Emit      func(build.Event) // the progress of transfers
}

// NewLoader returns a loader for the images of a plan.
func NewLoader(opts Options) *Loader {
	l := &Loader{
		engine:    opts.Engine,
		store:     opts.Store,
		ancestors: opts.Ancestors,
		emit:      opts.Emit,
		ended:     map[image.ID]chan struct{}{},
	}
	for _, it := range opts.Plan.Items {
		l.ended[it.Image] = make(chan struct{})
	}
	return l
}

// Handle takes the events of the run: the children of an image that fails before it is loaded
// do not wait for it.
func (l *Loader) Handle(e build.Event) {
	if e.Kind == build.EventImageEnd {
		l.end(e.Image)
	}
}

// end lets the children of an image be loaded.
func (l *Loader) end(id image.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	ended, ok := l.ended[id]
	if !ok {
		return
	}
	select {
	case <-ended:
	default:
		close(ended)
	}
}

// Upload loads an image. It implements build.Uploader: a parent is passed to it
// before its children, and a child waits until its parent was loaded or failed, so that
// layers that the engine has of the parent are not sent again.
func (l *Loader) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	defer l.end(it.Image)
	if p := it.Image.Platform; p != "" && p != platforms.Format(platforms.Normalize(platforms.DefaultSpec())) {
		return nil // an engine receives only images of its own platform
	}
	if parent, ok := l.ended[it.Parent]; ok {
		select {
		case <-parent:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	img, err := l.store.Image(d)
	if err != nil {
		return err
	}
	req := engine.Request{Ref: it.Reference, Image: img, Progress: l.progress(it)}
	for _, d := range l.ancestors(it) {
		if ancestor, err := l.store.Image(d); err == nil {
			req.Ancestors = append(req.Ancestors, ancestor)
		}
	}
	loaded, err := l.engine.Load(ctx, req)
	if err != nil {
		return &build.LoadError{Err: err}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.totals.add(it.Reference, loaded)
	return nil
}

// progress returns a function that emits the events of an image's transfer. An
// image that was kept starts only when the first bytes are sent.
func (l *Loader) progress(it *plan.Item) func(sent, total int64) {
	started := it.Action == plan.Build
	step := build.Step{ID: "load", Kind: build.StepLoad, Name: "load into " + l.engine.Title()}
	return func(sent, total int64) {
		if !started {
			started = true
			l.emit(build.Event{Time: time.Now(), Kind: build.EventImageStart, Image: it.Image})
		}
		l.emit(build.Event{
			Time:       time.Now(),
			Kind:       build.EventTransfer,
			Image:      it.Image,
			Step:       step,
			Current:    sent,
			TotalBytes: total,
		})
	}
}

// Loaded returns the engine into which an image was loaded, "" if it was not.
func (l *Loader) Loaded(reference string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.totals.references[reference] {
		return ""
	}
	return l.engine.String()
}

// Summary returns a line about the loaded images, "" if there were none.
func (l *Loader) Summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.totals.summary(l.engine)
}

// LoadSet loads stored images, by reference, into an engine and returns a line about
// them. Images with few layers come first, because others may contain the same layers.
// If the engine has another image under one of the names, the error is a
// *NamesTakenError and nothing is loaded, unless replace is set.
func LoadSet(
	ctx context.Context, e *engine.Engine, s *store.Store, set map[string]digest.Digest, replace bool,
) (string, error) {
	type member struct {
		reference string
		image     v1.Image
		layers    []digest.Digest // by content
	}
	var members []member
	for reference, d := range set {
		img, err := ownPlatform(s, d)
		if err != nil {
			return "", fmt.Errorf("loading %s: %w", reference, err)
		}
		conf, err := img.ConfigFile()
		if err != nil {
			return "", err
		}
		members = append(members, member{reference, img, engine.DiffIDs(conf)})
	}
	slices.SortFunc(members, func(a, b member) int {
		return cmp.Or(cmp.Compare(len(a.layers), len(b.layers)), cmp.Compare(a.reference, b.reference))
	})
	images := map[string]v1.Image{}
	for _, m := range members {
		images[m.reference] = m.image
	}
	if err := checkNames(ctx, e, images, replace); err != nil {
		return "", err
	}
	var sum totals
	for i, m := range members {
		req := engine.Request{Ref: m.reference, Image: m.image}
		for _, earlier := range slices.Backward(members[:i]) {
			if n := len(earlier.layers); n <= len(m.layers) && slices.Equal(earlier.layers, m.layers[:n]) {
				req.Ancestors = append(req.Ancestors, earlier.image)
			}
		}
		loaded, err := e.Load(ctx, req)
		if err != nil {
			return "", err
		}
		sum.add(m.reference, loaded)
	}
	return sum.summary(e), nil
}

// ownPlatform returns an image or, for a multi-platform image, the one for this host.
func ownPlatform(s *store.Store, d digest.Digest) (v1.Image, error) {
	index, err := s.ImageIndex(d)
	if err != nil {
		return s.Image(d)
	}
	m, err := index.IndexManifest()
	if err != nil {
		return nil, err
	}
	match := platforms.Default()
	for _, child := range m.Manifests {
		p := child.Platform
		if p == nil {
			continue
		}
		if match.Match(platforms.Platform{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant}) {
			return index.Image(child.Digest)
		}
	}
	return nil, fmt.Errorf("it has no image for %s", platforms.Format(platforms.DefaultSpec()))
}

// totals adds up what was loaded.
type totals struct {
	references                map[string]bool // that the engine has
	present, tagged, sent     int             // images
	layersSent, layersPresent int
	bytes                     int64
}

func (t *totals) add(reference string, loaded engine.Loaded) {
	if t.references == nil {
		t.references = map[string]bool{}
	}
	t.references[reference] = true
	switch {
	case loaded.Present:
		t.present++
	case loaded.Tagged:
		t.tagged++
	default:
		t.sent++
		t.layersSent += loaded.Layers
		t.layersPresent += loaded.Reused
		t.bytes += loaded.Bytes
	}
}

func (t *totals) summary(e *engine.Engine) string {
	if len(t.references) == 0 {
		return ""
	}
	text := fmt.Sprintf("%s has %s: %d loaded", e, units.Count(len(t.references), "image"), t.sent)
	if t.sent > 0 {
		text += fmt.Sprintf(" (%s, %s; %s already present)", units.Count(t.layersSent, "layer"), units.Bytes(t.bytes),
			units.Count(t.layersPresent, "layer"))
	}
	if t.tagged > 0 {
		text += fmt.Sprintf(", %d tagged", t.tagged)
	}
	if t.present > 0 {
		text += fmt.Sprintf(", %d already present", t.present)
	}
	return text
}
