package pipeline

import (
	"context"
	"fmt"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/squash"
	digest "github.com/opencontainers/go-digest"
)

// squashKey is the key of an image whose layers are squashed: another than that
// of the image with all its layers, and than that of another way to squash.
func squashKey(key digest.Digest) digest.Digest {
	return digest.FromString("kolla-build squash " + squash.Version + "\n" + key.String())
}

// squashed makes one layer of those that a built image adds to its parent, and
// returns the digest of what comes of it. It is a step of the image's build for
// those who watch.
func (b *builder) squashed(ctx context.Context, it *plan.Item, d digest.Digest, def *buildkit.Definition, emit func(build.Event)) (digest.Digest, error) {
	failed := func(err error) (digest.Digest, error) { return "", fmt.Errorf("squashing %s: %w", it.Image, err) }
	img, err := b.store.Image(d)
	if err != nil {
		return failed(err)
	}
	parent, own, err := b.parentOf(ctx, it.Image, img, def.External)
	if err != nil {
		return failed(err)
	}
	if own < 2 {
		return d, nil
	}
	step := build.Step{ID: "squash", Name: fmt.Sprintf("squash %d layers into one", own)}
	started := time.Now()
	emit(build.Event{Time: started, Kind: build.EventStepStart, Image: it.Image, Step: step})
	res, err := squash.Image(ctx, img, parent, b.store)
	step.Duration = time.Since(started)
	if err != nil {
		step.Err = err.Error()
	}
	emit(build.Event{Time: time.Now(), Kind: build.EventStepEnd, Image: it.Image, Step: step})
	if err != nil {
		return failed(err)
	}
	return res.Manifest, nil
}

// parentOf returns the one of the images that an image names whose layers it
// begins with, nil if it stands on none, and how many layers it adds to it. A
// Dockerfile of several stages names more than its parent.
func (b *builder) parentOf(ctx context.Context, id image.ID, img v1.Image, refs []string) (parent v1.Image, own int, err error) {
	conf, err := img.ConfigFile()
	if err != nil {
		return nil, 0, err
	}
	most, all := 0, len(conf.RootFS.DiffIDs)
	for _, ref := range refs {
		below, err := b.below(ctx, id, ref)
		if err != nil {
			return nil, 0, err
		}
		p, err := b.store.Image(below.Digest)
		if err != nil {
			return nil, 0, err
		}
		pc, err := p.ConfigFile()
		if err != nil {
			return nil, 0, err
		}
		n := len(pc.RootFS.DiffIDs)
		if n > most && n <= all && slices.Equal(pc.RootFS.DiffIDs, conf.RootFS.DiffIDs[:n]) {
			parent, most = p, n
		}
	}
	return parent, all - most, nil
}
