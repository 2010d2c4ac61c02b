package pipeline

import (
	"context"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/plan"
	digest "github.com/opencontainers/go-digest"
)

// uploader returns what finished images are passed to: a container engine, a
// registry, both, or nothing.
func (r *buildRun) uploader(bk *builder, emit func(build.Event)) build.Uploader {
	if r.engine != nil {
		ancestors := func(it *plan.Item) []digest.Digest {
			var found []digest.Digest
			for p := r.set.Graph.Parent(it.Image.Name); p != nil; p = r.set.Graph.Parent(p.Name) {
				if d := bk.digest(it.Image.Platform, p.Reference); d != "" {
					found = append(found, d)
				}
			}
			return found
		}
		r.load = engineload.NewLoader(engineload.Options{Engine: r.engine, Store: r.store, Plan: r.plan, Ancestors: ancestors, Emit: emit})
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

// both uploads to two places, one after the other.
type both [2]build.Uploader

func (b both) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	for _, u := range b {
		if err := u.Upload(ctx, it, d); err != nil {
			return err
		}
	}
	return nil
}
