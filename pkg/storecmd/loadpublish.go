package storecmd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/transfer"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// pushTarget is the registry that a set is pushed to.
type pushTarget struct {
	registry *publish.Registry
	progress *transfer.Progress // of the push, nil before it
}

// newPushTarget sends no request.
func newPushTarget(cfg *config.Config, con *console.Console, client *registry.Client, s *store.Store,
	replace bool) *pushTarget {
	t := &pushTarget{}
	t.registry = publish.NewRegistry(publish.RegistryOptions{Console: con, Client: client, Store: s,
		Progress: func(done, total int64) { t.progress.Update(done, total) },
		AlsoTags: cfg.AlsoTag, KeepTags: !replace, Journal: publish.JournalDir(cfg.DataDir), Recover: true})
	return t
}

// check returns an error if a set would replace tags of the registry that must be kept. Each tag
// is looked up once, however often it is checked.
func (t *pushTarget) check(ctx context.Context, set publish.Set) error {
	if err := t.registry.LookUp(ctx, set.References()); err != nil {
		return err
	}
	return t.registry.CheckTags(set)
}

// publishSet gives the loaded images their names, with --push in the registries first:
// if one does not take them all, the store has none of the names, either.
func publishSet(
	ctx context.Context, cfg *config.Config, con *console.Console, to *pushTarget, s *store.Store,
	loaded *load.Loaded, set publish.Set,
) error {
	tags := slices.Clone(cfg.AlsoTag)
	for _, ref := range set.References() {
		if _, tag, _ := imageref.Split(ref); !imageref.IsArtifactTag(tag) {
			tags = append(tags, tag)
		}
	}
	retention, err := publish.ParseRetention(cfg.Retain, tags, time.Now())
	if err != nil {
		return err
	}
	target := publish.Target{
		Console:   con,
		Store:     s,
		AlsoTags:  cfg.AlsoTag,
		Retention: retention,
		Threads:   cfg.Threads,
		Accepted:  loaded.Name,
	}
	if to != nil {
		to.progress = transfer.Start(con, "pushing", cfg.Progress)
		defer to.progress.Stop()
		target.Registry = to.registry
		if err := to.check(ctx, set); err != nil {
			return err
		}
		if err := to.registry.CheckPush(ctx, set); err != nil {
			return err
		}
	}
	if _, err := target.Publish(ctx, set, true); err != nil {
		return err
	}
	if to != nil {
		to.progress.Stop()
	}
	for _, ref := range set.References() {
		for _, name := range publish.Names(ref, cfg.AlsoTag) {
			fmt.Fprintln(con.Stdout, name)
		}
	}
	if target.Registry != nil {
		con.Notice("pushed %s: %s", units.Count(len(set), "image"), target.Registry.Stats())
	}
	return nil
}
