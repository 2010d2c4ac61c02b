package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bootstrap"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// openEngine opens the container engine that a run loads its images into, nil if
// there is none to be used. One that the user named must be there, and that is
// found out before anything is done. Without a name it is Docker where it runs,
// as with upstream's default, unless the images are pushed: then they are wanted
// elsewhere, and upstream does not keep them in Docker either.
func openEngine(ctx context.Context, cfg *config.Config, env Env) (*engine.Engine, error) {
	named := cfg.IsSet("engine")
	if cfg.Engine == "none" || !named && cfg.Push {
		return nil, nil
	}
	opts := engine.Options{Kind: engine.Kind(cfg.Engine), Getenv: env.Getenv, Retries: cfg.Retries,
		Notice: func(line string) { env.Notice("%s", line) }}
	if opts.Kind == engine.Podman && cfg.IsSet("podman_base_url") {
		opts.Addr = strings.Replace(cfg.PodmanBaseURL, "http+unix://", "unix://", 1)
	}
	e, err := engine.Open(ctx, opts)
	var u *engine.UnavailableError
	if err == nil || named || !errors.As(err, &u) {
		return e, err
	}
	if !u.Absent || env.Getenv("DOCKER_HOST") != "" {
		env.Notice("warning: images stay in the local store: %v", err)
		env.Notice("  hint: %s", u.Hint())
	}
	return nil, nil
}

// loader brings finished images into a container engine. It implements
// build.Uploader.
type loader struct {
	engine *engine.Engine
	store  *store.Store
	graph  *graph.Graph
	digest func(platform, ref string) digest.Digest // the image that has a name in this run
	emit   func(build.Event)
	done   map[image.ID]chan struct{} // by image of the plan: closed when its turn is over

	mu   sync.Mutex
	sum  loadSum
	seen map[string]bool // by reference: it is in the engine
}

// loadSum adds up what was done.
type loadSum struct {
	there, tagged, sent int
	layers, reused      int
	bytes               int64
}

func newLoader(e *engine.Engine, s *store.Store, g *graph.Graph, p *plan.Plan, emit func(build.Event), d func(platform, ref string) digest.Digest) *loader {
	l := &loader{engine: e, store: s, graph: g, digest: d, emit: emit, done: map[image.ID]chan struct{}{}, seen: map[string]bool{}}
	for _, it := range p.Items {
		l.done[it.Image] = make(chan struct{})
	}
	return l
}

// Upload implements build.Uploader. A child waits for its parent, which was given
// to us before it: what the engine has of the parent is not sent again.
func (l *loader) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	defer close(l.done[it.Image])
	if p := it.Image.Platform; p != "" && p != platforms.Format(platforms.Normalize(platforms.DefaultSpec())) {
		return nil // of several platforms an engine gets its own
	}
	if up, ok := l.done[it.Parent]; ok {
		select {
		case <-up:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	img, err := l.store.Image(d)
	if err != nil {
		return err
	}
	req := engine.Request{Ref: it.Reference, Image: img, Progress: l.progress(it)}
	for p := l.graph.Parent(it.Image.Name); p != nil; p = l.graph.Parent(p.Name) {
		if pd := l.digest(it.Image.Platform, p.Reference); pd != "" {
			if pi, err := l.store.Image(pd); err == nil {
				req.Ancestors = append(req.Ancestors, pi)
			}
		}
	}
	res, err := l.engine.Load(ctx, req)
	if err != nil {
		return &build.LoadError{Err: err}
	}
	l.count(it.Reference, res)
	return nil
}

// count adds what was done for an image to the sum.
func (l *loader) count(ref string, res engine.Loaded) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.seen[ref] = true
	switch {
	case res.Present:
		l.sum.there++
	case res.Tagged:
		l.sum.tagged++
	default:
		l.sum.sent++
		l.sum.layers += res.Layers
		l.sum.reused += res.Reused
		l.sum.bytes += res.Bytes
	}
}

