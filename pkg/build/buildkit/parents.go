package buildkit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/moby/buildkit/client/llb"
	"github.com/moby/buildkit/exporter/containerimage/exptypes"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	digest "github.com/opencontainers/go-digest"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"
)

// parentImage is the state of an image that its children need.
type parentImage struct {
	state    llb.State
	config   []byte
	external bool
	digest   digest.Digest // of an external image

	key digest.Digest // with ForKeys: state is made from it when first used

	// Derived from config when the image is first used, since most have many children.
	metadata string // in the form in which the frontend reads it
	triggers func() ([]instructions.Command, error)
}

// remember keeps an image for the children that depend on it.
func (c *Converter) remember(reference string, img parentImage) error {
	name, err := dockerfile.FamiliarName(reference)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.images[name] = img
	return nil
}

// Forget frees the state that is kept for the children of an image. It is called when
// all of them are converted.
func (c *Converter) Forget(reference string) {
	if name, err := dockerfile.FamiliarName(reference); err == nil {
		c.mu.Lock()
		delete(c.images, name)
		c.mu.Unlock()
	}
}

// namedParent is an image that a Dockerfile refers to.
type namedParent struct {
	dockerfile.Image
	parentImage
}

// parents looks up the images that a Dockerfile refers to, and returns the
// ONBUILD triggers of those that its stages are based on.
func (c *Converter) parents(ctx context.Context, file *dockerfile.Dockerfile) (
	parents []namedParent, triggers []instructions.Command, err error) {
	seen := map[string]bool{}
	add := func(images []dockerfile.Image) error {
		for _, im := range images {
			if seen[im.Reference] {
				continue
			}
			seen[im.Reference] = true
			p, err := c.lookup(ctx, im)
			if err != nil {
				return file.ErrorAt(im.Line, err)
			}
			parents = append(parents, namedParent{im, p})
		}
		return nil
	}
	if err := add(file.Images()); err != nil {
		return nil, nil, err
	}
	triggers, images, err := file.Triggered(func(base dockerfile.Image) ([]instructions.Command, error) {
		i := slices.IndexFunc(parents, func(p namedParent) bool { return p.Reference == base.Reference })
		commands, err := parents[i].triggers()
		if err != nil {
			return nil, file.ErrorAt(base.Line, fmt.Errorf("image %s: %w", base.Reference, err))
		}
		return commands, nil
	})
	if err != nil {
		return nil, nil, err
	}
	// A trigger may copy from another image.
	return parents, triggers, add(images)
}

func triggersOf(config []byte) ([]instructions.Command, error) {
	var image struct {
		Config struct{ OnBuild []string }
	}
	if err := json.Unmarshal(config, &image); err != nil {
		return nil, fmt.Errorf("image config: %w", err)
	}
	return dockerfile.Triggers(image.Config.OnBuild)
}

// lookup finds an image that was converted earlier in this run, or an external
// one.
func (c *Converter) lookup(ctx context.Context, im dockerfile.Image) (parentImage, error) {
	c.mu.Lock()
	img, ok := c.images[im.Name]
	c.mu.Unlock()
	if ok && img.triggers != nil {
		return img, nil
	}
	var err error
	switch {
	case !ok:
		img, err = c.external(ctx, im.Reference)
	case img.key != "":
		img.state = c.stored("parent", img.key, "")
	}
	if err != nil {
		return parentImage{}, err
	}
	metadata, err := json.Marshal(map[string][]byte{exptypes.ExporterImageConfigKey: img.config})
	if err != nil {
		return parentImage{}, err
	}
	img.metadata = string(metadata)
	img.triggers = sync.OnceValues(func() ([]instructions.Command, error) { return triggersOf(img.config) })
	c.mu.Lock()
	c.images[im.Name] = img
	c.mu.Unlock()
	return img, nil
}

// external returns an image that was not converted.
func (c *Converter) external(ctx context.Context, reference string) (parentImage, error) {
	if c.opts.External == nil {
		return parentImage{}, fmt.Errorf("image %s is not in the tree", reference)
	}
	ext, err := c.opts.External(ctx, reference)
	if err != nil {
		return parentImage{}, err
	}
	if err := json.Unmarshal(ext.Config, &ocispecs.Image{}); err != nil {
		return parentImage{}, fmt.Errorf("image config of %s: %w", reference, err)
	}
	st := c.stored("external", ext.Digest, "load "+reference)
	if !c.opts.Epoch.IsZero() && !c.opts.ForKeys {
		st = st.AddEnv("SOURCE_DATE_EPOCH", strconv.FormatInt(c.opts.Epoch.Unix(), 10))
	}
	return parentImage{state: st, config: ext.Config, external: true, digest: ext.Digest}, nil
}

// stored returns the state of an image in the store. The frontend adds what its config
// sets.
func (c *Converter) stored(kind string, d digest.Digest, title string) llb.State {
	opts := []llb.OCILayoutOption{llb.OCIStore("", storeID), llb.Platform(c.opts.Platform)}
	if title != "" {
		opts = append(opts, llb.WithCustomName(title))
	}
	return llb.OCILayout("kolla-build/"+kind+"@"+d.String(), opts...)
}
