package imagebuilder

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/define"
	"github.com/kolla-build/kolla-build/pkg/inspect"
)

// patchedFile lists the patches that an image and its parents have applied: their names, or
// lines of Kolla's script, which end with their paths.
const patchedFile = "etc/kolla/patched"

// maxPatched is the largest list of patches in bytes.
const maxPatched = 1 << 20

// checkPatches returns an error if a built image does not list all patches of its series. It
// reads no image without a series.
func (b *Builder) checkPatches(ctx context.Context, im *define.Image, built digest.Digest) error {
	if len(im.Patches) == 0 {
		return nil
	}
	img, err := b.staging.Image(built)
	if err != nil {
		return err
	}
	list, err := b.patched(ctx, im, img)
	if err != nil {
		return fmt.Errorf("reading /%s of %s: %w", patchedFile, im.ID, err)
	}
	lines := strings.Split(list, "\n")
	for _, p := range im.Patches {
		applied := func(line string) bool { return line == p.Name || strings.HasSuffix(line, "/patches/"+p.Name) }
		if !slices.ContainsFunc(lines, func(line string) bool { return applied(strings.TrimSpace(line)) }) {
			return usererr.Errorf("{{ macros.kolla_patch_sources() }} after the last step that installs something applies the series; "+
				"a script of your own adds the names of patches that it applies to /"+patchedFile,
				"%s: the patch %s was not applied: /%s of the built image does not list it", p.Place, p.Name, patchedFile)
		}
	}
	return nil
}

// patched returns the list of applied patches in the newest layer that has it, "" if none has.
func (b *Builder) patched(ctx context.Context, im *define.Image, img v1.Image) (string, error) {
	layers, err := img.Layers()
	if err != nil {
		return "", err
	}
	for _, l := range slices.Backward(layers) {
		d, err := l.Digest()
		if err != nil {
			return "", err
		}
		if !b.staging.HasBlob(digest.Digest(d.String()), -1) {
			return b.patchedParent(ctx, im) // the builder has the layer in its snapshots
		}
		list, ok, err := patchedIn(ctx, l)
		if ok || err != nil {
			return list, err
		}
	}
	return "", nil
}

// patchedParent returns the list of applied patches of the parent, in the form in which it is
// stored.
func (b *Builder) patchedParent(ctx context.Context, im *define.Image) (string, error) {
	parent, err := b.parentImage(ctx, im)
	if err != nil {
		return "", err
	}
	return b.patched(ctx, b.opts.Defined.Image(im.Parent), parent)
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
