package pipeline

import (
	"context"
	"runtime"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// comparePackages fills in which packages the images that were built have in
// another version than those of the last run. Where the old image is gone from
// the store, it is what the plan knew of its repositories.
func (r *buildRun) comparePackages(ctx context.Context, past []report.Record) {
	before := &report.Run{Past: past}
	reader := packageReader(r.cfg)
	items := map[image.ID]*plan.Item{}
	for _, it := range r.plan.Items {
		items[it.Image] = it
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for _, res := range r.results {
		old, ok := before.Before(res.Image)
		if res.Digest == "" || !ok || old.Digest == "" || old.Digest == res.Digest {
			continue
		}
		g.Go(func() error {
			var err error
			if res.Packages, err = r.packagesBetween(gctx, reader, old.Digest, res.Digest); err != nil {
				res.Packages = plannedChanges(items[res.Image])
			}
			return nil
		})
	}
	_ = g.Wait() // none returns an error: a report says what can be known
}

func (r *buildRun) packagesBetween(ctx context.Context, reader *packages.Reader, from, to digest.Digest) ([]report.PackageChange, error) {
	var all [2]*packages.Contents
	for i, d := range []digest.Digest{from, to} {
		img, err := r.store.Image(d)
		if err == nil {
			all[i], err = reader.Read(ctx, img)
		}
		if err != nil {
			return nil, err
		}
	}
	var out []report.PackageChange
	for _, c := range packages.Changes(all[0].Packages, all[1].Packages) {
		out = append(out, report.PackageChange{Name: c.Name, From: c.From, To: c.To})
	}
	return out, nil
}

func plannedChanges(it *plan.Item) []report.PackageChange {
	var out []report.PackageChange
	if it == nil {
		return nil
	}
	for _, c := range it.Changes {
		if c.Input == plan.InputPackage {
			out = append(out, report.PackageChange{Name: c.Package, From: c.From, To: c.To})
		}
	}
	return out
}
