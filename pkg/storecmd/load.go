package storecmd

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/transfer"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/bundle/load"
	"github.com/kolla-build/kolla-build/pkg/bundle/parts"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/publish"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	"github.com/kolla-build/kolla-build/pkg/workspace"
)

// LoadOptions are the options of Load alone.
type LoadOptions struct {
	Replace bool // change names in the store and the engine, and tags in the registry, that other images have
	// VerifyKey is the file of a public key: bundles that are not signed with it are
	// refused, and what is signed is trusted. "" requires no signature.
	VerifyKey string
	Trust     bool // accept the keys and kinds of images that the bundle claims
	// Tags are NEW, the tag that all images get, or OLD=NEW, one that replaces another.
	Tags []string
	// Renames are substitutions like those of sed, applied to names without registry.
	Renames []string
	// Name is the name of an image that has none in its file.
	Name string
	// DryRun prints what would be stored, and List the names only. Both read no more
	// than the index of the bundle and store nothing.
	DryRun, List bool
}

// Load reads bundles and archives of other tools into the store, with --engine also into
// a container engine, and with --push into a registry. The images are named when
// everything else was successful, all together.
func Load(ctx context.Context, cfg *config.Config, con *console.Console, paths []string, o LoadOptions) error {
	if cfg.Push && !workspace.NamesRegistry(cfg) {
		// The names in the bundle must not decide where images are sent.
		return usererr.Usage(usererr.Errorf("add --registry HOST[:PORT]", "load --push: no registry"))
	}
	if err := publish.CheckRetention(cfg.Retain); err != nil {
		return cfg.UsageIfTyped("retain", err)
	}
	if err := publish.CheckNames(cfg); err != nil {
		return err
	}
	inputs, err := loadInputs(paths)
	if err != nil {
		return err
	}
	tags, err := parseRetags(o.Tags)
	if err != nil {
		return err
	}
	opts, err := bundleOptions(ctx, cfg, con, o)
	if err != nil {
		return err
	}
	opts.Retag = tags.of
	var client *registry.Client
	if cfg.Push {
		if client, err = workspace.RegistryClient(ctx, cfg, con); err != nil {
			return err
		}
		defer client.Close()
	}
	if opts.NamesOnly {
		return preview(ctx, cfg, con, inputs, opts, tags, client, o.List)
	}
	if client != nil && opts.Relocate.Registry != "" {
		// A mistake in its name is found before gigabytes are read.
		if err := client.Reach(ctx, opts.Relocate.Registry+"/"+cfg.Namespace); err != nil {
			return err
		}
	}
	s, err := workspace.OpenStore(cfg)
	if err != nil {
		return err
	}
	defer s.Close()
	var to *pushTarget
	if client != nil {
		to = newPushTarget(cfg, con, client, s, o.Replace)
		if opts.Relocate.Registry != "" {
			opts.Check = func(ctx context.Context, images []store.Entry) error { return to.check(ctx, setOf(images)) }
		}
	}
	loaded, set, err := loadBundles(ctx, cfg, con, s, inputs, opts)
	var taken *store.NamesTakenError
	if err == nil || len(inputs) == 1 && errors.As(err, &taken) { // of several files, the others were not read
		tags.warn(con, opts.Renames, loaded.Renamed)
	}
	if err != nil {
		return err
	}
	return publishSet(ctx, cfg, con, to, s, loaded, set)
}

