package load

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// Partial is an image for several platforms of which a file has only some, as ctr images
// export --platform writes them.
type Partial struct {
	Name            string
	Loaded, Missing []string // platforms
}

// keepPartial replaces each index of which some manifests are neither in the file nor
// in the store: by the only manifest that is available, or by an index of those that
// are. Bundles that save wrote have all platforms.
func (l *loader) keepPartial(ctx context.Context) error {
	if l.manifest.Manifest != nil {
		return nil
	}
	type kept struct {
		to       ocispec.Descriptor // Digest is "" for an image that does not change
		platform Partial
	}
	seen := map[digest.Digest]kept{}
	absent, needed := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for i, layer := range l.images {
		k, found := seen[layer.Digest]
		if !found {
			present, missing, err := l.manifests(ctx, layer)
			if err != nil {
				return err
			}
			if len(present) > 0 && len(missing) > 0 {
				if k.to, err = l.replaceIndex(ctx, layer, present); err != nil {
					return err
				}
				for _, child := range missing {
					absent[child.Digest] = true
				}
				k.platform = Partial{Loaded: platformNames(present), Missing: platformNames(missing)}
			} else {
				needed[layer.Digest] = true
				for _, child := range missing {
					needed[child.Digest] = true
				}
			}
			seen[layer.Digest] = k
		}
		if k.to.Digest != "" {
			k.platform.Name = bundle.ImageName(layer)
			l.sum.Partial = append(l.sum.Partial, k.platform)
			k.to.Annotations = layer.Annotations
			l.images[i] = k.to
		}
	}
	for d := range absent {
		if !needed[d] {
			delete(l.expected, d)
		}
	}
	return nil
}

// manifests returns the manifests of an index: those that are in the file or, complete, in
// the store, and the others. It returns none for an image.
func (l *loader) manifests(ctx context.Context, d ocispec.Descriptor) (
	present, missing []ocispec.Descriptor, err error) {
	if _, read := l.received[d.Digest]; !read {
		return nil, nil, nil
	}
	raw, err := l.st.ReadManifest(d.Digest)
	if err != nil {
		return nil, nil, err
	}
	doc, err := ocijson.Parse(raw)
	if err != nil {
		return nil, nil, err
	}
	for _, child := range doc.Manifests {
		if _, read := l.received[child.Digest]; read || l.st.Check(ctx, child.Digest) == nil {
			present = append(present, child)
		} else {
			missing = append(missing, child)
		}
	}
	if ctx.Err() != nil { // blobs of the store may count as missing
		return nil, nil, context.Cause(ctx)
	}
	return present, missing, nil
}

// replaceIndex returns the descriptor of an image that has only the available manifests
// of its index.
func (l *loader) replaceIndex(ctx context.Context, d ocispec.Descriptor, present []ocispec.Descriptor) (
	ocispec.Descriptor, error) {
	if len(present) == 1 {
		return ocispec.Descriptor{MediaType: present[0].MediaType, Digest: present[0].Digest, Size: present[0].Size}, nil
	}
	raw, err := l.st.ReadManifest(d.Digest)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return ocispec.Descriptor{}, err
	}
	index.Manifests = present
	if raw, err = json.Marshal(index); err != nil {
		return ocispec.Descriptor{}, err
	}
	to := ocispec.Descriptor{MediaType: index.MediaType, Digest: digest.FromBytes(raw), Size: int64(len(raw))}
	_, _, err = l.st.WriteBlob(ctx, bytes.NewReader(raw), to.Digest, to.Size)
	return to, err
}

func platformNames(manifests []ocispec.Descriptor) []string {
	var names []string
	for _, d := range manifests {
		names = append(names, platformName(d))
	}
	return names
}

func platformName(d ocispec.Descriptor) string {
	if d.Platform == nil {
		return d.Digest.String()
	}
	return platforms.Format(*d.Platform)
}
