package store

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/errdefs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Staging holds the images of a run as their builder exported them, with plain layers,
// until the compressed form of each is in the store. It also gives access to the blobs
// of the store. It is not durable: Close removes it, and that of a killed process is
// removed when a process next opens the store while no other has it open.
type Staging struct {
	main  *Store
	local *Store

	mu      sync.Mutex
	absent  map[digest.Digest]digest.Digest // layers of recalled images that are not here, and the image
	useless map[digest.Digest]bool          // recalled images of which the builder asked for a layer
}

// Stage makes an empty staging area.
func (s *Store) Stage() (*Staging, error) {
	dir, err := os.MkdirTemp(filepath.Join(s.dir, "tmp"), "staging.")
	if err != nil {
		return nil, fmt.Errorf("making a staging area: %w", noSpace(s.dir, 0, err))
	}
	staged := &Store{dir: dir, touched: map[digest.Digest]bool{}}
	for _, d := range []string{"blobs/sha256", "ingest", "tmp"} {
		if err == nil {
			err = os.MkdirAll(filepath.Join(dir, d), 0o755)
		}
	}
	if err == nil {
		staged.content, err = newContent(staged)
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("making a staging area: %w", noSpace(s.dir, 0, err))
	}
	return &Staging{
		main:    s,
		local:   staged,
		absent:  map[digest.Digest]digest.Digest{},
		useless: map[digest.Digest]bool{},
	}, nil
}

// Close removes the staging area.
func (g *Staging) Close() error { return os.RemoveAll(g.local.dir) }

// Content returns the blobs of the staging area and of the store as containerd's
// content store. Writes go to the staging area.
func (g *Staging) Content() content.Store {
	return &stagedContent{Store: g.local.content, g: g}
}

// Image returns an image of the staging area or of the store.
func (g *Staging) Image(d digest.Digest) (v1.Image, error) {
	return newImage(g, d, false)
}

// OpenBlob opens a blob of the staging area or of the store, as Store.OpenBlob
// does.
func (g *Staging) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	return g.holder(d).OpenBlob(d)
}

// WriteBlob writes to the staging area, as Store.WriteBlob does. Nothing is
// written if the store has the blob.
func (g *Staging) WriteBlob(ctx context.Context, r io.Reader, expected digest.Digest, size int64) (
	digest.Digest, int64, error) {
	if expected != "" && g.main.HasBlob(expected, size) {
		return g.main.WriteBlob(ctx, r, expected, size)
	}
	return g.local.WriteBlob(ctx, r, expected, size)
}

// HasBlob reports whether the staging area or the store has a blob.
func (g *Staging) HasBlob(d digest.Digest, size int64) bool {
	return g.local.HasBlob(d, size) || g.main.HasBlob(d, size)
}

func (g *Staging) document(d digest.Digest) ([]byte, ocijson.Document, error) {
	return g.holder(d).document(d)
}

func (g *Staging) readSmall(d digest.Digest, kind string) ([]byte, error) {
	return g.holder(d).readSmall(d, kind)
}

// holder returns the place that has a blob, or the store if neither has it.
func (g *Staging) holder(d digest.Digest) *Store {
	if g.local.HasBlob(d, -1) {
		return g.local
	}
	return g.main
}

// stagedContent is a staging area's content store, through which the store's
// blobs can be read.
type stagedContent struct {
	content.Store // of the staging area
	g             *Staging
}

// Info returns the metadata of a blob.
func (c *stagedContent) Info(ctx context.Context, d digest.Digest) (content.Info, error) {
	c.g.request(d)
	return c.g.holder(d).content.Info(ctx, d)
}

// ReaderAt opens a blob.
func (c *stagedContent) ReaderAt(ctx context.Context, d ocispec.Descriptor) (content.ReaderAt, error) {
	c.g.request(d.Digest)
	return c.g.holder(d.Digest).content.ReaderAt(ctx, d)
}

// Writer writes a blob, unless the store has it, or has another form of a layer.
func (c *stagedContent) Writer(ctx context.Context, opts ...content.WriterOpt) (content.Writer, error) {
	var o content.WriterOpts
	for _, opt := range opts {
		if err := opt(&o); err != nil {
			return nil, err
		}
	}
	if o.Desc.Digest != "" && (c.g.isAbsent(o.Desc.Digest) || c.g.main.HasBlob(o.Desc.Digest, -1)) {
		return nil, fmt.Errorf("content %s: %w", o.Desc.Digest, errdefs.ErrAlreadyExists)
	}
	return c.Store.Writer(ctx, opts...)
}
