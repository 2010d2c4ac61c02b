package pipeline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/source"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// refresher finds out which moving inputs of images moved.
type refresher struct {
	*moving
	run    *buildRun
	keys   map[image.ID]digest.Digest // effective ones, as they are now
	reader *packages.Reader
	client *packages.Client

	mu     sync.Mutex
	warned map[string]bool
}

func (r *buildRun) newRefresher(m *moving, keys map[image.ID]digest.Digest) *refresher {
	dir := filepath.Join(r.cfg.DataDir, "repositories")
	packages.Prune(dir)
	reader := packageReader(r.cfg)
	packages.Prune(reader.CacheDir)
	return &refresher{moving: m, run: r, keys: keys, reader: reader, warned: map[string]bool{},
		client: &packages.Client{CacheDir: dir, UserAgent: "kolla-build/" + r.env.Version, Timeout: timeout(r.cfg), Retries: min(r.cfg.Retries, 3)}}
}

// found is what was found of one image.
type found struct {
	changes []plan.Change
	state   inputState
	note    string
	index   string // over the states of its repositories
	unbuilt bool   // the store has no image to compare with
}

func (c *refresher) all(ctx context.Context, inputs []plan.Input) error {
	all := make([]found, len(inputs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for i, in := range inputs {
		if in.Key == "" {
			continue
		}
		g.Go(func() error {
			var err error
			if all[i], err = c.image(gctx, in); err != nil {
				return fmt.Errorf("looking for newer inputs of %s: %w", in.Image, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, f := range all {
		in := &inputs[i]
		if in.Key == "" {
			continue
		}
		in.Changes, in.Note = f.changes, f.note
		key := c.bare[in.Image]
		switch {
		case f.unbuilt:
			// Steps in the builder's cache may be older than what they fetch.
			c.fresh[in.Image] = true
			c.next[in.Image] = f.state
		case len(f.changes) > 0:
			f.state.Salt = salt(f.state.Salt, f.changes)
			f.state.Namespace = cmp.Or(f.index, f.state.Namespace)
			c.fresh[in.Image] = true
			c.next[in.Image] = f.state
		default:
			c.states.put(key, f.state)
		}
	}
	return nil
}

func (c *refresher) image(ctx context.Context, in plan.Input) (found, error) {
	f := found{state: c.states.get(c.bare[in.Image])}
	f.state.Image = in.Image.String()
	entry, ok, err := c.run.store.ByKey(c.keys[in.Image].String())
	if err != nil {
		return f, err
	}
	f.unbuilt = !ok || c.run.store.Check(ctx, entry.Digest) != nil
	if err := c.downloads(ctx, in, entry.Stored, &f); err != nil {
		return f, err
	}
	if f.unbuilt {
		f.state.Digest, f.state.Sources = "", nil
		return f, nil
	}
	err = c.packages(ctx, in, entry, &f)
	var re *packages.RepositoryError
	if errors.As(err, &re) {
		// What cannot be asked is not known to have moved.
		c.warn(re)
		f.note = "packages not looked at: " + re.Error()
		err = nil
	}
	return f, err
}

func (c *refresher) warn(re *packages.RepositoryError) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.warned[re.Repository] {
		c.warned[re.Repository] = true
		c.run.env.Notice("warning: %v; images that use it are kept as they are", firstLine(re))
	}
}

// packages compares the packages that an image's own steps installed with what
// its repositories offer.
func (c *refresher) packages(ctx context.Context, in plan.Input, entry store.Entry, f *found) error {
	if f.state.Digest == entry.Digest {
		if moved, err := c.sourcesMoved(ctx, f.state.Sources); err != nil || !moved {
			return err
		}
	}
	have, err := c.contents(ctx, entry.Digest)
	if err != nil {
		return err
	}
	parent, err := c.parent(ctx, in)
	if err != nil || parent == nil {
		return err
	}
	own := ownPackages(have.Packages, parent.Packages)
	sources, policy, err := c.policy(ctx, have, own, c.run.definer(in.Image).set.Config.DebianArch)
	if err != nil {
		return err
	}
	for _, p := range own {
		to := policy.Candidate(p)
		if to == "" || to == p.Version || f.state.Offered[p.Type+" "+p.Name] == to {
			continue
		}
		f.changes = append(f.changes, plan.Change{Input: plan.InputPackage, Package: p.Name, From: p.Version, To: to})
		if f.state.Offered == nil {
			f.state.Offered = map[string]string{}
		}
		f.state.Offered[p.Type+" "+p.Name] = to
	}
	h := digest.Canonical.Digester()
	var states []sourceState
	for _, s := range sources {
		states = append(states, sourceState{s.Repository, s.Index.Digest})
		fmt.Fprintln(h.Hash(), s.Repository, s.Index.Digest)
	}
	f.index = "refresh-" + h.Digest().Encoded()[:16]
	f.state.Digest, f.state.Sources = entry.Digest, states
	if len(f.changes) > 0 {
		f.state.Digest, f.state.Sources = "", nil
	}
	if len(have.Problems) > 0 {
		f.note = "some packages not looked at: " + have.Problems[0]
	}
	return nil
}

func (c *refresher) sourcesMoved(ctx context.Context, states []sourceState) (bool, error) {
	for _, s := range states {
		ix, err := c.client.Index(ctx, s.Repository)
		if err != nil && !s.Repository.Disabled {
			return false, err
		}
		if err == nil && ix.Digest != s.Index {
			return true, nil
		}
	}
	return false, nil
}

// policy reads the repositories of an image as far as its own packages need it.
// Repositories that are off are asked if a package must have come from one.
func (c *refresher) policy(ctx context.Context, have *packages.Contents, own []packages.Package, arch string) ([]packages.Source, *packages.Policy, error) {
	wants := map[string]bool{}
	for _, p := range own {
		wants[p.Type] = true
	}
	var on, off []packages.Source
	for _, r := range have.Repositories(arch) {
		if !wants[r.Type] || r.Disabled && (strings.Contains(r.Name, "debug") || strings.Contains(r.Name, "source")) {
			continue
		}
		if r.Disabled {
			off = append(off, packages.Source{Repository: r})
			continue
		}
		ix, err := c.client.Index(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		on = append(on, packages.Source{Repository: r, Index: ix})
	}
	p, err := packages.NewPolicy(ctx, have, on)
	if err != nil || !slices.ContainsFunc(own, func(q packages.Package) bool {
		v := p.Candidate(q)
		return q.Type == packages.RPM && (v == "" || packages.CompareVersions(q.Type, v, q.Version) < 0)
	}) {
		return on, p, err
	}
	for _, s := range off {
		if s.Index, err = c.client.Index(ctx, s.Repository); err == nil {
			on = append(on, s)
		} else if ctx.Err() != nil {
			return nil, nil, err
		}
	}
	p, err = packages.NewPolicy(ctx, have, on)
	return on, p, err
}

// ownPackages are those that the parent does not have alike, apt's and dnf's:
// those of other managers are pinned by the sources.
func ownPackages(have, parent []packages.Package) []packages.Package {
	in := make(map[packages.Package]bool, len(parent))
	for _, p := range parent {
		in[p] = true
	}
	var own []packages.Package
	for _, p := range have {
		if p.Type != packages.Python && !in[p] {
			own = append(own, p)
		}
	}
	slices.SortFunc(own, func(a, b packages.Package) int { return cmp.Compare(a.Name, b.Name) })
	return own
}

func (c *refresher) contents(ctx context.Context, d digest.Digest) (*packages.Contents, error) {
	img, err := c.run.store.Image(d)
	if err != nil {
		return nil, err
	}
	return c.reader.Read(ctx, img)
}

// parent returns what the image that an image stands on holds, nil if that is
// built anew anyway.
func (c *refresher) parent(ctx context.Context, in plan.Input) (*packages.Contents, error) {
	if slices.Contains(in.Needs, in.Parent) {
		entry, ok, err := c.run.store.ByKey(c.keys[in.Parent].String())
		if err != nil || !ok {
			return nil, err
		}
		return c.contents(ctx, entry.Digest)
	}
	def := c.run.definer(in.Image)
	from := def.set.File(in.Image.Name).From
	if from == "scratch" {
		return &packages.Contents{}, nil
	}
	ext, err := def.external(ctx, from)
	if err != nil {
		return nil, err
	}
	return c.contents(ctx, ext.Digest)
}

// downloads resolves what ADD instructions fetch to its content, or a commit.
func (c *refresher) downloads(ctx context.Context, in plan.Input, stored time.Time, f *found) error {
	file := c.run.defined.files[in.Image]
	for _, d := range file.Downloads() {
		spec := source.Spec{Name: in.Image.String(), Type: source.TypeURL, Location: d.Location, Enabled: true}
		id := d.Location
		if d.Git {
			spec.Type, spec.Reference = source.TypeGit, cmp.Or(d.Reference, "HEAD")
			id += "#" + d.Reference
		}
		res, err := c.run.definer(in.Image).arch.fetcher.Resolve(ctx, spec)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			f.note = "an ADD not looked at: " + firstLine(err)
			c.run.env.Notice("warning: %s: %s", in.Image, f.note)
			continue
		}
		old, known := f.state.Downloads[id]
		// The first look comes after the first build: what is younger than the
		// image is not in it.
		moved := known && old != res.ID || !known && !f.unbuilt && res.Modified.After(stored)
		if moved && !f.unbuilt {
			f.changes = append(f.changes, plan.Change{Input: "ADD " + res.Location, From: cmp.Or(old, "an older state"), To: res.ID})
		}
		if f.state.Downloads == nil {
			f.state.Downloads = map[string]string{}
		}
		f.state.Downloads[id] = res.ID
	}
	return nil
}
