package pipeline

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// namesOf returns the names that an image gets: its reference, and that with
// each --also-tag in place of its tag.
func namesOf(cfg *config.Config, ref string) []string {
	names := []string{ref}
	for _, tag := range cfg.AlsoTag {
		if name := repository(ref) + ":" + tag; !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// repository is a reference without its tag.
func repository(ref string) string {
	repo, _, _ := imageref.Split(ref)
	return repo
}

// tagOf is a reference's tag, "" if it has none.
func tagOf(ref string) string {
	_, tag, _ := imageref.Split(ref)
	return tag
}

// references returns the names of a plan's images, each once.
func references(p *plan.Plan) []string {
	var refs []string
	seen := map[string]bool{}
	for _, it := range p.Items {
		if !seen[it.Reference] {
			seen[it.Reference] = true
			refs = append(refs, it.Reference)
		}
	}
	return refs
}

// publish gives the set its names, in the registry and in the store: all of
// them, or with --allow-partial those of the images that are there with all that
// they stand on. Otherwise every name stays where it is.
func (r *buildRun) publish(ctx context.Context, results []*report.Result) error {
	if ctx.Err() != nil || r.up == nil && len(r.cfg.AlsoTag) == 0 && r.retain == nil {
		return nil
	}
	if r.night.quiet() {
		r.night.leave(r, results)
		return nil
	}
	if n := r.failed(results); n > 0 && !r.cfg.AllowPartial {
		r.env.Notice("nothing was published: %d of %d images failed, and a set's tags move together; every tag names what it named before", n, len(results))
		return nil
	}
	set := r.complete(results)
	if r.up != nil {
		defer r.watch.work()()
		if r.rendered.Several() {
			if err := r.up.sendAll(ctx, set); err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
		}
		if err := r.up.commit(ctx, set); err != nil {
			r.notPublished(results, set, err)
			return fmt.Errorf("publishing: %w", err)
		}
		r.sent = len(set) > 0
	}
	for _, res := range results {
		if d, ok := set[res.Reference]; ok {
			res.Pushed = r.up != nil
			res.Moved = r.up != nil && r.up.moves(res.Reference, d.String())
		} else if !slices.Contains(r.left, res.Image) {
			r.left = append(r.left, res.Image)
		}
	}
	if len(r.left) > 0 {
		r.env.Notice("%d of %d images were published; the tags of the others name what they named before: %s",
			len(results)-len(r.left), len(results), joinIDs(r.left))
	}
	if err := nameSet(r.cfg, r.store, set); err != nil {
		return err
	}
	return r.retain.apply(ctx, r.env, r.store, r.up, slices.Collect(maps.Keys(set)))
}

func joinIDs(ids []image.ID) string {
	var names []string
	for _, id := range ids {
		names = append(names, id.String())
	}
	return strings.Join(names, ", ")
}

// moves reports whether one of the names of ref stood elsewhere, or nowhere,
// when the run began.
func (u *publisher) moves(ref, digest string) bool {
	return slices.ContainsFunc(namesOf(u.cfg, ref), func(name string) bool { return u.have[name].String() != digest })
}

// complete returns the digests, by reference, of the images that are there and
// that stand on images which are there.
func (r *buildRun) complete(results []*report.Result) map[string]digest.Digest {
	set, whole := map[string]digest.Digest{}, map[image.ID]bool{}
	for i, it := range r.plan.Items { // parents first, and results are in the plan's order
		ok := !results[i].Status.Bad()
		for _, n := range it.Needs {
			ok = ok && whole[n]
		}
		if whole[it.Image] = ok; ok {
			set[it.Reference] = results[i].Digest
		}
	}
	if r.rendered.Several() { // an image is its index, and that of all its platforms
		for _, it := range r.plan.Items {
			if d, ok := r.joined[it.Reference]; ok && whole[it.Image] {
				set[it.Reference] = d
			}
		}
		for _, it := range r.plan.Items {
			if !whole[it.Image] {
				delete(set, it.Reference)
			}
		}
	}
	return set
}

// nameSet gives the names to the images in the store, in one write.
func nameSet(cfg *config.Config, s *store.Store, set map[string]digest.Digest) error {
	names := map[string]digest.Digest{}
	for ref, d := range set {
		for _, name := range namesOf(cfg, ref) {
			if digestOf(s, name) != d {
				names[name] = d
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := s.TagAll(names); err != nil {
		return fmt.Errorf("naming the set in the store: %w", err)
	}
	return nil
}

// notPublished marks the images whose tags did not move.
func (r *buildRun) notPublished(results []*report.Result, set map[string]digest.Digest, err error) {
	var why *push.CommitError
	errors.As(err, &why)
	for _, res := range results {
		d, wanted := set[res.Reference]
		if !wanted {
			continue
		}
		stands := true
		var own error
		for _, name := range namesOf(r.cfg, res.Reference) {
			stands = stands && r.up.have[name] == d
			if why != nil {
				own = errors.Join(own, why.Failed[name], why.Stuck[name])
			}
		}
		if stands {
			res.Pushed = true // nothing had to move
			continue
		}
		res.Status, res.Reason = build.StatusPushError, "not published: the set's tags did not move"
		res.Failure = &build.Failure{Err: err}
		if own != nil {
			res.Failure.Err = own
		}
	}
}

// DamageError says that a blob of the store was not what its digest says. It has
// been removed.
type DamageError struct{ Blob *store.BlobError }

func (e *DamageError) Error() string { return "the store is damaged: " + e.Blob.Error() }

// Unwrap gives the blob's error.
func (e *DamageError) Unwrap() error { return e.Blob }

// Hint says what the user can do.
func (e *DamageError) Hint() string {
	return "run the build again: it makes the images anew that have this blob, and nothing else"
}

// healed takes the blob out of the store that an error says is damaged, so that
// the images with it are built again.
func healed(ctx context.Context, s *store.Store, err error) error {
	var bad *store.BlobError
	if !errors.As(err, &bad) {
		return err
	}
	if !bad.Missing {
		if dropped, derr := s.DropBad(ctx, bad.Digest); derr != nil || !dropped {
			return err
		}
	}
	return &DamageError{bad}
}
