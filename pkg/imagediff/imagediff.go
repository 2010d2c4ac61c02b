// Package imagediff compares two images: their configuration, packages and files, layer
// by layer. It finds images in the local store, in a registry or in an OCI layout, and
// must not know how images are built.
package imagediff

import (
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/pkg/inspect"
	"github.com/kolla-build/kolla-build/pkg/packages"
)

// Difference describes the differences of two images.
type Difference struct {
	A        Image                 `json:"a"`
	B        Image                 `json:"b"`
	Same     bool                  `json:"same"` // byte for byte
	Config   []inspect.FieldChange `json:"config"`
	Packages []packages.Change     `json:"packages"`
	Layers   []LayerDifference     `json:"-"` // those that differ; the field "layers"
}

// Image is an image to compare.
type Image struct {
	Name   string        `json:"name"` // how it was found
	Digest digest.Digest `json:"digest"`

	content v1.Image
	remote  bool // in a registry
}

// Content returns the image itself. It can be read as long as the context of
// Finder.Find lasts.
func (i Image) Content() v1.Image { return i.content }

// LayerDifference is a layer that differs. If the images have different numbers of
// layers, it represents all layers after those that they share.
type LayerDifference struct {
	Layer int           `json:"layer"` // 1 for the lowest; with Rest, the first that differs
	Rest  bool          `json:"rest,omitempty"`
	Step  string        `json:"step,omitempty"` // the instruction that created it, by the history of B
	A     digest.Digest `json:"a,omitempty"`
	B     digest.Digest `json:"b,omitempty"`
	// Packed reports that the files are equal and only the archive differs, in its
	// order or compression.
	Packed bool `json:"packed,omitempty"`
	// Files are described when they are written, as the field "files" (see WriteJSON).
	Files []inspect.Change `json:"-"`
}

// compareImages compares two images. The reader reads their packages.
func compareImages(ctx context.Context, a, b Image, reader *packages.Reader) (*Difference, error) {
	d := &Difference{
		A: a, B: b, Same: a.Digest == b.Digest,
		Config: []inspect.FieldChange{}, Packages: []packages.Change{},
	}
	if d.Same {
		return d, nil
	}
	if err := d.compare(ctx, reader); err != nil {
		return nil, fmt.Errorf("comparing %s with %s: %w", a.Name, b.Name, err)
	}
	return d, nil
}

func (d *Difference) compare(ctx context.Context, reader *packages.Reader) error {
	var contents [2]*packages.Contents
	var configs [2][]byte
	for i, image := range []Image{d.A, d.B} {
		var err error
		if configs[i], err = image.content.RawConfigFile(); err != nil {
			return err
		}
		if contents[i], err = reader.Read(ctx, image.content); err != nil {
			return err
		}
	}
	fields, err := inspect.CompareConfigs(configs[0], configs[1])
	if err != nil {
		return err
	}
	d.Config = append(d.Config, fields...)
	d.Packages = append(d.Packages, packages.Changes(contents[0].Packages, contents[1].Packages)...)
	return d.compareLayers(ctx)
}

func (d *Difference) compareLayers(ctx context.Context) error {
	defer LimitMemory()()
	a, err := layersOf(d.A.content)
	if err != nil {
		return err
	}
	b, err := layersOf(d.B.content)
	if err != nil {
		return err
	}
	if len(a) != len(b) {
		return d.compareDistinctLayers(ctx, a, b)
	}
	steps, r := instructions(d.B.content), newReading()
	for i := range a {
		if a[i].digest == b[i].digest {
			continue
		}
		l := LayerDifference{Layer: i + 1, A: a[i].digest, B: b[i].digest}
		if i < len(steps) {
			l.Step = steps[i]
		}
		inA, inB, err := r.both(ctx, a[i:i+1], b[i:i+1])
		if err != nil {
			return fmt.Errorf("layer %d: %w", i+1, err)
		}
		l.Files = inspect.CompareLayers(inA[0], inB[0])
		l.Packed = len(l.Files) == 0
		d.Layers = append(d.Layers, l)
	}
	return nil
}

// compareDistinctLayers compares the merged layers after the common ones.
func (d *Difference) compareDistinctLayers(ctx context.Context, a, b []layer) error {
	common := 0
	for common < min(len(a), len(b)) && a[common].digest == b[common].digest {
		common++
	}
	l := LayerDifference{Layer: common + 1, Rest: true}
	a, b = a[common:], b[common:]
	if len(a) > 0 {
		l.A = a[0].digest
	}
	if len(b) > 0 {
		l.B = b[0].digest
	}
	inA, inB, err := newReading().both(ctx, a, b)
	if err != nil {
		return err
	}
	l.Files = inspect.CompareTrees(inA, inB, common) // layers count from the lowest of the image
	d.Layers = append(d.Layers, l)
	return nil
}

type layer struct {
	v1.Layer
	digest digest.Digest
}

func layersOf(img v1.Image) ([]layer, error) {
	imageLayers, err := img.Layers()
	if err != nil {
		return nil, err
	}
	var layers []layer
	for _, l := range imageLayers {
		h, err := l.Digest()
		if err != nil {
			return nil, err
		}
		layers = append(layers, layer{l, digest.Digest(h.String())})
	}
	return layers, nil
}

// maxUsage are the limits of the layers of both images that differ, all of which can be in memory
// at the same time. Images of OpenStack have up to 150,000 files, whose paths have 70 bytes on
// average (TestMemory).
var maxUsage = inspect.Limits{Entries: 500_000, Names: 40 << 20, Implied: 100_000}

// reading reads the layers of two images that differ.
type reading struct {
	limits inspect.Limits // of both images together
	usage  inspect.Usage
}

func newReading() *reading { return &reading{limits: maxUsage} }

// both reads layers of both images, the two images at the same time.
func (r *reading) both(ctx context.Context, a, b []layer) (inA, inB []*inspect.Layer, err error) {
	g, ctx := errgroup.WithContext(ctx)
	opts := inspect.Options{Digests: true, Limits: r.limits, Usage: &r.usage}
	read := func(layers []layer, to *[]*inspect.Layer) {
		g.Go(func() error {
			for _, l := range layers {
				content, _, err := inspect.ReadLayer(ctx, l.Layer, opts)
				if err != nil {
					return err
				}
				*to = append(*to, content)
			}
			return nil
		})
	}
	read(a, &inA)
	read(b, &inB)
	return inA, inB, g.Wait()
}

// instructions returns the instructions that created an image's layers, from its
// history.
func instructions(img v1.Image) []string {
	conf, err := img.ConfigFile()
	if err != nil {
		return nil
	}
	var found []string
	for _, h := range conf.History {
		if !h.EmptyLayer {
			found = append(found, strings.Join(strings.Fields(strings.TrimSuffix(h.CreatedBy, "# buildkit")), " "))
		}
	}
	return found
}
