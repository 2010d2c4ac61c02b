package imagebuilder

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/squash"
	digest "github.com/opencontainers/go-digest"
)

// squash merges the layers that a built image adds to its parent into one, and
// returns the digest of the new image. It is reported as a step of the build.
func (b *Builder) squash(ctx context.Context, id image.ID, d digest.Digest, def *buildkit.Definition,
	emit func(build.Event)) (digest.Digest, error) {
	failed := func(err error) (digest.Digest, error) { return "", fmt.Errorf("squashing %s: %w", id, err) }
	img, err := b.staging.Image(d)
	if err != nil {
		return failed(err)
	}
	parent, ownLayers, err := b.parentOf(ctx, id, img, def.External)
	if err != nil {
		return failed(err)
	}
	if ownLayers < 2 {
		return d, nil
	}
	step := build.Step{ID: "squash", Kind: build.StepExport, Name: fmt.Sprintf("squash %d layers into one", ownLayers)}
	started := time.Now()
	emit(build.Event{Time: started, Kind: build.EventStepStart, Image: id, Step: step})
	res, err := squash.Image(ctx, img, parent, b.staging)
	step.Duration = time.Since(started)
	if err != nil {
		step.Err = err.Error()
	}
	emit(build.Event{Time: time.Now(), Kind: build.EventStepEnd, Image: id, Step: step})
	if err != nil {
		return failed(err)
	}
	return res.Manifest, nil
}

// parentOf returns the parent of an image, nil for scratch, and the number of layers
// that it adds. A Dockerfile with several stages names several images; the parent is
// the one whose layers the image begins with.
func (b *Builder) parentOf(ctx context.Context, id image.ID, img v1.Image, refs []string) (
	parent v1.Image, ownLayers int, err error) {
	conf, err := img.ConfigFile()
	if err != nil {
		return nil, 0, err
	}
	mostShared, layerCount := 0, len(conf.RootFS.DiffIDs)
	for _, ref := range refs {
		dep, err := b.dependency(ctx, id, ref, &dependencies{})
		if err != nil {
			return nil, 0, err
		}
		p, err := b.staging.Image(dep.Digest)
		if err != nil {
			return nil, 0, err
		}
		pc, err := p.ConfigFile()
		if err != nil {
			return nil, 0, err
		}
		n := len(pc.RootFS.DiffIDs)
		if n > mostShared && n <= layerCount && slices.Equal(pc.RootFS.DiffIDs, conf.RootFS.DiffIDs[:n]) {
			parent, mostShared = p, n
		}
	}
	return parent, layerCount - mostShared, nil
}
