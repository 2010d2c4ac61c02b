package define

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/console"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/compress"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/dockerfile"
	"github.com/kolla-build/kolla-build/pkg/engine"
	"github.com/kolla-build/kolla-build/pkg/engineload"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/imageset"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/render"
	"github.com/kolla-build/kolla-build/pkg/source"
	"github.com/kolla-build/kolla-build/pkg/squash"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Options are the inputs of definitions besides the rendered Dockerfiles.
type Options struct {
	Console *console.Console
	Store   *store.Store
	Client  *registry.Client
	Engine  *engine.Engine // nil if no container engine is used

	// BaseImage is --base-image as the user gave it: the path of an archive or a
	// layout is imported.
	BaseImage string
	// Compression is the compression of layers. The default is not part of keys.
	Compression compress.Settings

	// Epoch is SOURCE_DATE_EPOCH, zero if it is not set.
	Epoch time.Time
	// Offline uses only content on this machine and does not fetch.
	Offline bool
	// Scratch returns a directory for archives of sources that have to be made, so that their
	// cache is only read, see source.Options. nil means that they are cached.
	Scratch func() (string, error)
	// Provided returns sources that are on this machine, see source.Options.
	Provided func(source.Spec) (source.Provided, bool, error)
	// Compatibility is BuildKit's compatibility version; 0 means the default, which is
	// not part of keys.
	Compatibility int
	// BeforeBootstrap is called before a base image is bootstrapped, which takes minutes. Its
	// error becomes the error of the base image. nil means no check.
	BeforeBootstrap func() error
	// KeepDamaged leaves damaged blobs of base images where they are, for
	// commands that only show what a run does.
	KeepDamaged bool
	// VersionLabel is the value of the label org.opencontainers.image.version.
	VersionLabel string
}

// Image is the definition of one image.
type Image struct {
	ID         image.ID
	Reference  string     // full name with tag
	From       string     // the image in its first FROM
	Parent     image.ID   // zero for a root
	Needs      []image.ID // the selected images that it depends on, the parent included
	Dockerfile buildkit.Dockerfile
	Created    time.Time         // the created time it gets; zero if no input has a time
	Key        digest.Digest     // over all inputs of its content; "" if it or an image that it needs has an error
	Parts      map[string]string // components of the key, by names that users understand
	// PlaceOf returns the file and the line of the template or override that a line of
	// the Dockerfile comes from, "" and 0 if it is not known.
	PlaceOf func(line int) (file string, at int)
	Effort  time.Duration // an estimate of the build time, from its steps

	// Patches are the patches of its series that /etc/kolla/patched should list when it is
	// built: all but those that its steps apply without kolla_patch.
	Patches []render.Patch
	// PatchedElsewhere describes what may apply Patches without adding them to the list; ""
	// if nothing can, so that a patch that is not in the list is lost.
	PatchedElsewhere string
	// Warnings are what BuildKit's linter reports about its Dockerfile.
	Warnings []buildkit.Warning
	// Required are permissions that its steps need from the user.
	Required []buildkit.Requirement

	// Err describes why the image cannot be built: a source that cannot be fetched or
	// a mistake in its Dockerfile. It affects only the image's descendants.
	Err error
}

// Defined is the definitions of a run's images. It does not change.
type Defined struct {
	Images []Image // of each platform parents before children

	byID      map[image.ID]*Image
	platforms map[string]*definer // by image.ID.Platform
}

// Images defines the selected images of every platform. An image whose
// definition fails is in the result with its error, and so are its descendants,
// without one. If that leaves nothing to build, the first error is returned, unless
// all these images are allowed to fail.
func Images(ctx context.Context, rendered *imageset.Rendered, opts Options) (*Defined, error) {
	out := &Defined{byID: map[image.ID]*Image{}, platforms: map[string]*definer{}}
	for _, set := range rendered.Sets {
		d, err := newDefiner(ctx, set, opts)
		if err != nil {
			return nil, err
		}
		out.platforms[set.ID("").Platform] = d
		images, err := d.images(ctx)
		if err != nil {
			return nil, err
		}
		out.Images = append(out.Images, images...)
	}
	for i := range out.Images {
		out.byID[out.Images[i].ID] = &out.Images[i]
	}
	return out, out.nothingToBuild()
}

