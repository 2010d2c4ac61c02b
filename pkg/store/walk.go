package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/units"
)

// summary is what a walk over an image finds.
type summary struct {
	mediaType string
	size      int64 // of the manifest
	total     int64 // of all blobs, each counted once
	config    *ocispec.Descriptor
}

// visit is called for each blob of an image once, for a manifest before the blobs
// that it refers to.
type visit func(ctx context.Context, s *Store, d ocispec.Descriptor, kind string) error

// walk reads the manifest with this digest, and those of an index, and visits
// every blob.
func (s *Store) walk(ctx context.Context, d digest.Digest, v visit) (summary, error) {
	w := walker{s: s, visit: v, manifests: map[digest.Digest]bool{}, visited: map[digest.Digest]bool{}}
	err := w.manifest(ctx, ocispec.Descriptor{Digest: d, Size: -1}, "manifest", 0)
	return w.sum, err
}

// walker walks over an image. A digest can occur both as a layer and as a manifest
// whose references count, so the two are tracked separately.
type walker struct {
	s         *Store
	visit     visit
	manifests map[digest.Digest]bool // those that were read
	visited   map[digest.Digest]bool // all blobs that were visited
	sum       summary
}

func mediaTypeOf(m ocijson.Document) string {
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.IsIndex():
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

func (w *walker) manifest(ctx context.Context, layer ocispec.Descriptor, kind string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.manifests[layer.Digest] {
		return nil
	}
	w.manifests[layer.Digest] = true
	w.s.touch(layer.Digest)
	doc, size, err := w.s.readDocument(layer.Digest, kind)
	if err != nil {
		return err
	}
	if depth == 0 {
		w.sum.mediaType, w.sum.size, w.sum.config = mediaTypeOf(doc), size, doc.Config
	}
	if layer.Size >= 0 && layer.Size != size {
		return &BlobError{Digest: layer.Digest, Of: kind, Path: w.s.blobPath(layer.Digest),
			Detail: fmt.Sprintf("its size is %d, not %d", size, layer.Size)}
	}
	if layer.Size = size; !w.visited[layer.Digest] {
		w.visited[layer.Digest] = true
		w.sum.total += size
		if err := w.visit(ctx, w.s, layer, kind); err != nil {
			return err
		}
	}
	if !doc.IsIndex() && doc.Config == nil {
		return &BlobError{
			Digest: layer.Digest,
			Of:     kind,
			Path:   w.s.blobPath(layer.Digest),
			Detail: "neither an image manifest nor an index",
		}
	}
	if doc.Config != nil {
		if err := w.blob(ctx, *doc.Config, "config"); err != nil {
			return err
		}
	}
	for i, l := range doc.Layers {
		if err := w.blob(ctx, l, fmt.Sprintf("layer %d of %d", i+1, len(doc.Layers))); err != nil {
			return err
		}
	}
	for i, c := range doc.Manifests {
		if depth >= ocijson.MaxNesting {
			return &BlobError{Digest: layer.Digest, Of: kind, Detail: "indexes nested too deeply"}
		}
		if err := w.manifest(ctx, c, fmt.Sprintf("manifest %d of %d", i+1, len(doc.Manifests)), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) blob(ctx context.Context, d ocispec.Descriptor, kind string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("%s: digest %q: %w", kind, d.Digest, err)
	}
	if w.visited[d.Digest] {
		return nil
	}
	w.visited[d.Digest] = true
	w.s.touch(d.Digest)
	// Layers that may not be redistributed are fetched from their URLs.
	if isForeign(d) && !exists(w.s.blobPath(d.Digest)) {
		return nil
	}
	w.sum.total += d.Size
	return w.visit(ctx, w.s, d, kind)
}

func isForeign(d ocispec.Descriptor) bool {
	return len(d.URLs) > 0 && strings.Contains(d.MediaType, "foreign")
}

// readDocument reads a manifest or an index and returns its size in bytes too.
func (s *Store) readDocument(d digest.Digest, kind string) (ocijson.Document, int64, error) {
	b, err := s.readSmall(d, kind)
	if err != nil {
		return ocijson.Document{}, 0, err
	}
	m, err := ocijson.Parse(b)
	if err != nil {
		return m, 0, &BlobError{Digest: d, Of: kind, Path: s.blobPath(d), Detail: "not a manifest", Err: err}
	}
	return m, int64(len(b)), nil
}

// ReadManifest returns a manifest or an index, of up to ocijson.MaxBytes. Its digest is checked.
func (s *Store) ReadManifest(d digest.Digest) ([]byte, error) { return s.readSmall(d, "manifest") }

// readSmall reads a manifest or config and checks its digest. kind is its role in
// the image, for errors.
func (s *Store) readSmall(d digest.Digest, kind string) ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, fmt.Errorf("%s: digest %q: %w", kind, d, err)
	}
	path := s.blobPath(d)
	f, err := inputfile.OpenRegular(path)
	if err != nil {
		return nil, blobError(d, kind, path, err)
	}
	defer f.Close()
	b, err := inputfile.ReadAll(f, path, ocijson.MaxBytes)
	var large *inputfile.TooLargeError
	switch {
	case err != nil && !errors.As(err, &large):
		return nil, blobError(d, kind, path, err)
	case err != nil:
		return nil, &BlobError{Digest: d, Of: kind, Path: path,
			Detail: "larger than a manifest or config can be (" + units.Bytes(ocijson.MaxBytes) + ")"}
	}
	if got := d.Algorithm().FromBytes(b); got != d {
		return nil, &BlobError{Digest: d, Of: kind, Path: path, Detail: "its content has digest " + got.String()}
	}
	return b, nil
}

func blobError(d digest.Digest, kind, path string, err error) error {
	return &BlobError{Digest: d, Of: kind, Path: path, Missing: errors.Is(err, fs.ErrNotExist), Err: err}
}

// readConfig returns platform and creation time of a walked image, if its config
// is of the usual form.
func (s *Store) readConfig(sum summary) (p ocispec.Platform, created time.Time, ok bool) {
	if sum.config == nil {
		return p, created, false
	}
	b, err := s.readSmall(sum.config.Digest, "config")
	if err != nil {
		return p, created, false
	}
	c, err := ocijson.ParseConfig(b)
	if err != nil || c.Platform.OS == "" || c.Platform.Architecture == "" {
		return p, created, false
	}
	created, _ = time.Parse(time.RFC3339Nano, c.Created)
	return c.Platform, created, true
}
