package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// maxManifest bounds what is read into memory as a manifest or config. Registries
// allow 4 MiB for manifests; configs of images with long histories stay below.
const maxManifest = 16 << 20

// summary is what a walk over an image finds.
type summary struct {
	mediaType string
	size      int64 // of the manifest
	total     int64 // of all blobs, each counted once
	config    *ocispec.Descriptor
}

// visit is called for each blob of an image once, manifests before what they
// refer to.
type visit func(ctx context.Context, s *Store, d ocispec.Descriptor, of string) error

// walk reads the manifest with this digest, and those below it if it is an
// index, and visits every blob.
func (s *Store) walk(ctx context.Context, d digest.Digest, v visit) (summary, error) {
	w := walker{s: s, visit: v, seen: map[digest.Digest]bool{}}
	err := w.manifest(ctx, ocispec.Descriptor{Digest: d, Size: -1}, "manifest", 0)
	return w.sum, err
}

type walker struct {
	s     *Store
	visit visit
	seen  map[digest.Digest]bool
	sum   summary
}

// document is a manifest or an index: they share these fields.
type document struct {
	MediaType string               `json:"mediaType"`
	Config    *ocispec.Descriptor  `json:"config"`
	Layers    []ocispec.Descriptor `json:"layers"`
	Manifests []ocispec.Descriptor `json:"manifests"`
}

func parseDocument(b []byte) (document, error) {
	var m document
	err := json.Unmarshal(b, &m)
	return m, err
}

func (m document) mediaType() string {
	switch {
	case m.MediaType != "":
		return m.MediaType
	case m.Manifests != nil:
		return ocispec.MediaTypeImageIndex
	}
	return ocispec.MediaTypeImageManifest
}

func (w *walker) manifest(ctx context.Context, d ocispec.Descriptor, of string, depth int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if w.seen[d.Digest] {
		return nil
	}
	w.seen[d.Digest] = true
	w.s.touch(d.Digest)
	b, err := w.s.readSmall(d, of)
	if err != nil {
		return err
	}
	var m document
	if err := json.Unmarshal(b, &m); err != nil {
		return &BlobError{Digest: d.Digest, Of: of, Path: w.s.blobPath(d.Digest), Detail: "not a manifest", Err: err}
	}
	size := int64(len(b))
	w.sum.total += size
	if depth == 0 {
		w.sum.mediaType, w.sum.size, w.sum.config = m.mediaType(), size, m.Config
	}
	d.Size = size
	if err := w.visit(ctx, w.s, d, of); err != nil {
		return err
	}
	if m.Manifests == nil && m.Config == nil {
		return &BlobError{Digest: d.Digest, Of: of, Path: w.s.blobPath(d.Digest), Detail: "neither an image manifest nor an index"}
	}
	if m.Config != nil {
		if err := w.blob(ctx, *m.Config, "config"); err != nil {
			return err
		}
	}
	for i, l := range m.Layers {
		if err := w.blob(ctx, l, fmt.Sprintf("layer %d of %d", i+1, len(m.Layers))); err != nil {
			return err
		}
	}
	for i, c := range m.Manifests {
		// An index of indexes of indexes is no image but an attack.
		if depth >= 3 {
			return &BlobError{Digest: d.Digest, Of: of, Detail: "indexes nested too deeply"}
		}
		if err := w.manifest(ctx, c, fmt.Sprintf("manifest %d of %d", i+1, len(m.Manifests)), depth+1); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) blob(ctx context.Context, d ocispec.Descriptor, of string) error {
	if err := d.Digest.Validate(); err != nil {
		return fmt.Errorf("%s: digest %q: %w", of, d.Digest, err)
	}
	if w.seen[d.Digest] {
		return nil
	}
	w.seen[d.Digest] = true
	w.s.touch(d.Digest)
	// Layers that may not be redistributed are fetched from their URLs.
	if len(d.URLs) > 0 && strings.Contains(d.MediaType, "foreign") && !exists(w.s.blobPath(d.Digest)) {
		return nil
	}
	w.sum.total += d.Size
	return w.visit(ctx, w.s, d, of)
}

// readSmall reads a manifest or config whole and checks its digest.
func (s *Store) readSmall(d ocispec.Descriptor, of string) ([]byte, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("%s: digest %q: %w", of, d.Digest, err)
	}
	path := s.blobPath(d.Digest)
	f, err := os.Open(path)
	if err != nil {
		return nil, blobError(d.Digest, of, path, err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxManifest+1))
	if err != nil {
		return nil, blobError(d.Digest, of, path, err)
	}
	if len(b) > maxManifest {
		return nil, &BlobError{Digest: d.Digest, Of: of, Path: path, Detail: "larger than any manifest (" + Bytes(maxManifest) + ")"}
	}
	if got := d.Digest.Algorithm().FromBytes(b); got != d.Digest {
		return nil, &BlobError{Digest: d.Digest, Of: of, Path: path, Detail: "its content has digest " + got.String()}
	}
	return b, nil
}

