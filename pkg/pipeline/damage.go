package pipeline

import (
	"context"
	"errors"
	"maps"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
)

// removeDamaged removes damaged blobs from the store if they may have made images fail,
// and reports whether there were any. Then the images that depend on them can be built
// again.
func (s *session) removeDamaged(ctx context.Context, p *planned, b *built) bool {
	digests := map[image.ID]digest.Digest{}
	for _, res := range b.results {
		digests[res.Image] = res.Digest
	}
	var suspects []digest.Digest
	for i, it := range p.plan.Items {
		if !mayBeDamage(b.results[i]) {
			continue
		}
		suspects = append(suspects, digests[it.Image])
		for _, n := range it.Needs {
			suspects = append(suspects, digests[n])
		}
		suspects = append(suspects, p.defined.Bases(it.Image)...)
	}
	return repair.Verify(ctx, s.store, suspects, func(bad *store.BlobError) {
		s.console.Notice("%v: damaged, and removed from the store", bad)
	})
}

// mayBeDamage reports whether a damaged store may be the reason for an image's failure:
// its upload failed, or its build failed without a failing command.
func mayBeDamage(res build.Result) bool {
	if res.Failure == nil {
		return false
	}
	var bad *store.BlobError
	if errors.As(res.Failure.Err, &bad) {
		return true
	}
	return res.Status == build.StatusError && res.Failure.ExitCode == 0 &&
		(res.Failure.Step != "" || res.Failure.Dockerfile != "")
}

// withFirstAttempt returns the results of a second attempt at a run. Images that the first attempt
// built count as built.
func (b *built) withFirstAttempt(first *built) *built {
	earlier := map[image.ID]build.Result{}
	for _, res := range first.results {
		if res.Status == build.StatusBuilt {
			earlier[res.Image] = res
		}
	}
	merged := *b
	merged.logs = maps.Clone(b.logs)
	merged.results = make([]build.Result, len(b.results))
	for i, res := range b.results {
		if f, ok := earlier[res.Image]; ok && res.Status == build.StatusUnchanged && res.Digest == f.Digest {
			res.Status, res.Reason, res.Started, res.Duration = f.Status, f.Reason, f.Started, f.Duration
			merged.logs[res.Image] = first.logs[res.Image]
		}
		merged.results[i] = res
	}
	first.record.Close()
	return &merged
}
