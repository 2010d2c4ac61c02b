// Package inventory owns the list of blobs and images of a site, as a file for the site
// that saves a delta for it. It must not know where a list comes from: callers add
// images.
package inventory

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/ocijson"
)

// formatVersion is the version of the file.
const formatVersion = 1

// Limits of a file, which is untrusted.
const (
	maxBytes  = 64 << 20
	maxBlobs  = 500_000
	maxImages = 100_000
	maxText   = 4096     // bytes of a name and of Inventory.Of
	maxToken  = 64 << 10 // bytes of a text or number as it is written; an escaped character has up to six
)

// Image is one image that a site has.
type Image struct {
	Name   string          `json:"name"`   // with registry, namespace and tag
	Digest digest.Digest   `json:"digest"` // of the manifest or index
	Layers []digest.Digest `json:"layers"` // of all platforms, in their order
}

// Inventory lists the content of a site.
type Inventory struct {
	Of     string // where it was taken: a registry's namespace or a store
	Taken  time.Time
	Blobs  map[digest.Digest]int64 // sizes, with manifests and configs
	Images []Image                 // sorted by name
}

// file is the form of an inventory on the disk.
type file struct {
	Version int       `json:"version"`
	Of      string    `json:"of"`
	Taken   time.Time `json:"taken"`
	Blobs   []blob    `json:"blobs"`
	Images  []Image   `json:"images"`
}

type blob struct {
	Digest digest.Digest `json:"digest"`
	Size   int64         `json:"size"`
}

// New returns an empty inventory.
func New(source string, created time.Time) *Inventory {
	return &Inventory{Of: source, Taken: created.UTC().Truncate(time.Second), Blobs: map[digest.Digest]int64{}}
}

// Add adds an image with everything that it refers to. read returns a manifest or index
// by digest, of at most ocijson.MaxBytes.
func (inv *Inventory) Add(name string, root digest.Digest, read func(digest.Digest) ([]byte, error)) error {
	image := Image{Name: name, Digest: root, Layers: []digest.Digest{}}
	if err := inv.walk(&image, root, read, map[digest.Digest]bool{}, ocijson.MaxNesting); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if len(inv.Blobs) > maxBlobs || len(inv.Images) >= maxImages {
		return fmt.Errorf("%s: with it, more than %d blobs or %d images", name, maxBlobs, maxImages)
	}
	inv.Images = append(inv.Images, image)
	slices.SortFunc(inv.Images, func(a, b Image) int { return strings.Compare(a.Name, b.Name) })
	return nil
}

func (inv *Inventory) walk(image *Image, d digest.Digest, read func(digest.Digest) ([]byte, error),
	seen map[digest.Digest]bool, depth int) error {
	switch {
	case seen[d]:
		return nil
	case depth < 0:
		return errors.New("indexes are nested too deeply")
	case len(seen) > ocijson.MaxManifests:
		return fmt.Errorf("it has more than %d manifests", ocijson.MaxManifests)
	}
	seen[d] = true
	raw, err := read(d)
	if err != nil {
		return err
	}
	m, err := ocijson.Parse(raw)
	if err != nil {
		return fmt.Errorf("manifest %s: %w", d, err)
	}
	inv.Blobs[d] = int64(len(raw))
	for _, child := range m.Manifests {
		if err := inv.walk(image, child.Digest, read, seen, depth-1); err != nil {
			return err
		}
	}
	for _, l := range m.Layers {
		if len(l.URLs) == 0 {
			inv.Blobs[l.Digest] = l.Size
			image.Layers = append(image.Layers, l.Digest)
		}
	}
	if m.Config != nil {
		inv.Blobs[m.Config.Digest] = m.Config.Size
	}
	return nil
}

// Has reports whether the site has a blob.
func (inv *Inventory) Has(d ocispec.Descriptor) bool {
	size, ok := inv.Blobs[d.Digest]
	return ok && size == d.Size
}

// LayersOf returns the layers of the image that an image of this name replaces: the
// image of the same name, else the one with the same last component and the greatest
// tag.
func (inv *Inventory) LayersOf(name string) []digest.Digest {
	var found []digest.Digest
	for _, image := range inv.Images {
		if image.Name == name {
			return image.Layers
		}
		if short(image.Name) == short(name) {
			found = image.Layers
		}
	}
	return found
}

// short returns a name without registry, namespace and tag.
func short(name string) string {
	name = name[strings.LastIndexByte(name, '/')+1:]
	name, _, _ = strings.Cut(name, ":")
	return name
}

// Write writes the file.
func (inv *Inventory) Write(w io.Writer) error {
	f := file{Version: formatVersion, Of: inv.Of, Taken: inv.Taken, Images: inv.Images, Blobs: []blob{}}
	for _, d := range slices.Sorted(maps.Keys(inv.Blobs)) {
		f.Blobs = append(f.Blobs, blob{d, inv.Blobs[d]})
	}
	enc := json.NewEncoder(w)
	return enc.Encode(f)
}

// Read reads a file that Write has written. It is untrusted: its size and every digest
// are checked.
func Read(r io.Reader) (*Inventory, error) {
	b, err := inputfile.ReadAll(r, "the file", maxBytes)
	if err != nil {
		return nil, fmt.Errorf("inventory: %w", err)
	}
	inv, err := (*Inventory)(nil), json.Unmarshal(b, &struct{}{}) // for the place of a mistake
	if err == nil {
		inv, err = parse(b)
	}
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &syntax):
		at := min(int(syntax.Offset), len(b))
		return nil, fmt.Errorf("inventory: line %d: %w", 1+bytes.Count(b[:at], []byte("\n")), err)
	case err != nil:
		return nil, fmt.Errorf("inventory: %w", err)
	}
	return inv, nil
}
