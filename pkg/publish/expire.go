package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// inventory is the existing tags, by repository.
type inventory map[string][]string

// expired returns the full names that are removed, sorted.
func (inv inventory) expired(k *Retention) []string {
	var candidates []string
	for _, tags := range inv {
		candidates = append(candidates, tags...)
	}
	expired := k.expired(candidates)
	var names []string
	for repo, tags := range inv {
		for _, tag := range tags {
			if expired[tag] {
				names = append(names, repo+":"+tag)
			}
		}
	}
	slices.Sort(names)
	return names
}

func repositories(references []string) map[string]bool {
	repos := map[string]bool{}
	for _, ref := range references {
		repos[repository(ref)] = true
	}
	return repos
}

// inStore lists the tags of the repositories' images in the store.
func inStore(s *store.Store, repos map[string]bool) (inventory, error) {
	entries, err := s.Entries()
	if err != nil {
		return nil, err
	}
	inv := inventory{}
	for _, e := range entries {
		if repo := repository(e.Name); e.Kind != store.KindBase && repos[repo] {
			inv[repo] = append(inv[repo], tagOf(e.Name))
		}
	}
	return inv, nil
}

// inRegistry lists the tags of the repositories in the registry: one request each.
func inRegistry(ctx context.Context, c *registry.Client, repos map[string]bool) (inventory, error) {
	inv := inventory{}
	var mu sync.Mutex
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for repo := range repos {
		g.Go(func() error {
			tags, err := c.Tags(gctx, repo)
			mu.Lock()
			defer mu.Unlock()
			inv[repo] = tags
			return err
		})
	}
	return inv, g.Wait()
}

// apply removes older sets after the references were published. Tags that cannot be
// deleted from the registry are reported, but are not an error, because the set is
// published.
func (k *Retention) apply(ctx context.Context, t Target, references []string) error {
	if k == nil || len(references) == 0 {
		return nil
	}
	repos := repositories(references)
	if t.Registry != nil {
		inv, err := inRegistry(ctx, t.Registry.opts.Client, repos)
		if err != nil {
			t.Console.Notice("warning: older sets stay in the registry: %v", err)
		} else {
			t.deleteTags(ctx, inv.expired(k))
		}
	}
	inv, err := inStore(t.Store, repos)
	if err != nil {
		return err
	}
	n, err := t.Store.Remove(inv.expired(k)...)
	if err != nil {
		return fmt.Errorf("removing the names of older sets: %w", err)
	}
	if n > 0 {
		t.Console.Notice("removed %s of older sets from the store; kolla-build gc frees the space", units.Count(n, "name"))
	}
	return nil
}

// deleteTags deletes tags from the registry, several at a time. If the registry
// does not allow deletion, only one is tried.
func (t Target) deleteTags(ctx context.Context, names []string) {
	if len(names) == 0 {
		return
	}
	var mu sync.Mutex
	var failed []error
	done := 0
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for i, name := range names {
		del := func() error {
			err := t.Registry.opts.Client.DeleteTag(gctx, name)
			var deleteErr *registry.DeleteError
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.As(err, &deleteErr):
				failed = []error{deleteErr}
				return err
			case gctx.Err() == nil:
				failed = append(failed, err)
			}
			return nil
		}
		if i > 0 {
			g.Go(del)
		} else if del() != nil {
			break
		}
	}
	_ = g.Wait() // the errors are in failed
	if done > 0 {
		t.Console.Notice("%s: deleted %s of older sets from the registry; its garbage collection frees the space",
			tagsOf(names),
			units.Count(done, "tag"))
	}
	if len(failed) > 0 {
		t.Console.Notice("warning: %s of older sets stay in the registry: %v", units.Count(len(names)-done, "tag"), failed[0])
		if hint := usererr.Hint(failed[0]); hint != "" {
			t.Console.Notice("  hint: %s", hint)
		}
	}
}

// tagsOf lists the tags of names: "2026-11-07, 2026-11-08".
func tagsOf(names []string) string {
	var tags []string
	for _, n := range names {
		tags = append(tags, tagOf(n))
	}
	slices.Sort(tags)
	tags = slices.Compact(tags)
	if len(tags) > 6 {
		tags = append(tags[:5], fmt.Sprintf("and %d more", len(tags)-5))
	}
	return strings.Join(tags, ", ")
}

// PreviewExpiry reports which older sets publishing the references removes.
func (t Target) PreviewExpiry(ctx context.Context, references []string) error {
	if t.Retention == nil {
		return nil
	}
	repos := repositories(references)
	report := func(inv inventory, place string) {
		if names := inv.expired(t.Retention); len(names) > 0 {
			t.Console.Notice("older sets that a run removes from %s: %s (%s)", place, tagsOf(names),
				units.Count(len(names), "name"))
		}
	}
	if t.Registry != nil {
		inv, err := inRegistry(ctx, t.Registry.opts.Client, repos)
		if err != nil {
			return err
		}
		report(inv, "the registry")
	}
	inv, err := inStore(t.Store, repos)
	if err != nil {
		return err
	}
	report(inv, "the store")
	return nil
}
