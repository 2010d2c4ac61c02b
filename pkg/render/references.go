package render

import (
	"path"
	"slices"

	"github.com/containerd/platforms"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
)

// Need is an image that a Dockerfile refers to besides its parent.
type Need struct {
	Reference string
	Line      int // 1-based, in the rendered Dockerfile
}

// readReferences fills in the images that a Dockerfile refers to, with the values of
// variables in its FROM lines. Mistakes in the Dockerfile are reported when it is
// converted.
func (r *renderer) readReferences(d *Dockerfile) {
	base, others, onBuild := dockerfile.References(d.Content, r.referenceOptions())
	d.From, d.FromLine, d.Needs, d.onBuild = r.canonical(base), base.Line, nil, onBuild
	for _, im := range others {
		d.Needs = append(d.Needs, Need{r.canonical(im), im.Line})
	}
}

func (r *renderer) referenceOptions() dockerfile.Options {
	return dockerfile.Options{Platform: platformOf(r.Config), BuildArgs: r.Config.BuildArgs}
}

// addTriggered adds the images that a Dockerfile refers to by ONBUILD instructions of the
// tree's images that it is based on.
func (r *renderer) addTriggered(files []Dockerfile) {
	onBuild := map[string][]string{}
	for i := range files {
		if d := &files[i]; len(d.onBuild) > 0 {
			onBuild[d.Reference] = d.onBuild
		}
	}
	if len(onBuild) == 0 {
		return
	}
	for i := range files {
		d := &files[i]
		refers := len(onBuild[d.From]) > 0 ||
			slices.ContainsFunc(d.Needs, func(n Need) bool { return len(onBuild[n.Reference]) > 0 })
		if !refers {
			continue
		}
		triggered := dockerfile.TriggeredReferences(d.Content, r.referenceOptions(),
			func(im dockerfile.Image) []string { return onBuild[r.canonical(im)] })
		for _, im := range triggered {
			d.Needs = append(d.Needs, Need{r.canonical(im), im.Line})
		}
	}
}

// canonical returns the Reference of an image of the set for all ways to refer
// to it: docker.io/kolla/base:t is the same image as kolla/base:t.
func (r *renderer) canonical(im dockerfile.Image) string {
	if reference := r.treeReferences[im.Name]; reference != "" {
		return reference
	}
	return im.Reference
}

// ownNames returns the references of a tree's images by familiar name.
func ownNames(t *Tree, c *config.Config) map[string]string {
	names := make(map[string]string, len(t.images))
	for _, dir := range t.images {
		ref := referenceOf(c, path.Base(dir))
		if name, err := dockerfile.FamiliarName(ref); err == nil {
			names[name] = ref
		}
	}
	return names
}

// platformOf returns the platform that a configuration renders for.
func platformOf(c *config.Config) ocispec.Platform {
	if p, err := platforms.Parse(c.Platform); err == nil && c.Platform != "" {
		return platforms.Normalize(p)
	}
	return ocispec.Platform{OS: "linux", Architecture: c.DebianArch}
}