// nothingToBuild returns the first error if no image has a key, or nil if one has or if
// all failing images are allowed to fail.
func (d *Defined) nothingToBuild() error {
	var first error
	for _, im := range d.Images {
		if im.Key != "" {
			return nil
		}
		if first == nil && im.Err != nil && !slices.Contains(d.Config(im.ID).AllowedToFail, im.ID.Name) {
			first = im.Err
		}
	}
	return first
}

// Image returns the definition of an image, or nil.
func (d *Defined) Image(id image.ID) *Image { return d.byID[id] }

// ConvertOptions returns the options with which an image's Dockerfile is converted,
// without the options of builds.
func (d *Defined) ConvertOptions(id image.ID) buildkit.ConvertOptions {
	return d.platforms[id.Platform].options
}

// External resolves an image that the run does not build, by its name in the Dockerfile
// of id.
func (d *Defined) External(ctx context.Context, id image.ID, ref string) (buildkit.External, error) {
	return d.platforms[id.Platform].external(ctx, ref)
}

// Bases returns the images from outside the tree that the images of id's
// platform depend on.
func (d *Defined) Bases(id image.ID) []digest.Digest { return d.platforms[id.Platform].bases.digests() }

// Base is a resolved image from outside the tree.
type Base struct {
	Reference string // as Dockerfiles name it
	Platform  string
	Digest    digest.Digest
}

// BaseImages returns all images from outside the tree, sorted.
func (d *Defined) BaseImages() []Base {
	var baseImages []Base
	for _, p := range d.platforms {
		for ref, l := range p.bases.resolved() {
			baseImages = append(baseImages, Base{
				Reference: ref,
				Platform:  platforms.Format(p.set.Platform),
				Digest:    l.external.Digest,
			})
		}
	}
	slices.SortFunc(baseImages, func(a, b Base) int {
		return cmp.Or(cmp.Compare(a.Reference, b.Reference), cmp.Compare(a.Platform, b.Platform))
	})
	return baseImages
}

// Fetched returns the sources that were fetched for images of all platforms.
func (d *Defined) Fetched() []source.Fetched {
	var fetched []source.Fetched
	for _, name := range slices.Sorted(maps.Keys(d.platforms)) {
		fetched = append(fetched, d.platforms[name].archiver.fetcher.Fetched()...)
	}
	return fetched
}

// Sources returns the fetcher of the sources of id's platform.
func (d *Defined) Sources(id image.ID) *source.Fetcher {
	return d.platforms[id.Platform].archiver.fetcher
}

// Config returns the configuration of id's platform.
func (d *Defined) Config(id image.ID) *config.Config { return d.platforms[id.Platform].set.Config }

// volatileLabels contain the time, the tag and the version of this tool of a build.
// They are not part of keys.
var volatileLabels = []string{
	"org.opencontainers.image.created",
	"org.opencontainers.image.version",
	"build-date",
	"kolla_version",
}

// definer defines the images of one platform.
type definer struct {
	set      *imageset.Set
	opts     Options
	bases    *bases
	archiver *archiver
	options  buildkit.ConvertOptions
}

func newDefiner(ctx context.Context, set *imageset.Set, opts Options) (*definer, error) {
	cfg := set.Config
	d := &definer{set: set, opts: opts}
	d.bases = &bases{Options: opts, cfg: cfg, platform: set.Platform, lookups: map[string]*baseLookup{}}
	if err := d.bases.importFile(ctx); err != nil {
		return nil, err
	}
	var err error
	if d.archiver, err = newArchiver(cfg, opts); err != nil {
		return nil, err
	}
	network := ""
	if cfg.NetworkMode == "none" || cfg.NetworkMode == "host" && hostNetworkRequested(cfg) {
		network = cfg.NetworkMode
	}
	d.options = buildkit.ConvertOptions{
		Platform: set.Platform, BuildArgs: cfg.BuildArgs, Network: network,
		VolatileLabels: volatileLabels, External: d.external,
	}
	return d, nil
}

