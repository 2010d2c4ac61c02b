package freshness

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

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/source"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// refresher finds out which inputs of images changed since they were built.
type refresher struct {
	*Inputs
	defined *define.Defined

	mu     sync.Mutex
	warned map[string]bool // by repository
}

func newRefresher(in *Inputs, defined *define.Defined) *refresher {
	if !in.opts.ReadOnly {
		packages.Prune(in.repositories.CacheDir)
		packages.Prune(in.opts.Reader.CacheDir)
	}
	return &refresher{Inputs: in, defined: defined, warned: map[string]bool{}}
}

// newClient returns a client of package repositories.
func newClient(opts Options) *packages.Client {
	return &packages.Client{
		CacheDir:  filepath.Join(opts.DataDir, "repositories"),
		UserAgent: "kolla-build/" + opts.Console.Version,
		Timeout:   opts.Timeout,
		Retries:   min(opts.Retries, 3),
	}
}

// finding is the result for one image.
type finding struct {
	changes []plan.Change
	state   state
	note    string
	index   string // over the states of its repositories
	unbuilt bool   // the store has no image to compare with
}

func (r *refresher) all(ctx context.Context) error {
	images := r.defined.Images
	findings := make([]finding, len(images))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for i := range images {
		im := &images[i]
		if im.Key == "" {
			continue
		}
		g.Go(func() error {
			var err error
			if findings[i], err = r.image(gctx, im); err != nil {
				return fmt.Errorf("looking for newer inputs of %s: %w", im.ID, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, f := range findings {
		id := images[i].ID
		if images[i].Key == "" {
			continue
		}
		r.changes[id], r.notes[id] = f.changes, f.note
		switch {
		case f.unbuilt:
			r.rebuild[id] = true
			r.next[id] = f.state
		case len(f.changes) > 0:
			f.state.Salt = salt(f.state.Salt, f.changes)
			f.state.Namespace = cmp.Or(f.index, f.state.Namespace)
			r.rebuild[id] = true
			r.next[id] = f.state
		default:
			r.states.put(images[i].Key, f.state)
		}
	}
	return nil
}

func (r *refresher) image(ctx context.Context, im *define.Image) (finding, error) {
	f := finding{state: r.states.get(im.Key)}
	f.state.Image = im.ID.String()
	entry, ok, err := r.opts.Store.ByKey(r.keys[im.ID].String())
	if err != nil {
		return f, err
	}
	f.unbuilt = !ok || r.opts.Store.Check(ctx, entry.Digest) != nil
	if err := r.downloads(ctx, im, entry.Stored, &f); err != nil {
		return f, err
	}
	if f.unbuilt {
		f.state.Digest, f.state.Sources = "", nil
		return f, nil
	}
	err = r.packages(ctx, im, entry, &f)
	var re *packages.RepositoryError
	if errors.As(err, &re) {
		// An unreadable repository counts as unchanged.
		r.warn(re)
		f.note = "packages not compared: " + re.Error()
		err = nil
	}
	return f, err
}

func (r *refresher) warn(re *packages.RepositoryError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.warned[re.Repository] {
		r.warned[re.Repository] = true
		r.opts.Console.Notice("warning: %v; images that use it are kept", usererr.FirstLine(re))
	}
}

// packages compares the packages that an image's own steps installed with those in its
// repositories.
func (r *refresher) packages(ctx context.Context, im *define.Image, entry store.Entry, found *finding) error {
	if found.state.Digest == entry.Digest {
		if changed, err := r.sourcesChanged(ctx, found.state.Sources); err != nil || !changed {
			return err
		}
	}
	contents, err := r.contents(ctx, entry.Digest)
	if err != nil {
		return err
	}
	parent, err := r.parent(ctx, im)
	if err != nil || parent == nil {
		return err
	}
	added := ownPackages(contents.Packages, parent.Packages)
	sources, policy, err := r.policy(ctx, contents, added, r.defined.Config(im.ID).DebianArch)
	if err != nil {
		return err
	}
	for _, p := range added {
		to := policy.Candidate(p)
		if to == "" || to == p.Version || found.state.Offered[p.Type+" "+p.Name] == to {
			continue
		}
		found.changes = append(found.changes, plan.Change{Input: plan.InputPackage, Package: p.Name, From: p.Version, To: to})
		if found.state.Offered == nil {
			found.state.Offered = map[string]string{}
		}
		found.state.Offered[p.Type+" "+p.Name] = to
	}
	h := digest.Canonical.Digester()
	var states []sourceState
	for _, s := range sources {
		states = append(states, sourceState{s.Repository, s.Index.Digest})
		fmt.Fprintln(h.Hash(), s.Repository, s.Index.Digest)
	}
	found.index = "refresh-" + h.Digest().Encoded()[:16]
	found.state.Digest, found.state.Sources = entry.Digest, states
	if len(found.changes) > 0 {
		found.state.Digest, found.state.Sources = "", nil
	}
	if len(contents.Problems) > 0 {
		found.note = "some packages not compared: " + contents.Problems[0]
	}
	return nil
}

func (r *refresher) sourcesChanged(ctx context.Context, states []sourceState) (bool, error) {
	for _, s := range states {
		ix, err := r.repositories.Index(ctx, s.Repository)
		if err != nil && !s.Repository.Disabled {
			return false, err
		}
		if err == nil && ix.Digest != s.Index {
			return true, nil
		}
	}
	return false, nil
}

// policy reads the repositories of an image that its own packages need. Disabled
// repositories are read if a package can only have come from one.
func (r *refresher) policy(ctx context.Context, contents *packages.Contents, added []packages.Package,
	arch string) ([]packages.Source, *packages.Policy, error) {
	wants := map[string]bool{}
	for _, p := range added {
		wants[p.Type] = true
	}
	var enabled, disabled []packages.Source
	for _, repo := range contents.Repositories(arch) {
		special := strings.Contains(repo.Name, "debug") || strings.Contains(repo.Name, "source")
		if !wants[repo.Type] || repo.Disabled && special {
			continue
		}
		if repo.Disabled {
			disabled = append(disabled, packages.Source{Repository: repo})
			continue
		}
		ix, err := r.repositories.Index(ctx, repo)
		if err != nil {
			return nil, nil, err
		}
		enabled = append(enabled, packages.Source{Repository: repo, Index: ix})
	}
	p, err := packages.NewPolicy(ctx, contents, enabled)
	if err != nil || !slices.ContainsFunc(added, func(q packages.Package) bool {
		v := p.Candidate(q)
		return q.Type == packages.RPM && (v == "" || packages.CompareVersions(q.Type, v, q.Version) < 0)
	}) {
		return enabled, p, err
	}
	for _, s := range disabled {
		if s.Index, err = r.repositories.Index(ctx, s.Repository); err == nil {
			enabled = append(enabled, s)
		} else if ctx.Err() != nil {
			return nil, nil, err
		}
	}
	p, err = packages.NewPolicy(ctx, contents, enabled)
	return enabled, p, err
}

// ownPackages returns the packages of apt and dnf that the parent does not have
// in the same version. Those of other package managers are pinned by the sources.
func ownPackages(installed, parent []packages.Package) []packages.Package {
	in := make(map[packages.Package]bool, len(parent))
	for _, p := range parent {
		in[p] = true
	}
	var added []packages.Package
	for _, p := range installed {
		if p.Type != packages.Python && !in[p] {
			added = append(added, p)
		}
	}
	slices.SortFunc(added, func(a, b packages.Package) int { return cmp.Compare(a.Name, b.Name) })
	return added
}

func (r *refresher) contents(ctx context.Context, d digest.Digest) (*packages.Contents, error) {
	img, err := r.opts.Store.Image(d)
	if err != nil {
		return nil, err
	}
	return r.opts.Reader.Read(ctx, img)
}

// parent returns the content of an image's parent, nil if the parent will be built.
func (r *refresher) parent(ctx context.Context, im *define.Image) (*packages.Contents, error) {
	if slices.Contains(im.Needs, im.Parent) {
		entry, ok, err := r.opts.Store.ByKey(r.keys[im.Parent].String())
		if err != nil || !ok {
			return nil, err
		}
		return r.contents(ctx, entry.Digest)
	}
	if im.From == "scratch" {
		return &packages.Contents{}, nil
	}
	ext, err := r.defined.External(ctx, im.ID, im.From)
	if err != nil {
		return nil, err
	}
	return r.contents(ctx, ext.Digest)
}

// downloads resolves the downloads of ADD instructions to digests or commits.
func (r *refresher) downloads(ctx context.Context, im *define.Image, stored time.Time, found *finding) error {
	for _, d := range im.Dockerfile.Downloads() {
		spec := source.Spec{Name: im.ID.String(), Type: source.TypeURL, Location: d.Location, Enabled: true}
		location := d.Location
		if d.Git {
			spec.Type, spec.Reference = source.TypeGit, cmp.Or(d.Reference, "HEAD")
			location += "#" + d.Reference
		}
		res, err := r.defined.Sources(im.ID).Resolve(ctx, spec)
		if err != nil {
			if ctx.Err() != nil {
				return err
			}
			found.note = "an ADD not compared: " + usererr.FirstLine(err)
			r.opts.Console.Notice("warning: %s: %s", im.ID, found.note)
			continue
		}
		old, cached := found.state.Downloads[location]
		// At the first comparison, after the first build, a file counts as changed if
		// it is newer than the image.
		changed := cached && old != res.ID || !cached && !found.unbuilt && res.Modified.After(stored)
		if changed && !found.unbuilt {
			found.changes = append(found.changes, plan.Change{
				Input: "ADD " + res.Location,
				From:  cmp.Or(old, "an older state"),
				To:    res.ID,
			})
		}
		if found.state.Downloads == nil {
			found.state.Downloads = map[string]string{}
		}
		found.state.Downloads[location] = res.ID
	}
	return nil
}
