package pipeline

import (
	"context"
	"errors"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// isWhole reports whether the store has all of an image, by the sizes of its
// blobs. A blob of the wrong size is thrown out, since it stands in the way of
// the right one.
func isWhole(ctx context.Context, s *store.Store, d digest.Digest) bool {
	err := s.Check(ctx, d)
	var be *store.BlobError
	if errors.As(err, &be) && !be.Missing {
		_, _ = s.DropBad(ctx, be.Digest) // what cannot be removed is found again when it is read
	}
	return err == nil
}

// heal throws damaged blobs out of the store after a run in which reading them
// made images fail, and reports whether there were any: then what stood on them
// can be made again. Disks lose bits; what is read is checked, always.
func (r *buildRun) heal(ctx context.Context, results []*report.Result) bool {
	digests := map[image.ID]digest.Digest{}
	for _, res := range results {
		digests[res.Image] = res.Digest
	}
	seen := map[digest.Digest]bool{}
	lost := false
	check := func(d digest.Digest) {
		if d == "" || seen[d] {
			return
		}
		seen[d] = true
		for {
			var be *store.BlobError
			if err := r.store.Verify(ctx, d); !errors.As(err, &be) {
				return
			}
			if be.Missing { // as is what an upload has found damaged, and removed
				lost = true
				return
			}
			bad, err := r.store.DropBad(ctx, be.Digest)
			if err != nil || !bad {
				return
			}
			r.env.Notice("%v: damaged, and removed from the store", be)
			lost = true
		}
	}
	for _, it := range r.plan.Items {
		for _, res := range results {
			if res.Image != it.Image || res.Failure == nil || !readsStore(res) {
				continue
			}
			check(digests[it.Image])
			for _, n := range it.Needs {
				check(digests[n])
			}
			for _, ext := range r.definer(it.Image).bases.used() {
				check(ext)
			}
		}
	}
	return lost
}

// builtBefore marks the images that the first of two tries at a run built, and
// the second kept, as built: they are new in this run.
func builtBefore(first, second []*report.Result) {
	built := map[image.ID]*report.Result{}
	for _, res := range first {
		if res.Status == build.StatusBuilt {
			built[res.Image] = res
		}
	}
	for _, res := range second {
		if b := built[res.Image]; b != nil && res.Status == build.StatusUnchanged && res.Digest == b.Digest {
			res.Status, res.Reason, res.Started, res.Duration = b.Status, b.Reason, b.Started, b.Duration
		}
	}
}

// readsStore reports whether an image may have failed for what the store holds:
// its upload did, or its build without a command's doing.
func readsStore(res *report.Result) bool {
	var be *store.BlobError
	if errors.As(res.Failure.Err, &be) {
		return true
	}
	return res.Status == build.StatusError && res.Failure.ExitCode == 0 && (res.Failure.Step != "" || res.Failure.Dockerfile != "")
}

// used returns the images from outside that a run stands on.
func (b *bases) used() []digest.Digest {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []digest.Digest
	for _, ext := range b.done {
		all = append(all, ext.Digest)
	}
	return all
}