// hostNetworkRequested reports whether steps request the host's network. It is the
// default, and a builder that this program starts always provides it. Other builders
// must allow it, so there it is requested only if the user did.
func hostNetworkRequested(cfg *config.Config) bool {
	return cfg.BuildkitAddr != "" && cfg.IsSet("network_mode") && cfg.NetworkMode == "host"
}

// external resolves an image that the run does not build: one from outside the
// tree, or one of the tree that --skip-parents or --skip-existing leaves out.
func (d *definer) external(ctx context.Context, ref string) (buildkit.External, error) {
	for _, f := range d.set.Files {
		if f.Reference != ref {
			continue
		}
		if d.set.Selection.Status(f.Name) == graph.Matched {
			return buildkit.External{},
				usererr.Errorf("name it in the Dockerfile too, such as FROM "+ref+" AS "+f.Name+", so that it is built first",
					"only an ONBUILD instruction of a base image refers to %s", ref)
		}
		_, ok, err := d.opts.Store.Lookup(ref)
		if err != nil {
			return buildkit.External{}, err
		}
		if e := d.opts.Engine; !ok && e != nil && e.Has(ref) {
			d.opts.Console.Notice("copying %s from %s", ref, e)
			if err := engineload.Copy(ctx, e, d.opts.Store, ref, store.KindBuilt); err != nil {
				return buildkit.External{}, err
			}
			ok = true
		}
		if !ok {
			return buildkit.External{}, usererr.Errorf("build it once without --skip-parents",
				"%s is skipped and not in the store", f.Name)
		}
		break
	}
	return d.bases.resolve(ctx, ref)
}

// definition is an image that is being defined.
type definition struct {
	Image
	newest  time.Time // of its sources, zero if none has a time
	blocked bool      // a parent has no definition
	def     *buildkit.Definition
	done    chan struct{}

	unconverted atomic.Int32 // images that depend on it and are not converted yet
}

// maxParallel is how many images are defined at once: sources may have to be
// fetched for them.
const maxParallel = 8

// images defines the selected images, parents first.
func (d *definer) images(ctx context.Context) ([]Image, error) {
	order := d.set.Selection.Order()
	opts := d.options
	opts.ForKeys = true
	converter := buildkit.NewConverter(opts)
	definitions := make([]definition, len(order))
	index := make(map[string]int, len(order))
	for i, im := range order {
		definitions[i].done = make(chan struct{})
		index[im.Name] = i
	}
	for _, im := range order {
		for _, p := range d.set.Graph.Parents(im.Name) {
			if j, ok := index[p.Name]; ok {
				definitions[j].unconverted.Add(1)
			}
		}
	}
	// They are started parents first, so that an image only waits for parents
	// that are being defined.
	var g errgroup.Group
	g.SetLimit(maxParallel)
	for i, im := range order {
		g.Go(func() error {
			x := &definitions[i]
			defer close(x.done)
			d.prepare(ctx, d.set.File(im.Name), x)
			for _, p := range d.set.Graph.Parents(im.Name) {
				if j, ok := index[p.Name]; ok {
					<-definitions[j].done
					x.Needs = append(x.Needs, d.set.ID(p.Name))
					x.blocked = x.blocked || definitions[j].def == nil
				}
			}
			if x.Err == nil && !x.blocked {
				x.def, x.Err = converter.Convert(ctx, x.Dockerfile)
				x.Err = inTemplate(x.Err, x.PlaceOf)
				x.Dockerfile.Forget()
			}
			if x.unconverted.Load() == 0 {
				converter.Forget(x.Reference)
			}
			for _, p := range d.set.Graph.Parents(im.Name) {
				if j, ok := index[p.Name]; ok && definitions[j].unconverted.Add(-1) == 0 {
					converter.Forget(definitions[j].Reference)
				}
			}
			return nil
		})
	}
	_ = g.Wait() // each image has its own error
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	out := make([]Image, 0, len(definitions))
	created := map[image.ID]time.Time{}
	for i, im := range order {
		x := &definitions[i]
		if p := d.set.Graph.Parent(im.Name); p != nil {
			x.Parent = d.set.ID(p.Name)
		}
		switch {
		case x.def != nil:
			d.complete(x, created)
		case x.blocked:
			x.Err = nil
		}
		out = append(out, x.Image)
	}
	return out, nil
}

