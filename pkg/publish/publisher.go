package publish

import (
	"context"
	"maps"
	"path/filepath"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/store/repair"
)

// RegistryOptions are the settings of OpenRegistry.
type RegistryOptions struct {
	Console  *console.Console
	Client   *registry.Client
	Store    *store.Store
	AlsoTags []string // further tags of every image
	// KeepTags makes it an error if a reference of the set refers to another image. AlsoTags,
	// which are meant to float, are changed regardless.
	KeepTags bool

	// Journal is the directory in which an interrupted publication is recorded.
	// Publications with the same journal wait for each other.
	Journal string
	// Progress, if it is not nil, is called during an upload with the bytes that are in the
	// registry and the total. It must not block.
	Progress func(done, total int64)
	// Recover completes or undoes interrupted publications of the same images.
	Recover bool
}

// JournalDir is the journal of a data directory.
func JournalDir(dataDir string) string { return filepath.Join(dataDir, "publications") }

// Registry is the registry that a set is published to. It implements
// build.Uploader: content is sent as images finish, tags change at the end.
type Registry struct {
	opts     RegistryOptions
	pub      *push.Publisher
	meter    *push.Meter              // nil without opts.Progress
	before   map[string]digest.Digest // by name: the image of the tag when it was looked up
	lookedUp map[string]bool          // references
}

// OpenRegistry looks up the tags of a set's references, with one HEAD request each, in
// parallel. So an unreachable registry, or one that denies access, is reported before
// anything is built.
func OpenRegistry(ctx context.Context, references []string, opts RegistryOptions) (*Registry, error) {
	r := NewRegistry(opts)
	if err := r.LookUp(ctx, references); err != nil {
		return nil, err
	}
	return r, nil
}

// NewRegistry is OpenRegistry for references that are not known yet. It sends no request.
func NewRegistry(opts RegistryOptions) *Registry {
	r := &Registry{opts: opts, before: map[string]digest.Digest{}, lookedUp: map[string]bool{}}
	pushOptions := push.Options{Journal: opts.Journal, Notice: func(text string) { opts.Console.Notice("%s", text) }}
	if opts.Progress != nil {
		r.meter = &push.Meter{Update: opts.Progress}
		pushOptions.Progress = r.meter.Report
	}
	r.pub = push.New(opts.Client, pushOptions)
	return r
}

// LookUp looks up the tags of references, each once in the life of the registry.
func (r *Registry) LookUp(ctx context.Context, references []string) error {
	var added, names []string
	for _, ref := range references {
		if !r.lookedUp[ref] {
			added, names = append(added, ref), append(names, Names(ref, r.opts.AlsoTags)...)
		}
	}
	if len(added) == 0 {
		return nil
	}
	if err := r.opts.Client.Reach(ctx, added[0]); err != nil {
		return err
	}
	if r.opts.Recover {
		done, err := r.pub.Recover(ctx, added)
		for _, text := range done {
			r.opts.Console.Notice("%s", text)
		}
		if err != nil {
			return err
		}
	}
	current, err := CurrentTags(ctx, r.opts.Client, names)
	if err != nil {
		return err
	}
	maps.Copy(r.before, current)
	for _, ref := range added {
		r.lookedUp[ref] = true
	}
	return nil
}

// CheckPush finds out whether the registry allows to publish a set, whose digests are
// "" for images that have not been built. It sends no request if no tag changes.
func (r *Registry) CheckPush(ctx context.Context, set Set) error {
	var changed []string
	for _, ref := range set.References() {
		if r.Change(ref, set[ref]) != ChangeNone {
			changed = append(changed, ref)
		}
	}
	return r.opts.Client.CheckPush(ctx, changed)
}

// CheckTags returns a *push.TagsTakenError if publication would replace images that KeepTags
// protects.
func (r *Registry) CheckTags(set Set) error {
	if !r.opts.KeepTags {
		return nil
	}
	return set.CheckTaken(r.before)
}

// Current returns the image that a name referred to when the registry was opened, "" if
// the tag did not exist.
func (r *Registry) Current(name string) digest.Digest { return r.before[name] }

// Stats counts what was sent.
func (r *Registry) Stats() push.Stats { return r.pub.Stats() }

// Change is the effect of publication on an image's tags in the registry.
type Change string

// The changes.
const (
	ChangeNone     Change = "there" // the tags already name the image
	ChangeReplaced Change = "moves" // at least one names another image
	ChangeNew      Change = "new"   // at least one does not exist; the others name the image
)

// Change returns the effect of publishing d as a reference. d is "" for an image that
// has not been built.
func (r *Registry) Change(reference string, d digest.Digest) Change {
	change := ChangeNone
	for _, name := range Names(reference, r.opts.AlsoTags) {
		switch current := r.before[name]; {
		case current == "" && change == ChangeNone:
			change = ChangeNew
		case current != "" && current != d:
			change = ChangeReplaced
		}
	}
	return change
}

// Upload implements build.Uploader.
func (r *Registry) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	if r.has(it.Reference, d) {
		return nil
	}
	return r.send(ctx, it.Reference, d)
}

// has reports whether one of the names of a reference names d, so that the
// registry has its content.
func (r *Registry) has(reference string, d digest.Digest) bool {
	return slices.ContainsFunc(Names(reference, r.opts.AlsoTags), func(name string) bool { return r.before[name] == d })
}

// send copies an image's content into the repository of a reference. A blob that
// is damaged in the store is removed there, so that the image is built again.
func (r *Registry) send(ctx context.Context, reference string, d digest.Digest) error {
	img, idx, err := r.opts.Store.ForUpload(d)
	switch {
	case err != nil:
	case idx != nil:
		_, err = r.pub.PushIndex(ctx, reference, idx)
	default:
		_, err = r.pub.Push(ctx, reference, img)
	}
	return repair.RemoveDamaged(ctx, r.opts.Store, err)
}

// sendSet sends the content of a set, several images at the same time.
func (r *Registry) sendSet(ctx context.Context, set Set, threads int) error {
	if r.meter != nil {
		for _, ref := range set.References() {
			if r.has(ref, set[ref]) {
				continue
			}
			blobs, err := r.opts.Store.Blobs(ctx, set[ref])
			if err != nil {
				return repair.RemoveDamaged(ctx, r.opts.Store, err)
			}
			for _, d := range blobs {
				if mt := types.MediaType(d.MediaType); !mt.IsImage() && !mt.IsIndex() {
					r.meter.Expect(d)
				}
			}
		}
		r.meter.Expected()
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, threads))
	for _, ref := range set.References() {
		if !r.has(ref, set[ref]) {
			g.Go(func() error { return r.send(gctx, ref, set[ref]) })
		}
	}
	return g.Wait()
}

// commit changes the tags of a set, all or none. If one changes, those that named the right
// image when the run began are checked again: another publisher may have changed them since.
func (r *Registry) commit(ctx context.Context, set Set) error {
	var tags []push.Tag
	changed := false
	for _, ref := range set.References() {
		for _, name := range Names(ref, r.opts.AlsoTags) {
			tags = append(tags, push.Tag{Ref: name, Digest: set[ref], NoReplace: r.opts.KeepTags && name == ref})
			changed = changed || r.before[name] != set[ref]
		}
	}
	if !changed {
		return nil
	}
	return r.pub.Commit(ctx, tags)
}
