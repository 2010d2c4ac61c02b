package save

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// Source provides the images of a bundle. *store.Store implements it.
type Source interface {
	// Blobs returns the descriptors of all blobs of an image, each once, its manifest or
	// index first, then the config of an image that is not an index.
	Blobs(ctx context.Context, image digest.Digest) ([]ocispec.Descriptor, error)
	// Platforms returns the platforms of an image, such as "linux/amd64".
	Platforms(e store.Entry) []string
	// OpenBlob opens a blob. At its end, damage is an error instead of io.EOF.
	OpenBlob(d digest.Digest) (io.ReadCloser, error)
	// HasBlob reports whether a blob of this size can be opened.
	HasBlob(d digest.Digest, size int64) bool
	// TempDir returns a directory for temporary files, "" if it has none.
	TempDir() string
}

// plan is the content of a bundle that is to be written.
type plan struct {
	st        Source
	entries   []store.Entry
	platforms map[string][]string // by the name of the image
	index     []byte
	docker    []byte     // manifest.json
	small     []blob     // manifests and configs
	large     []blob     // layers
	delta     *deltaPlan // nil unless the bundle is a delta
}

type blob struct {
	digest digest.Digest
	size   int64
}

func newPlan(ctx context.Context, st Source, entries []store.Entry, since *inventory.Inventory) (*plan, error) {
	if len(entries) == 0 {
		return nil, errors.New("no images to save")
	}
	p := &plan{st: st, entries: slices.Clone(entries), platforms: map[string][]string{}}
	slices.SortFunc(p.entries, func(a, b store.Entry) int { return strings.Compare(a.Name, b.Name) })
	small, large := map[digest.Digest]int64{}, map[digest.Digest]int64{}
	index := ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex}
	docker := []dockerImage{}
	if since != nil {
		p.delta = newDeltaPlan(since)
	}
	for i, e := range p.entries {
		if e.Name == "" {
			return nil, fmt.Errorf("image %s has no name", e.Digest)
		}
		if i > 0 && p.entries[i-1].Name == e.Name {
			return nil, fmt.Errorf("image %s occurs twice", e.Name)
		}
		blobs, err := st.Blobs(ctx, e.Digest)
		if err != nil {
			return nil, fmt.Errorf("image %s: %w", e.Name, err)
		}
		p.platforms[e.Name] = st.Platforms(e)
		e.MediaType = blobs[0].MediaType
		e.Stored = time.Time{} // not a property of the image
		if e.Kind == store.KindLoaded {
			e.Kind = ""
		}
		d := e.Descriptor(blobs[0].Size)
		d.Annotations[bundle.ContainerdName] = e.Name
		index.Manifests = append(index.Manifests, d)
		if di, ok := dockerImageOf(e.Name, blobs); ok {
			docker = append(docker, di)
		}
		if p.delta != nil {
			blobs = p.delta.missing(e.Name, blobs)
		}
		for _, b := range blobs {
			if isLayer(b.MediaType) {
				large[b.Digest] = b.Size
			} else {
				small[b.Digest] = b.Size
			}
		}
	}
	for d := range small {
		delete(large, d)
	}
	p.small, p.large = sorted(small), sorted(large)
	var err error
	if p.index, err = json.Marshal(index); err != nil {
		return nil, err
	}
	if len(p.index) > bundle.MaxIndex || len(entries) > bundle.MaxImages || len(p.small)+len(p.large) > bundle.MaxBlobs {
		return nil, usererr.Errorf("save them to several bundles",
			"%d images with %d blobs are too many for one bundle", len(entries), len(p.small)+len(p.large))
	}
	if p.delta != nil {
		return p, nil // container engines cannot load it
	}
	p.docker, err = json.Marshal(docker)
	return p, err
}

func (p *plan) summary() Summary {
	s := Summary{Images: p.entries, Blobs: len(p.small) + len(p.large)}
	for _, list := range [][]blob{p.small, p.large} {
		for _, b := range list {
			s.Bytes += b.size
		}
	}
	if p.delta != nil {
		p.delta.summarize(&s)
	}
	return s
}

// isLayer reports whether a blob can be large and follows the small ones in the
// tar. Blobs of unknown media types count as large.
func isLayer(mediaType string) bool {
	switch mediaType {
	case "", ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, ocispec.MediaTypeImageConfig,
		"application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json",
		"application/vnd.docker.container.image.v1+json":
		return false
	}
	return true
}

func sorted(m map[digest.Digest]int64) []blob {
	out := make([]blob, 0, len(m))
	for d, n := range m {
		out = append(out, blob{d, n})
	}
	slices.SortFunc(out, func(a, b blob) int { return strings.Compare(string(a.digest), string(b.digest)) })
	return out
}

// dockerImage is an element of manifest.json.
type dockerImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerImageOf describes an image for docker load, whose format has no
// multi-platform images.
func dockerImageOf(ref string, blobs []ocispec.Descriptor) (dockerImage, bool) {
	if parsed, err := imageref.ParseTag(ref); err != nil || imageref.IsArtifactTag(parsed.Tag()) {
		return dockerImage{}, false
	}
	if len(blobs) < 2 || blobs[0].MediaType == ocispec.MediaTypeImageIndex || isLayer(blobs[1].MediaType) {
		return dockerImage{}, false
	}
	di := dockerImage{Config: bundle.BlobPath(blobs[1].Digest), RepoTags: []string{ref}}
	for _, b := range blobs[2:] {
		if !isLayer(b.MediaType) {
			return dockerImage{}, false
		}
		di.Layers = append(di.Layers, bundle.BlobPath(b.Digest))
	}
	return di, true
}
