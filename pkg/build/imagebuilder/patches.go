package imagebuilder

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// patchedFile lists the patches that an image and its parents have applied: their names, or
// lines of Kolla's script, which end with their paths.
const patchedFile = "etc/kolla/patched"

// maxPatched is the largest list of patches in bytes.
const maxPatched = 1 << 20

// checkPatches compares the list of applied patches of a built image with its series. It
// returns an error if a patch was lost, and warnings about patches that may be lost. It reads
// no image without a series.
func (b *Builder) checkPatches(ctx context.Context, im *define.Image, built digest.Digest) (
	warnings []string, err error) {
	if len(im.Patches) == 0 {
		return nil, nil
	}
	img, err := b.staging.Image(built)
	if err != nil {
		return nil, err
	}
	list, unknown := b.patched(ctx, im, img)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	lines := strings.Split(list, "\n")
	for _, p := range im.Patches {
		applied := func(line string) bool { return line == p.Name || strings.HasSuffix(line, "/patches/"+p.Name) }
		switch {
		case unknown != nil:
			warnings = append(warnings, fmt.Sprintf("%s: the patch %s may not be applied: reading /%s of %s: %v",
				p.Place, p.Name, patchedFile, im.ID, unknown))
		case slices.ContainsFunc(lines, func(line string) bool { return applied(strings.TrimSpace(line)) }):
		case im.PatchedElsewhere != "":
			warnings = append(warnings,
				fmt.Sprintf("%s: the patch %s may not be applied: /%s of %s does not list it; %s may apply it",
					p.Place, p.Name, patchedFile, im.ID, im.PatchedElsewhere))
		default:
			return nil, usererr.Errorf(
				"{{ macros.kolla_patch_sources() }} after the last step that installs something applies the series; a script of "+
					"your own adds the names of patches that it applies to /"+patchedFile,
				"%s: the patch %s was not applied: /%s of the built image does not list it", p.Place, p.Name, patchedFile)
		}
	}
	return warnings, nil
}

// patched returns the list of applied patches in the newest layer that has it, "" if none
// has. im is nil for an image from outside the tree.
func (b *Builder) patched(ctx context.Context, im *define.Image, img v1.Image) (string, error) {
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	for i, l := range slices.Backward(layers) {
		d, err := l.Digest()
		if err != nil {
			return "", err
		}
		if !b.staging.HasBlob(digest.Digest(d.String()), -1) {
			return b.patchedBase(ctx, im, i) // the builder has the layer in its snapshots
		}
		list, ok, err := patchedIn(ctx, l)
		if ok || err != nil {
			return list, err
		}
	}
	return "", nil
}

// errNoLayer is the error for a layer that is stored neither as a part of an image nor as one
// of its base.
var errNoLayer = errors.New("a layer is not stored here")

// patchedBase returns the list of applied patches of the image that the last stage is based
// on, if a layer is one of that image.
func (b *Builder) patchedBase(ctx context.Context, im *define.Image, layer int) (string, error) {
	if im == nil {
		return "", errNoLayer
	}
	opts := b.opts.Defined.ConvertOptions(im.ID)
	base := dockerfile.FinalBase(im.Dockerfile.Content,
		dockerfile.Options{Platform: opts.Platform, BuildArgs: opts.BuildArgs})
	if base.Name == "" {
		return "", errNoLayer
	}
	img, err := b.imageNamed(ctx, im.ID, base.Reference)
	if err != nil {
		return "", err
	}
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	if layer >= len(layers) {
		return "", errNoLayer
	}
	return b.patched(ctx, b.definedImage(im.ID.Platform, base.Reference), img)
}

// definedImage returns the image of the run with a name, nil for one from outside.
func (b *Builder) definedImage(platform, reference string) *define.Image {
	name := nameOf(platform, reference)
	for i := range b.opts.Defined.Images {
		im := &b.opts.Defined.Images[i]
		if nameOf(im.ID.Platform, im.Reference) == name {
			return im
		}
	}
	return nil
}

// patchedIn returns the list of applied patches in a layer. It is empty, and found, in a layer
// that removes it.
func patchedIn(ctx context.Context, l v1.Layer) (list string, found bool, err error) {
	layer, files, err := inspect.ReadLayer(ctx, l, inspect.Options{Want: func(name string) int64 {
		if name == patchedFile {
			return maxPatched
		}
		return 0
	}})
	if err != nil {
		return "", false, err
	}
	file, ok := files[patchedFile]
	for dir := patchedFile; dir != "." && !ok; dir = path.Dir(dir) {
		ok = slices.Contains(layer.Removed, dir) || slices.Contains(layer.Opaque, dir)
	}
	return string(file.Data), ok, nil
}
