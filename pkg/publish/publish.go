package publish

import (
	"context"
	"errors"
	"fmt"

	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Target is where a set is published.
type Target struct {
	Console   *console.Console
	Store     *store.Store
	Registry  *Registry  // nil if the set stays in the store
	AlsoTags  []string   // further tags of every image
	Retention *Retention // nil keeps older sets
	Threads   int        // images that are sent at once
	// Accepted is called when the registry has accepted all tags, before names in the
	// store change. An error ends the publication. It may be nil.
	Accepted func() error
}

// Outcome is the result for a set's tags in the registry, by reference.
type Outcome struct {
	Published bool             // the set has its tags
	Named     map[string]bool  // the tags name the image
	Changed   map[string]bool  // and at least one of them was set or changed
	Failed    map[string]error // the tags were not changed
	Stuck     int              // tags that were changed and could not be restored
}

// Publish gives a set its tags, in the registry and in the store, and then removes
// older sets. If the registry does not accept all tags, none is changed. With upload,
// content that the registry does not have is uploaded first.
func (t Target) Publish(ctx context.Context, set Set, upload bool) (Outcome, error) {
	out := Outcome{Named: map[string]bool{}, Changed: map[string]bool{}, Failed: map[string]error{}}
	if t.Registry != nil {
		if upload {
			if err := t.Registry.sendSet(ctx, set, t.Threads); err != nil {
				return out, fmt.Errorf("publishing: %w", err)
			}
		}
		if err := t.Registry.commit(ctx, set); err != nil {
			t.failed(&out, set, err)
			return out, fmt.Errorf("publishing: %w", err)
		}
		for ref, d := range set {
			out.Named[ref] = true
			out.Changed[ref] = t.Registry.Change(ref, d) != ChangeNone
		}
		out.Published = len(set) > 0
	}
	if t.Accepted != nil {
		if err := t.Accepted(); err != nil {
			return out, err
		}
	}
	if err := t.nameInStore(set); err != nil {
		return out, err
	}
	return out, t.Retention.apply(ctx, t, set.References())
}

// failed fills in the outcome of a set whose tags could not be changed.
func (t Target) failed(out *Outcome, set Set, err error) {
	var commit *push.CommitError
	if errors.As(err, &commit) {
		out.Stuck = len(commit.Stuck)
	}
	for ref, d := range set {
		if t.Registry.Change(ref, d) == ChangeNone {
			out.Named[ref] = true
			continue
		}
		out.Failed[ref] = err
		if commit == nil {
			continue
		}
		var tagErr error
		for _, name := range Names(ref, t.AlsoTags) {
			tagErr = errors.Join(tagErr, commit.Failed[name], commit.Stuck[name])
		}
		if tagErr != nil {
			out.Failed[ref] = tagErr
		}
	}
}

// nameInStore gives the images their names in the store, in one write.
func (t Target) nameInStore(set Set) error {
	names := map[string]digest.Digest{}
	for ref, d := range set {
		for _, name := range Names(ref, t.AlsoTags) {
			if e, ok, err := t.Store.Lookup(name); err != nil || !ok || e.Digest != d {
				names[name] = d
			}
		}
	}
	if len(names) == 0 {
		return nil
	}
	if err := t.Store.TagAll(names); err != nil {
		return fmt.Errorf("naming the set in the store: %w", err)
	}
	return nil
}