// complete sets what follows from the conversion of an image and from the settings of the
// run. created are the creation times of the images before it.
func (d *definer) complete(x *definition, created map[image.ID]time.Time) {
	x.Created = d.created(created, x)
	created[x.ID] = x.Created
	x.Key, x.Effort = x.def.Key, x.def.Effort
	x.Required, x.Warnings = x.def.Requirements, x.def.Warnings
	if d.set.Config.Squash {
		x.Key, x.Parts["squash"] = squashKey(x.Key), squash.Version
	}
	if c := d.opts.Compression; c != compress.Default {
		x.Key, x.Parts["compression"] = compressedKey(x.Key, c), c.String()
	}
	if v := d.opts.Compatibility; v != 0 && v != buildkit.DefaultCompatibility {
		x.Key, x.Parts["compatibility-version"] = compatibleKey(x.Key, v), fmt.Sprint(v)
	}
	for name, part := range x.def.Parts {
		x.Parts[name] = part.String()
	}
}

// InTemplate returns a mistake in the image's Dockerfile with its place in the template
// or override, and other errors as they are.
func (im *Image) InTemplate(err error) error { return inTemplate(err, im.PlaceOf) }

func inTemplate(err error, placeOf func(int) (string, int)) error {
	mistake, ok := err.(*dockerfile.Error)
	if !ok {
		return err
	}
	if file, at := placeOf(mistake.Line); file != "" {
		moved := *mistake
		moved.Path, moved.Line = file, at
		return &moved
	}
	return err
}

// squashKey is the key of an image whose layers are squashed. It differs from the key
// of the image with all its layers, and between versions of squashing.
func squashKey(key digest.Digest) digest.Digest {
	return digest.FromString("kolla-build squash " + squash.Version + "\n" + key.String())
}

// compressedKey is the key of an image whose layers are not compressed with the default
// settings.
func compressedKey(key digest.Digest, c compress.Settings) digest.Digest {
	return digest.FromString("kolla-build compression " + c.String() + "\n" + key.String())
}

// compatibleKey is the key of an image that is built with another compatibility
// version than the default.
func compatibleKey(key digest.Digest, version int) digest.Digest {
	return digest.FromString(fmt.Sprintf("kolla-build compatibility %d\n%s", version, key))
}

// created is the created time of an image: SOURCE_DATE_EPOCH if it is set, else the
// time of its newest input, including its parents' inputs. So the same inputs give the
// same image on any day and in any selection.
func (d *definer) created(timesSoFar map[image.ID]time.Time, x *definition) time.Time {
	if !d.opts.Epoch.IsZero() {
		return d.opts.Epoch
	}
	newest := x.newest
	for _, n := range x.Needs {
		if t := timesSoFar[n]; t.After(newest) {
			newest = t
		}
	}
	for _, ref := range x.def.External {
		if t := d.bases.createdOf(ref); t.After(newest) {
			newest = t
		}
	}
	return newest
}

// SourceDateEpoch reads SOURCE_DATE_EPOCH from the environment. It is zero if
// the variable is not set.
func SourceDateEpoch(c *console.Console) (time.Time, error) {
	s := strings.TrimSpace(c.Getenv("SOURCE_DATE_EPOCH"))
	if s == "" {
		return time.Time{}, nil
	}
	var secs int64
	if _, err := fmt.Sscanf(s, "%d", &secs); err != nil || fmt.Sprint(secs) != s || secs < 0 {
		return time.Time{}, usererr.Errorf("it holds seconds since 1970, such as `git log -1 --pretty=%ct` prints",
			"SOURCE_DATE_EPOCH=%s in the environment is not a number of seconds", s)
	}
	return time.Unix(secs, 0).UTC(), nil
}