// bundleOptions returns how the images are read and named.
func bundleOptions(ctx context.Context, cfg *config.Config, con *console.Console, o LoadOptions) (
	load.Options, error) {
	opts := load.Options{Replace: o.Replace, Trust: o.Trust, NamesOnly: o.DryRun || o.List, Name: o.Name}
	naming, notes, err := workspace.Naming(cfg).Normalize()
	if err != nil {
		return opts, err
	}
	if o.VerifyKey != "" {
		if opts.VerifyKey, err = bundle.ReadVerifyKey(ctx, o.VerifyKey); err != nil {
			return opts, usererr.Usage(fmt.Errorf("--verify-key: %w", err))
		}
	}
	if o.Name != "" {
		if ref, err := imageref.Parse(o.Name); err != nil {
			return opts, usererr.Usage(fmt.Errorf("--name: %w", err))
		} else if ref.Digest() != "" {
			return opts, usererr.Usage(fmt.Errorf("--name %s: a name has no digest", o.Name))
		}
	}
	for _, text := range o.Renames {
		r, err := imageref.ParseRename(text)
		if err != nil {
			return opts, usererr.Usage(fmt.Errorf("--rename: %w", err))
		}
		opts.Renames = append(opts.Renames, r)
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
	return opts, nil
}

// loadInputs puts together the parts of bundles that were split. They can be in different
// directories, and bundles of different months can have the same name.
func loadInputs(paths []string) ([]load.Input, error) {
	sets := map[string]string{} // by part, by path of its bundle and by name of its bundle
	for _, p := range paths {
		if p == "-" {
			continue
		}
		if set := parts.SetOf(p); set != "" {
			sets[p], sets[bundlePath(p)], sets[filepath.Base(bundlePath(p))] = set.String(), set.String(), set.String()
		}
	}
	var inputs []load.Input
	positions := map[string]int{} // of sets in inputs
	stdin := 0
	for _, p := range paths {
		if p == "-" {
			if stdin++; stdin > 1 {
				return nil, usererr.Usage(fmt.Errorf("load: standard input can be read once"))
			}
		}
		// A part whose beginning is damaged belongs to a set by its name.
		set := sets[p]
		if set == "" && p != "-" && parts.IsPartName(p) {
			set = cmp.Or(sets[bundlePath(p)], sets[filepath.Base(bundlePath(p))])
			if set == "" && parts.IsPart(p) {
				set = bundlePath(p)
			}
		}
		i, known := positions[set]
		if set == "" || !known {
			positions[set] = len(inputs)
			inputs = append(inputs, load.Input{Path: p})
			continue
		}
		if inputs[i].Parts == nil {
			inputs[i].Parts = []string{inputs[i].Path}
		}
		inputs[i].Parts = append(inputs[i].Parts, p)
	}
	return inputs, nil
}

// bundlePath returns the path of a bundle, given one of its parts.
func bundlePath(part string) string { return strings.TrimSuffix(part, filepath.Ext(part)) }

// loadBundles reads the files, and loads their images into a container engine if the
// user named one.
func loadBundles(
	ctx context.Context, cfg *config.Config, con *console.Console, s *store.Store,
	inputs []load.Input, opts load.Options,
) (*load.Loaded, publish.Set, error) {
	var e *engine.Engine
	if cfg.IsSet("engine") {
		var err error
		if e, err = engineload.Open(ctx, cfg, con); err != nil {
			return nil, nil, err
		}
		if e != nil {
			defer e.Close()
		}
	}
	progress := transfer.Start(con, "loading", cfg.Progress)
	opts.Progress = progress.Update
	loaded, err := load.Read(ctx, inputs, s, opts)
	progress.Stop()
	for _, p := range loaded.Restored {
		con.Notice("%s", p)
	}
	if err != nil {
		return loaded, nil, err
	}
	report(con, inputs, loaded.Summary)
	set := setOf(loaded.Images)
	if e != nil {
		images := maps.Clone(set)
		maps.DeleteFunc(images, func(ref string, _ digest.Digest) bool { return isArtifact(ref) })
		text, err := engineload.LoadSet(ctx, e, s, images, opts.Replace)
		if err != nil {
			return nil, nil, err
		}
		con.Notice("%s", text)
	}
	return loaded, set, nil
}

// setOf returns the images that are pushed: all but base images.
func setOf(images []store.Entry) publish.Set {
	set := publish.Set{}
	for _, e := range images {
		if e.Kind != store.KindBase {
			set[e.Name] = e.Digest
		}
	}
	return set
}

// isArtifact reports whether a name belongs to a signature or SBOM.
func isArtifact(reference string) bool {
	_, tag, _ := imageref.Split(reference)
	return imageref.IsArtifactTag(tag)
}

// report prints what was read.
func report(con *console.Console, inputs []load.Input, sum load.Summary) {
	if sum.Signed {
		con.Notice("the signature was made with the given key")
	}
	if len(sum.Restored) > 0 {
		con.Notice("everything was restored from the other parts")
	}
	source := inputs[0].Path
	if len(inputs) > 1 {
		source = units.Count(len(inputs), "file")
	}
	con.Notice("%s: %s, %s, %s; %s already in the store", printable.Quoted(source), units.Count(len(sum.Images), "image"),
		units.Count(sum.Blobs, "blob"), units.Bytes(sum.Bytes), units.Count(sum.Reused, "blob"))
	if sum.Deltas > 0 {
		con.Notice("%s made of byte deltas: %s instead of %s", units.Count(sum.Deltas, "layer"), units.Bytes(sum.DeltaBytes),
			units.Bytes(sum.DeltaLayers))
	}
	for _, p := range sum.Partial {
		con.Notice("warning: %s: only %s in the file, not %s", printable.Quoted(p.Name),
			printable.Quoted(strings.Join(p.Loaded, ", ")), printable.Quoted(strings.Join(p.Missing, ", ")))
	}
	if sum.Repaired > 0 {
		con.Notice("%s damaged in the store, replaced", units.Count(sum.Repaired, "blob"))
	}
}
