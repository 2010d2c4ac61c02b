package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// platform is the platform of a configuration, the first one of several.
func platform(cfg *config.Config) (ocispecs.Platform, error) {
	all, err := imageset.Platforms(cfg)
	if err != nil {
		return ocispecs.Platform{}, err
	}
	return all[0], nil
}

// definer returns who defined an image: there is one for each platform.
func (r *buildRun) definer(id image.ID) *definer {
	if d := r.defined.definers[id]; d != nil {
		return d
	}
	return r.def
}

// defineAll makes the definitions for the run's platforms: of each one from a
// rendering of its own.
func (r *buildRun) defineAll(ctx context.Context, baseImage string) error {
	merged := &defined{files: map[image.ID]buildkit.Dockerfile{}, created: map[image.ID]time.Time{}, failed: map[image.ID]error{}, options: map[image.ID]buildkit.ConvertOptions{}, definers: map[image.ID]*definer{}}
	for i, set := range r.rendered.Sets {
		if err := importBase(ctx, baseImage, set.Config, r.store, set.Platform); err != nil {
			return err
		}
		b := &bases{cfg: set.Config, env: r.env, store: r.store, client: r.client, engine: r.engine, platform: set.Platform, local: r.local, done: map[string]buildkit.External{}, created: map[string]time.Time{}}
		def, err := newDefiner(set, r.store, b, r.env)
		if err != nil {
			return err
		}
		d, err := def.define(ctx)
		if err != nil {
			return err
		}
		if i == 0 {
			r.def, r.defined = def, d
		}
		if r.rendered.Several() {
			merged.add(d, def)
		}
	}
	if r.rendered.Several() {
		r.defined = merged
	}
	return nil
}

// add takes in the definitions of one platform.
func (d *defined) add(o *defined, def *definer) {
	on := func(id image.ID) image.ID { return def.set.ID(id.Name) }
	for name, f := range o.files {
		d.files[on(name)] = f
		d.options[on(name)] = def.options
		d.definers[on(name)] = def
	}
	for name, t := range o.created {
		d.created[on(name)] = t
	}
	for name, err := range o.failed {
		d.failed[on(name)] = err
	}
	for _, in := range o.inputs {
		in.Image = on(in.Image)
		if !in.Parent.IsZero() {
			in.Parent = on(in.Parent)
		}
		needs := make([]image.ID, len(in.Needs))
		for i, n := range in.Needs {
			needs[i] = on(n)
		}
		in.Needs = needs
		d.inputs = append(d.inputs, in)
	}
}

// ready opens the builder and finds out whether it can run what it will have to,
// before anything is built.
func (b *builder) ready(ctx context.Context, p *plan.Plan) error {
	bk, err := b.open(ctx)
	if err != nil {
		return err
	}
	var can []string
	var match platforms.MatchComparer
	for _, it := range p.Items {
		f, ok := b.files[it.Image]
		if !ok || it.Action != plan.Build || !f.Runs() {
			continue // to copy files, nothing of the platform has to run
		}
		if match == nil {
			have, err := bk.Platforms(ctx)
			if err != nil {
				return err
			}
			match = platforms.Any(have...)
			for _, h := range have {
				can = append(can, platforms.Format(h))
			}
		}
		if want := b.optionsOf(it.Image).Platform; !match.Match(want) {
			return &HintError{fmt.Errorf("the builder cannot run %s, which %s needs; it runs %s", platforms.Format(want), it.Image, strings.Join(can, ", ")),
				"on its host, Debian's packages qemu-user-static and binfmt-support let it (slowly); or name a builder of that kind with --buildkit-addr"}
		}
	}
	return nil
}

// optionsOf are the options by which an image is converted for building.
func (b *builder) optionsOf(id image.ID) buildkit.ConvertOptions {
	opts := b.convert
	if o, ok := b.options[id]; ok {
		opts.Platform, opts.External = o.Platform, o.External
		if opts.PackageCache != "" {
			opts.PackageCache += strings.TrimPrefix(id.String(), id.Name)
		}
	}
	return opts
}

// join makes one index of each image that is there for all the platforms that it
// can be built for, gives it the image's name in the store, and returns the
// indexes' digests by reference.
func (r *buildRun) join(ctx context.Context, results []*report.Result) (map[string]digest.Digest, error) {
	parts, bad := map[string][]ocispecs.Descriptor{}, map[string]bool{}
	created := map[string]time.Time{}
	names := map[string]string{}
	for _, res := range results {
		if res.Status.Bad() && res.Status != build.StatusPushError {
			bad[res.Reference] = true
			continue
		}
		d := res.Digest
		e, ok, err := r.store.ByDigest(d)
		if err == nil && !ok {
			err = fmt.Errorf("%s is not in the store", d)
		}
		if err != nil {
			return nil, fmt.Errorf("joining the platforms of %s: %w", res.Image, err)
		}
		blobs, err := r.store.Blobs(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("joining the platforms of %s: %w", res.Image, err)
		}
		p := r.rendered.Of(res.Image).Platform
		parts[res.Reference] = append(parts[res.Reference], ocispecs.Descriptor{MediaType: blobs[0].MediaType, Digest: d, Size: blobs[0].Size, Platform: &p})
		names[res.Reference] = res.Image.Name
		if e.Created.After(created[res.Reference]) {
			created[res.Reference] = e.Created
		}
	}
	out := map[string]digest.Digest{}
	var entries []store.Entry
	for _, ref := range slices.Sorted(maps.Keys(parts)) {
		if bad[ref] {
			continue
		}
		raw, err := json.Marshal(ocispecs.Index{
			Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageIndex, Manifests: parts[ref],
			Annotations: map[string]string{
				ocispecs.AnnotationTitle:   names[ref],
				ocispecs.AnnotationCreated: created[ref].UTC().Format(time.RFC3339),
			},
		})
		if err != nil {
			return nil, err
		}
		d, _, err := r.store.WriteBlob(ctx, bytes.NewReader(raw), digest.FromBytes(raw), int64(len(raw)))
		if err != nil {
			return nil, err
		}
		out[ref] = d
		entries = append(entries, store.Entry{Name: ref, Digest: d, Kind: store.KindBuilt, Created: created[ref]})
	}
	return out, r.store.Put(entries...)
}

// unselected are the results of the images that the run leaves out.
func (r *buildRun) unselected() []report.Result {
	var out []report.Result
	for _, im := range r.rendered.LeftOut() {
		out = append(out, report.Result{NotRequested: im.Status == graph.Unbuildable && !im.Requested,
			Result: build.Result{Image: im.Image, Reference: im.Reference, Status: build.Status(im.Status), Reason: im.Reason}})
	}
	return out
}

// mayFail are the images that may fail.
func (r *buildRun) mayFail() []image.ID {
	var ids []image.ID
	for _, name := range r.cfg.AllowedToFail {
		ids = append(ids, r.rendered.IDs(name)...)
	}
	return ids
}
