package storecmd

import (
	"context"
	"fmt"
	"time"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// LoadOptions are the options of Load alone.
type LoadOptions struct {
	Replace bool // move names that other images in the store have
	// VerifyKey is the file of a public key: bundles that are not signed with it are
	// refused, and what is signed is trusted. "" requires no signature.
	VerifyKey string
	Trust     bool // accept the keys and kinds of images that the bundle claims
	// Tags are NEW, the tag that all images get, or OLD=NEW, one that replaces another.
	Tags  []string
	Parts []string // of a bundle that was split; the path is one of them
	// DryRun prints what would be stored, and List the names only. Both read no more
	// than the index of the bundle and store nothing.
	DryRun, List bool
}

// Load reads a bundle into the store, with --engine also into a container engine,
// and with --push into a registry.
func Load(ctx context.Context, cfg *config.Config, con *console.Console, path string, o LoadOptions) error {
	for _, file := range o.Parts {
		if !parts.IsPart(file) {
			return usererr.Usage(usererr.Errorf("load them one after another; several files are the parts of one", "load: %s is no part of a bundle", file))
		}
	}
	if cfg.Push && cfg.Registry == "" {
		// The names in the bundle must not decide where images are sent.
		return usererr.Usage(usererr.Errorf("add --registry HOST[:PORT]", "load --push: no registry"))
	}
	if err := publish.CheckRetention(cfg.Retain); err != nil {
		return cfg.UsageIfTyped("retain", err)
	}
	if err := publish.CheckNames(cfg); err != nil {
		return err
	}
	naming, notes, err := workspace.Naming(cfg).Normalize()
	if err != nil {
		return err
	}
	opts := bundle.LoadOptions{Replace: o.Replace, Trust: o.Trust, Parts: o.Parts, NamesOnly: o.DryRun || o.List}
	if o.VerifyKey != "" {
		if opts.VerifyKey, err = bundle.ReadVerifyKey(ctx, o.VerifyKey); err != nil {
			return fmt.Errorf("--verify-key: %w", err)
		}
	}
	if opts.Retag, err = parseRetags(o.Tags); err != nil {
		return err
	}
	if cfg.IsSet("image-name-prefix") {
		opts.Relocate.Prefix = cfg.ImageNamePrefix
	}
	if cfg.Registry != "" || cfg.IsSet("namespace") {
		for _, note := range notes {
			con.Notice("%s", note)
		}
		opts.Relocate.Registry = naming.Registry
		if cfg.IsSet("namespace") {
			opts.Relocate.Namespace = naming.Namespace
		}
	}
	if opts.NamesOnly {
		return preview(ctx, cfg, con, path, opts, o.List)
	}
	s, err := workspace.OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	set, err := loadBundle(ctx, cfg, con, s, path, opts)
	if err != nil {
		return err
	}
	return publishSet(ctx, cfg, con, s, set)
}

// loadBundle reads the bundle, and loads its images into a container engine if
// the user named one.
func loadBundle(ctx context.Context, cfg *config.Config, con *console.Console, s *store.Store, path string, opts bundle.LoadOptions) (publish.Set, error) {
	var load func(publish.Set) error
	if cfg.IsSet("engine") {
		e, err := engineload.Open(ctx, cfg, con)
		if err != nil {
			return nil, err
		}
		if e != nil {
			defer e.Close()
			load = func(set publish.Set) error {
				loaded, err := engineload.LoadSet(ctx, e, s, set)
				if err == nil {
					con.Notice("%s", loaded)
				}
				return err
			}
		}
	}
	sum, err := bundle.Load(ctx, path, s, opts)
	for _, p := range sum.Restored {
		con.Notice("%s", p)
	}
	if err != nil {
		return nil, err
	}
	if sum.Signed {
		con.Notice("the signature is that of the key")
	}
	if len(sum.Restored) > 0 {
		con.Notice("everything was restored from the other parts")
	}
	con.Notice("%s: %s, %s, %s; %s already in the store", path, units.Count(len(sum.Images), "image"), units.Count(sum.Blobs, "blob"), units.Bytes(sum.Bytes), units.Count(sum.Reused, "blob"))
	if sum.Deltas > 0 {
		con.Notice("%s made of byte deltas: %s instead of %s", units.Count(sum.Deltas, "layer"), units.Bytes(sum.DeltaBytes), units.Bytes(sum.DeltaLayers))
	}
	if sum.Repaired > 0 {
		con.Notice("%s damaged in the store, replaced", units.Count(sum.Repaired, "blob"))
	}
	set := publish.Set{}
	for _, e := range sum.Images {
		if e.Kind != store.KindBase {
			set[e.Name] = e.Digest
		}
	}
	if load != nil {
		return set, load(set)
	}
	return set, nil
}

// publishSet gives the loaded images their tags, in the store and with --push in
// the registries of their names.
func publishSet(ctx context.Context, cfg *config.Config, con *console.Console, s *store.Store, set publish.Set) error {
	tags := cfg.AlsoTag
	for _, ref := range set.References() {
		_, tag, _ := imageref.Split(ref)
		tags = append(tags, tag)
	}
	retention, err := publish.ParseRetention(cfg.Retain, tags, time.Now())
	if err != nil {
		return err
	}
	target := publish.Target{Console: con, Store: s, AlsoTags: cfg.AlsoTag, Retention: retention, Threads: cfg.Threads}
	if cfg.Push {
		client, err := workspace.RegistryClient(cfg, con)
		if err != nil {
			return err
		}
		defer client.Close()
		target.Registry, err = publish.OpenRegistry(ctx, set.References(), publish.RegistryOptions{Console: con, Client: client, Store: s,
			AlsoTags: cfg.AlsoTag, Journal: publish.JournalDir(cfg.DataDir), Recover: true})
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
	for _, ref := range set.References() {
		fmt.Fprintln(con.Stdout, ref)
		for _, tag := range cfg.AlsoTag {
			fmt.Fprintln(con.Stdout, publish.WithTag(ref, tag))
		}
	}
	if target.Registry != nil {
		st := target.Registry.Stats()
		con.Notice("pushed %s: %s sent (%s), %d reused from other repositories, %d already in the registry", units.Count(len(set), "image"), units.Count(int(st.Uploaded), "blob"), units.Bytes(st.Bytes), st.Mounted, st.Skipped)
	}
	return nil
}