// loadSet brings images of the store into a container engine, those with few
// layers first: what others stand on is there before them.
func loadSet(ctx context.Context, env Env, e *engine.Engine, s *store.Store, set map[string]digest.Digest) error {
	type one struct {
		ref    string
		img    v1.Image
		layers []v1.Hash
	}
	var all []one
	for ref, d := range set {
		img, err := s.Image(d)
		if err != nil {
			return err
		}
		conf, err := img.ConfigFile()
		if err != nil {
			return err
		}
		all = append(all, one{ref, img, conf.RootFS.DiffIDs})
	}
	slices.SortFunc(all, func(a, b one) int {
		return cmp.Or(cmp.Compare(len(a.layers), len(b.layers)), cmp.Compare(a.ref, b.ref))
	})
	l := &loader{engine: e, seen: map[string]bool{}}
	for i, o := range all {
		req := engine.Request{Ref: o.ref, Image: o.img}
		for _, below := range slices.Backward(all[:i]) {
			if n := len(below.layers); n <= len(o.layers) && slices.Equal(below.layers, o.layers[:n]) {
				req.Ancestors = append(req.Ancestors, below.img)
			}
		}
		res, err := e.Load(ctx, req)
		if err != nil {
			return err
		}
		l.count(o.ref, res)
	}
	env.Notice("%s", l.finish(nil))
	return nil
}

// progress tells of an image's transfer. One that was kept has not begun for
// those who watch until it moves.
func (l *loader) progress(it *plan.Item) func(sent, total int64) {
	begun := it.Action == plan.Build
	step := build.Step{ID: "load", Name: "load into " + l.engine.Title()}
	return func(sent, total int64) {
		if !begun {
			begun = true
			l.emit(build.Event{Time: time.Now(), Kind: build.EventImageStart, Image: it.Image})
		}
		l.emit(build.Event{Time: time.Now(), Kind: build.EventTransfer, Image: it.Image, Step: step, Current: sent, TotalBytes: total})
	}
}

// finish marks the images that the engine has, and says in a line what was done.
func (l *loader) finish(results []*report.Result) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range results {
		if l.seen[r.Reference] {
			r.Loaded = l.engine.String()
		}
	}
	s := l.sum
	if len(l.seen) == 0 {
		return ""
	}
	text := fmt.Sprintf("%s has %s: %d loaded", l.engine, counted(len(l.seen), "image"), s.sent)
	if s.sent > 0 {
		text += fmt.Sprintf(" (%s, %s; %d were there)", counted(s.layers, "layer"), units.Bytes(s.bytes), s.reused)
	}
	if s.tagged > 0 {
		text += fmt.Sprintf(", %d named anew", s.tagged)
	}
	if s.there > 0 {
		text += fmt.Sprintf(", %d were there", s.there)
	}
	return text
}

func counted(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}

// uploader brings finished images to where they are wanted: a container engine,
// a registry, both, or nowhere.
func (r *buildRun) uploader(bk *builder, emit func(build.Event)) build.Uploader {
	if r.engine != nil {
		r.load = newLoader(r.engine, r.store, r.set.Graph, r.plan, emit, bk.digest)
	}
	if r.up != nil {
		r.up.watch = r.watch
	}
	switch {
	case r.load != nil && r.up != nil:
		return both{r.load, r.up}
	case r.load != nil:
		return r.load
	case r.up != nil:
		return r.up
	}
	return nil
}

// both brings images to two places, one after the other.
type both [2]build.Uploader

func (b both) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	for _, u := range b {
		if err := u.Upload(ctx, it, d); err != nil {
			return err
		}
	}
	return nil
}

// originEngine marks images that were copied from a container engine. Which of
// its images it was stands in their key.
const originEngine = "engine"

// fromEngine copies an image that the engine has into the store, under its name:
// one that another program built there, and that images of this run stand on.
func (b *bases) fromEngine(ctx context.Context, ref string, kind store.Kind) error {
	reading := func(err error) error { return fmt.Errorf("reading %s from %s: %w", ref, b.engine, err) }
	f, err := os.CreateTemp("", "kolla-build-*.tar")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	r, err := b.engine.Save(ctx, ref)
	if err != nil {
		return err
	}
	b.env.Notice("copying %s from %s", ref, b.engine)
	_, err = io.Copy(f, r)
	if cerr := r.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return reading(err)
	}
	im, err := bootstrap.ImportTar(ctx, b.store, f.Name())
	if err != nil {
		return reading(err)
	}
	return b.store.Put(store.Entry{Name: ref, Digest: im.Digest, Kind: kind, Origin: originEngine, Key: "engine:" + b.engine.ID(ref)})
}
