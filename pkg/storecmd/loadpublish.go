package storecmd

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/transfer"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// checkTags returns an error if tags of the registry refer to other images than those that are
// pushed.
func checkTags(ctx context.Context, client *registry.Client, images []store.Entry) error {
	set := setOf(images)
	current, err := publish.CurrentTags(ctx, client, set.References())
	if err != nil {
		return err
	}
	return set.CheckTaken(current)
}

// publishSet gives the loaded images their names, with --push in the registries first:
// if one does not take them all, the store has none of the names, either.
func publishSet(
	ctx context.Context, cfg *config.Config, con *console.Console, client *registry.Client, s *store.Store,
	loaded *bundle.Loaded, set publish.Set, replace bool,
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
	target := publish.Target{Console: con, Store: s, AlsoTags: cfg.AlsoTag, Retention: retention, Threads: cfg.Threads, Accepted: loaded.Name}
	var progress *transfer.Progress
	defer func() { progress.Stop() }()
	if client != nil {
		progress = transfer.Start(con, "pushing", cfg.Progress)
		target.Registry, err = publish.OpenRegistry(ctx, set.References(),
			publish.RegistryOptions{Console: con, Client: client, Store: s, Progress: progress.Update,
				AlsoTags: cfg.AlsoTag, KeepTags: !replace, Journal: publish.JournalDir(cfg.DataDir), Recover: true})
		if err == nil {
			err = target.Registry.CheckTags(set)
		}
		if err == nil {
			err = target.Registry.CheckPush(ctx, set)
		}
		if err != nil {
			return err
		}
	}
	if _, err := target.Publish(ctx, set, true); err != nil {
		return err
	}
	progress.Stop()
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