func blobError(d digest.Digest, of, path string, err error) error {
	return &BlobError{Digest: d, Of: of, Path: path, Missing: errors.Is(err, fs.ErrNotExist), Err: err}
}

// visitStat checks that a blob is there with the right size.
func visitStat(_ context.Context, s *Store, d ocispec.Descriptor, of string) error {
	path := s.blobPath(d.Digest)
	st, err := os.Stat(path)
	if err != nil {
		return blobError(d.Digest, of, path, err)
	}
	if d.Size >= 0 && st.Size() != d.Size {
		return &BlobError{Digest: d.Digest, Of: of, Path: path, Detail: fmt.Sprintf("its size is %d, not %d", st.Size(), d.Size)}
	}
	return nil
}

// visitHash checks that a blob's content is what its digest says.
func visitHash(ctx context.Context, s *Store, d ocispec.Descriptor, of string) error {
	if err := visitStat(ctx, s, d, of); err != nil {
		return err
	}
	path := s.blobPath(d.Digest)
	f, err := os.Open(path)
	if err != nil {
		return blobError(d.Digest, of, path, err)
	}
	defer f.Close()
	h := d.Digest.Algorithm().Digester()
	if _, err := copyContext(ctx, h.Hash(), f); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return blobError(d.Digest, of, path, err)
	}
	if got := h.Digest(); got != d.Digest {
		return &BlobError{Digest: d.Digest, Of: of, Path: path, Detail: "its content has digest " + got.String()}
	}
	return nil
}

// Check says whether the image with this digest is whole, by the presence and
// size of its blobs; only manifests are read. The error is a *BlobError that
// names the first bad blob.
func (s *Store) Check(ctx context.Context, d digest.Digest) error {
	if _, err := s.walk(ctx, d, visitStat); err != nil {
		return fmt.Errorf("checking image %s: %w", d, err)
	}
	return nil
}

// Verify is Check with every blob read and its digest computed. A blob that
// turns out bad can be replaced by writing the image again after DropBad.
func (s *Store) Verify(ctx context.Context, d digest.Digest) error {
	if _, err := s.walk(ctx, d, visitHash); err != nil {
		return fmt.Errorf("verifying image %s: %w", d, err)
	}
	return nil
}

// Blobs returns the descriptors of all blobs of an image, each once: manifests
// before what they refer to, the image's own manifest first. Their presence and
// sizes are checked.
func (s *Store) Blobs(ctx context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	var out []ocispec.Descriptor
	_, err := s.walk(ctx, d, func(ctx context.Context, s *Store, d ocispec.Descriptor, of string) error {
		out = append(out, d)
		return visitStat(ctx, s, d, of)
	})
	if err != nil {
		return nil, fmt.Errorf("reading image %s: %w", d, err)
	}
	if len(out) > 0 && out[0].MediaType == "" {
		b, err := s.readSmall(out[0], "manifest")
		if err != nil {
			return nil, err
		}
		var m document
		if err := json.Unmarshal(b, &m); err != nil {
			return nil, err
		}
		out[0].MediaType = m.mediaType()
	}
	return out, nil
}

// readConfig returns the config of a walked image, if it is one of the usual form.
func (s *Store) readConfig(sum summary) (ocispec.Image, bool) {
	if sum.config == nil {
		return ocispec.Image{}, false
	}
	b, err := s.readSmall(*sum.config, "config")
	if err != nil {
		return ocispec.Image{}, false
	}
	var c ocispec.Image
	if err := json.Unmarshal(b, &c); err != nil || c.OS == "" || c.Architecture == "" {
		return ocispec.Image{}, false
	}
	return c, true
}

// copyContext is io.Copy that stops when ctx does.
func copyContext(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	return io.CopyBuffer(onlyWriter{w}, contextReader{ctx, r}, make([]byte, 256<<10))
}

type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

type onlyWriter struct{ io.Writer }
