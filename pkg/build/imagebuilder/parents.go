package imagebuilder

import (
	"cmp"
	"context"
	"maps"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/emulator"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// imageName is a normalized reference, for one platform in runs for several.
type imageName struct{ platform, reference string }

// nameOf returns the name of an image. A Dockerfile may spell a reference differently,
// for example with "docker.io/".
func nameOf(platform, reference string) imageName {
	if ref, err := imageref.Parse(reference); err == nil {
		reference = ref.String()
	}
	return imageName{platform, reference}
}

// dependencies finds the images that an image is built on.
type dependencies struct {
	exported bool            // kept images may be used as their builder exported them
	recalled []digest.Digest // kept images that are used in that form
}

// definition converts an image for building, on its parents as the store has them. On
// the parents' LLB, the builder would repeat steps that its cache has lost, and the
// child would get a parent that is not published.
func (b *Builder) definition(ctx context.Context, im *define.Image, parents *dependencies) (
	*buildkit.Definition, error) {
	opts := b.opts.Defined.ConvertOptions(im.ID)
	opts.BuildArgs = mergedArgs(b.opts.BuildArgs, opts.BuildArgs)
	opts.External = func(ctx context.Context, ref string) (buildkit.External, error) {
		return b.dependency(ctx, im.ID, ref, parents)
	}
	opts.NoCache = b.opts.NoCache || b.opts.Inputs.Rebuild(im.ID)
	opts.CacheNamespace = b.opts.Inputs.CacheNamespace(im.ID)
	if n := b.opts.Network; n != nil {
		args, err := n.Args(ctx, im.ID)
		if err != nil {
			return nil, err
		}
		opts.BuildArgs = mergedArgs(opts.BuildArgs, args)
		opts.Trust, opts.CacheNamespace = n.Trust(), n.CacheNamespace(im.ID)
	}
	if b.opts.PackageCache != "" {
		opts.PackageCache = b.opts.PackageCache + strings.TrimPrefix(im.ID.String(), im.ID.Name)
	}
	if b.native != "" {
		opts.Env = emulator.Environment(b.native, opts.Platform.Architecture, b.opts.Getenv)
	}
	if b.opts.ClampTimes {
		opts.Epoch = im.Created
	}
	return buildkit.NewConverter(opts).Convert(ctx, im.Dockerfile)
}

// dependency returns the image that another one depends on, or copies from, under
// a name: an image that was kept or built in this run, else one from outside.
func (b *Builder) dependency(ctx context.Context, id image.ID, ref string, parents *dependencies) (
	buildkit.External, error) {
	name := nameOf(id.Platform, ref)
	b.mu.Lock()
	d, built := b.exported[name]
	storedDigest, isStored := b.final[name]
	b.mu.Unlock()
	switch {
	case built:
	case isStored:
		d = storedDigest
		if exp, ok := b.recall(ctx, storedDigest, parents); ok {
			d = exp
		}
	default:
		ext, err := b.opts.Defined.External(ctx, id, ref)
		if err != nil {
			return ext, err
		}
		return ext, b.keepLayers(ext.Digest)
	}
	img, err := b.staging.Image(d)
	if err != nil {
		return buildkit.External{}, err
	}
	conf, err := img.RawConfigFile()
	if err == nil && !built {
		err = b.keepLayers(storedDigest)
	}
	return buildkit.External{Digest: d, Config: conf}, err
}

// imageNamed returns the image that a Dockerfile of id names: the stored form of one of the
// run, before that the exported one, else one from outside.
func (b *Builder) imageNamed(ctx context.Context, id image.ID, ref string) (v1.Image, error) {
	name := nameOf(id.Platform, ref)
	b.mu.Lock()
	d := cmp.Or(b.final[name], b.exported[name])
	b.mu.Unlock()
	if d == "" {
		ext, err := b.opts.Defined.External(ctx, id, ref)
		if err != nil {
			return nil, err
		}
		d = ext.Digest
	}
	return b.staging.Image(d)
}

// recall returns a kept image as its builder exported it.
func (b *Builder) recall(ctx context.Context, storedDigest digest.Digest, parents *dependencies) (digest.Digest, bool) {
	if !parents.exported || !b.opts.ClampTimes {
		return "", false
	}
	exp, ok := b.staging.Recall(ctx, storedDigest)
	if !ok {
		return "", false
	}
	for diffID, l := range exp.Layers {
		b.layers.Known(diffID, l)
	}
	parents.recalled = append(parents.recalled, storedDigest)
	return exp.Digest, true
}

// keepLayers reuses the layers of an image of the store, or of an image outside of the
// set, unchanged in the images that are built on it.
func (b *Builder) keepLayers(d digest.Digest) error {
	img, err := b.opts.Store.Image(d)
	if err != nil {
		return err
	}
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	for _, l := range m.Layers {
		b.layers.Keep(digest.Digest(l.Digest.String()))
	}
	return nil
}

// mergedArgs returns the arguments of both maps; overrides take precedence.
func mergedArgs(args, overrides map[string]string) map[string]string {
	merged := make(map[string]string, len(args)+len(overrides))
	maps.Copy(merged, args)
	maps.Copy(merged, overrides)
	return merged
}
