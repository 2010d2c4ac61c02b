package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/containerd/platforms"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/report"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// platformsOf reads --platform: what the images are built for, in the order
// given, each once. Without it, it is the architecture of the configuration.
func platformsOf(cfg *config.Config) ([]ocispecs.Platform, error) {
	if cfg.Platform == "" {
		return []ocispecs.Platform{{OS: "linux", Architecture: cfg.DebianArch}}, nil
	}
	var out []ocispecs.Platform
	for text := range strings.SplitSeq(cfg.Platform, ",") {
		text = strings.TrimSpace(text)
		p, err := platforms.Parse(text)
		_, _, known := facts.ArchNames(p.Architecture)
		switch {
		case err != nil || !strings.Contains(text, "/") || !known:
			return nil, &HintError{fmt.Errorf("--platform %s: %q is not a platform", cfg.Platform, text), "write OS/ARCH, several separated by commas: --platform linux/amd64,linux/arm64"}
		case p.OS != "linux":
			return nil, &HintError{fmt.Errorf("--platform %s: OpenStack's images are Linux images", cfg.Platform), "write linux/" + p.Architecture}
		}
		if p = platforms.Normalize(p); !slices.ContainsFunc(out, func(o ocispecs.Platform) bool { return platforms.Format(o) == platforms.Format(p) }) {
			out = append(out, p)
		}
	}
	for _, name := range []string{"base-arch", "debian-arch"} {
		if len(out) > 1 && cfg.IsSet(name) {
			return nil, &HintError{fmt.Errorf("--platform %s: --%s cannot be right for all of them", cfg.Platform, name), "leave it out, it follows from the platform"}
		}
	}
	return out, nil
}

// platform is the platform of a configuration, the first one of several.
func platform(cfg *config.Config) (ocispecs.Platform, error) {
	all, err := platformsOf(cfg)
	if err != nil {
		return ocispecs.Platform{}, err
	}
	return all[0], nil
}

// forPlatform returns the configuration for one platform. Without --platform it
// is as it was.
func forPlatform(cfg *config.Config, p ocispecs.Platform) *config.Config {
	if cfg.Platform == "" {
		return cfg
	}
	return cfg.ForPlatform(platforms.Format(p), p.Architecture)
}

// firstPlatform is forPlatform for what can be shown for one platform only.
func firstPlatform(cfg *config.Config, env Env) (*config.Config, error) {
	all, err := platformsOf(cfg)
	if err != nil {
		return nil, err
	}
	if len(all) > 1 {
		env.Notice("of several platforms this is %s", platforms.Format(all[0]))
	}
	return forPlatform(cfg, all[0]), nil
}

// idPlatform is a platform as an image.ID has it in runs for several.
func idPlatform(p ocispecs.Platform) string { return platforms.Format(platforms.Normalize(p)) }

// target is one platform of several.
type target struct {
	platform ocispecs.Platform
	set      *Set
}

// several reports whether a run is for several platforms.
func (r *buildRun) several() bool { return len(r.targets) > 1 }

// definer returns who defined an image: there is one for each platform.
func (r *buildRun) definer(id image.ID) *definer {
	if d := r.defined.definers[id]; d != nil {
		return d
	}
	return r.def
}

// defineAll makes the definitions for the run's platforms: of each one from a
// rendering of its own.
func (r *buildRun) defineAll(ctx context.Context, baseImage string, all []ocispecs.Platform, whole *config.Config, exists func(string) bool) error {
	merged := &defined{files: map[image.ID]buildkit.Dockerfile{}, created: map[image.ID]time.Time{}, failed: map[image.ID]error{}, options: map[image.ID]buildkit.ConvertOptions{}, definers: map[image.ID]*definer{}}
	for i, p := range all {
		set := r.set
		if i > 0 {
			env := r.env
			env.Stderr = io.Discard // it has been said for the first one
			var err error
			if set, err = NewSet(ctx, forPlatform(whole, p), env, exists); err != nil {
				return err
			}
		}
		r.targets = append(r.targets, target{p, set})
		if err := importBase(ctx, baseImage, set.Config, r.store, p); err != nil {
			return err
		}
		b := &bases{cfg: set.Config, env: r.env, store: r.store, client: r.client, engine: r.engine, platform: p, local: r.local, done: map[string]buildkit.External{}, created: map[string]time.Time{}}
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
		if len(all) > 1 {
			merged.add(d, idPlatform(p), def)
		}
	}
	if len(all) > 1 {
		r.defined = merged
	}
	return nil
}

// add takes in the definitions of one platform.
func (d *defined) add(o *defined, platform string, def *definer) {
	on := func(id image.ID) image.ID { return image.ID{Name: id.Name, Platform: platform} }
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

var reRun = regexp.MustCompile(`(?mi)^\s*RUN\s`)

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
		if !ok || it.Action != plan.Build || !reRun.Match(f.Content) {
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
		i := slices.IndexFunc(r.targets, func(t target) bool { return idPlatform(t.platform) == res.Image.Platform })
		p := r.targets[i].platform
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

// unselected are the results of the images that were left out, of each platform
// those that it cannot build.
func (r *buildRun) unselected() []report.Result {
	var out []report.Result
	for i, t := range r.targets {
		platform := ""
		if r.several() {
			platform = idPlatform(t.platform)
		}
		for _, im := range t.set.Graph.Images() {
			st := t.set.Selection.Status(im.Name)
			if st == graph.Matched || i > 0 && st != graph.Unbuildable {
				continue
			}
			id := image.ID{Name: im.Name}
			if st == graph.Unbuildable {
				id.Platform = platform
			}
			out = append(out, report.Result{NotRequested: st == graph.Unbuildable && !t.set.asked(im.Name),
				Result: build.Result{Image: id, Reference: im.Reference, Status: build.Status(st), Reason: t.set.Selection.Reason(im.Name)}})
		}
	}
	return out
}

// mayFail are the names, as results have them, of the images that may fail.
func (r *buildRun) mayFail() []image.ID {
	var ids []image.ID
	for _, name := range r.cfg.AllowedToFail {
		if !r.several() {
			ids = append(ids, image.ID{Name: name})
			continue
		}
		for _, t := range r.targets {
			ids = append(ids, image.ID{Name: name, Platform: idPlatform(t.platform)})
		}
	}
	return ids
}

// platformsIn says what an image of the store is for.
func platformsIn(s *store.Store, e store.Entry) string {
	if !isIndex(e) {
		return e.Platform
	}
	idx, err := s.ImageIndex(e.Digest)
	if err != nil {
		return ""
	}
	m, err := idx.IndexManifest()
	if err != nil {
		return ""
	}
	var all []string
	for _, d := range m.Manifests {
		if d.Platform != nil && d.Platform.OS != "unknown" {
			all = append(all, d.Platform.String())
		}
	}
	return strings.Join(all, ",")
}
