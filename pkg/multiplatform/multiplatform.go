// Package multiplatform owns the indexes that join the images of one template for several
// platforms. It must not know how images are built or published.
package multiplatform

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	digest "github.com/opencontainers/go-digest"
	"github.com/opencontainers/image-spec/specs-go"
	ocispecs "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/image"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// platformIndex is an image of several platforms before it is written.
type platformIndex struct {
	name    string
	parts   []ocispecs.Descriptor // one for each platform
	created time.Time             // of the newest part
}

// Join writes an index for each image that exists for all its possible platforms, gives
// it the image's name in the store, and returns the indexes' digests by reference.
// platform returns the platform that an image was built for.
func Join(ctx context.Context, s *store.Store, results []build.Result,
	platform func(image.ID) ocispecs.Platform) (map[string]digest.Digest, error) {
	images, failed := map[string]*platformIndex{}, map[string]bool{}
	for _, res := range results {
		if res.Status.Bad() && res.Status != build.StatusPushError {
			failed[res.Reference] = true
			continue
		}
		m := images[res.Reference]
		if m == nil {
			m = &platformIndex{name: res.Image.Name}
			images[res.Reference] = m
		}
		if err := m.add(ctx, s, res.Digest, platform(res.Image)); err != nil {
			return nil, fmt.Errorf("joining the platforms of %s: %w", res.Image, err)
		}
	}
	indexes := map[string]digest.Digest{}
	var entries []store.Entry
	for _, ref := range slices.Sorted(maps.Keys(images)) {
		if failed[ref] {
			continue
		}
		d, err := images[ref].write(ctx, s)
		if err != nil {
			return nil, fmt.Errorf("joining the platforms of %s: %w", ref, err)
		}
		indexes[ref] = d
		entries = append(entries, store.Entry{Name: ref, Digest: d, Kind: store.KindBuilt, Created: images[ref].created})
	}
	return indexes, s.Put(entries...)
}

// add adds the image for one platform.
func (m *platformIndex) add(ctx context.Context, s *store.Store, d digest.Digest, p ocispecs.Platform) error {
	e, ok, err := s.ByDigest(d)
	if err == nil && !ok {
		err = fmt.Errorf("%s is not in the store", d)
	}
	if err != nil {
		return err
	}
	blobs, err := s.Blobs(ctx, d)
	if err != nil {
		return err
	}
	m.parts = append(m.parts, ocispecs.Descriptor{
		MediaType: blobs[0].MediaType,
		Digest:    d,
		Size:      blobs[0].Size,
		Platform:  &p,
	})
	if e.Created.After(m.created) {
		m.created = e.Created
	}
	return nil
}

// write writes the index to the store and returns its digest.
func (m *platformIndex) write(ctx context.Context, s *store.Store) (digest.Digest, error) {
	raw, err := json.Marshal(ocispecs.Index{
		Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispecs.MediaTypeImageIndex, Manifests: m.parts,
		Annotations: map[string]string{
			ocispecs.AnnotationTitle:   m.name,
			ocispecs.AnnotationCreated: m.created.UTC().Format(time.RFC3339),
		},
	})
	if err != nil {
		return "", err
	}
	d, _, err := s.WriteBlob(ctx, bytes.NewReader(raw), digest.FromBytes(raw), int64(len(raw)))
	return d, err
}
