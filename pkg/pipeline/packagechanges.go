package pipeline

import (
	"context"
	"runtime"
	"sync"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/packages"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// packageChanges returns the packages of the images that differ from those of the last
// run. If the store no longer has the old image, these are the changes in the plan.
func packageChanges(ctx context.Context, s stages, run *report.Run) map[image.ID][]report.PackageChange {
	out := map[image.ID][]report.PackageChange{}
	var mu sync.Mutex
	reader := workspace.PackageReader(s.session.cfg)
	items := map[image.ID]*plan.Item{}
	for _, it := range s.planned.plan.Items {
		items[it.Image] = it
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(2, runtime.NumCPU()))
	for _, res := range s.built.results {
		old, ok := run.Before(res.Image)
		if res.Digest == "" || !ok || old.Digest == "" || old.Digest == res.Digest {
			continue
		}
		g.Go(func() error {
			changes, err := packagesBetween(gctx, s.session.store, reader, old.Digest, res.Digest)
			if err != nil {
				changes = plannedChanges(items[res.Image])
			}
			mu.Lock()
			defer mu.Unlock()
			out[res.Image] = changes
			return nil
		})
	}
	_ = g.Wait() // the functions return no errors: a report shows the known changes
	return out
}

func packagesBetween(ctx context.Context, s *store.Store, reader *packages.Reader, from, to digest.Digest) (
	[]report.PackageChange, error) {
	old, err := s.Image(from)
	if err != nil {
		return nil, err
	}
	img, err := s.Image(to)
	if err != nil {
		return nil, err
	}
	changes, err := reader.Compare(ctx, old, img)
	var out []report.PackageChange
	for _, c := range changes {
		out = append(out, report.PackageChange{Name: c.Name, From: c.From, To: c.To})
	}
	return out, err
}

func plannedChanges(it *plan.Item) []report.PackageChange {
	if it == nil {
		return nil
	}
	var out []report.PackageChange
	for _, c := range it.Changes {
		if c.Input == plan.InputPackage {
			out = append(out, report.PackageChange{Name: c.Package, From: c.From, To: c.To})
		}
	}
	return out
}
