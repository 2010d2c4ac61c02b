package remoteset

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/inventory"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/setcopy"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// maxCached bounds the bytes of manifests and configs that are kept in memory. Those beyond
// it are read twice.
const maxCached = 32 << 20

// Set is a set of images in a registry. It is a save.Source.
type Set struct {
	ctx     context.Context // of Open: a save.Source opens blobs without one
	client  *registry.Client
	entries []store.Entry

	images map[digest.Digest]image // by the digest of a manifest or index
	blobs  map[digest.Digest]location
	older  map[digest.Digest]olderLayer // layers that AddOlderLayers has added
	faults map[digest.Digest]error      // why it is not known whether a layer of older exists

	bytes   atomic.Int64 // of manifests that were read
	mu      sync.Mutex
	cached  int64
	omitted []string
}

// image is what an image consists of.
type image struct {
	blobs     []ocispec.Descriptor // as save.Source.Blobs returns them
	platforms []string
}

// location describes where a blob is.
type location struct {
	repository imageref.Ref
	size       int64
	manifest   bool
	content    []byte // if it is small, else nil
}

// Open reads the manifests of the images of a location whose names match one of the regular
// expressions, of all without expressions, and those of the signatures, SBOMs and other
// artifacts that refer to them. ctx must last as long as the set is used.
func Open(ctx context.Context, client *registry.Client, from setcopy.Location, exprs []string) (*Set, error) {
	found, err := setcopy.Find(ctx, client, from, exprs)
	if err != nil {
		return nil, err
	}
	s := &Set{ctx: ctx, client: client, images: map[digest.Digest]image{}, blobs: map[digest.Digest]location{}}
	byName := map[string][]setcopy.Image{}
	for _, f := range found {
		byName[f.Name] = append(byName[f.Name], f)
	}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(4 * client.Jobs())
	for name, images := range byName {
		ref, err := imageref.ParseTag(from.Repository(name))
		if err != nil {
			return nil, err
		}
		g.Go(func() error {
			r := &reader{set: s, ref: ref, repo: client.Repository(ref), read: map[digest.Digest]*document{}}
			if err := r.repository(gctx, images); err != nil {
				return fmt.Errorf("reading %s: %w", ref.Repository(), err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, err
	}
	slices.SortFunc(s.entries, func(a, b store.Entry) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// Entries returns the images, sorted by name. Artifacts follow as images whose tag is the one
// by which they are found in a registry: see imageref.IsArtifactTag.
func (s *Set) Entries() []store.Entry { return slices.Clone(s.entries) }

// Omitted returns the artifacts from before OCI 1.1, as NAME@DIGEST. They are not part of the set,
// because neither bundles nor current registries can contain them.
func (s *Set) Omitted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(slices.Values(s.omitted))
}

// omit adds to what Omitted returns.
func (s *Set) omit(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.omitted = append(s.omitted, name)
}

// Blobs implements save.Source.
func (s *Set) Blobs(_ context.Context, d digest.Digest) ([]ocispec.Descriptor, error) {
	img, ok := s.images[d]
	if !ok {
		return nil, fmt.Errorf("image %s is not in the set", d)
	}
	return slices.Clone(img.blobs), nil
}

// Platforms implements save.Source.
func (s *Set) Platforms(e store.Entry) []string { return s.images[e.Digest].platforms }

// OpenBlob implements save.Source. Content that arrives damaged is a *retry.Error: the next
// reading may be right.
func (s *Set) OpenBlob(d digest.Digest) (io.ReadCloser, error) {
	at, ok := s.blobs[d]
	switch {
	case s.faults[d] != nil:
		return nil, s.faults[d]
	case !ok:
		return nil, fmt.Errorf("blob %s is not in the set", d)
	case at.content != nil:
		return io.NopCloser(bytes.NewReader(at.content)), nil
	case at.manifest:
		m, err := s.client.Repository(at.repository).Manifest(s.ctx, d.String())
		if err == nil && int64(len(m.Raw)) != at.size {
			err = fmt.Errorf("manifest %s of %s has %d bytes, %d are expected", d, at.repository.Repository(), len(m.Raw),
				at.size)
		}
		return io.NopCloser(bytes.NewReader(m.Raw)), err
	}
	r, err := s.client.SourceBlob(s.ctx, at.repository, d, at.size)
	if err != nil {
		return nil, retryable(err)
	}
	return &blobReader{r}, nil
}

// blobReader reads a blob of a registry.
type blobReader struct{ io.ReadCloser }

// Read implements io.Reader.
func (r *blobReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	return n, retryable(err)
}

// retryable marks the error of content that arrived damaged as one that may not occur again.
func retryable(err error) error {
	var damaged *registry.ContentError
	if errors.As(err, &damaged) && damaged.Remote {
		return &retry.Error{Err: err, Again: true}
	}
	return err
}

// HasBlob implements save.Source. If the registry does not report whether it has a layer,
// OpenBlob returns its answer.
func (s *Set) HasBlob(d digest.Digest, size int64) bool {
	if old, ok := s.older[d]; ok && old.size == size {
		s.find(d, old)
	}
	at, ok := s.blobs[d]
	return ok && at.size == size || s.faults[d] != nil
}

// AddOlderLayers makes HasBlob and OpenBlob find also the layers of older images that an inventory
// lists, if they are in the repositories of the set.
func (s *Set) AddOlderLayers(inv *inventory.Inventory) {
	s.older, s.faults = map[digest.Digest]olderLayer{}, map[digest.Digest]error{}
	repositories := map[string]imageref.Ref{} // by short name
	for _, e := range s.entries {
		if ref, err := imageref.ParseTag(e.Name); err == nil {
			repositories[path.Base(ref.Path())] = ref.WithTag("")
		}
	}
	for _, image := range inv.Images {
		name, _, _ := imageref.Split(image.Name)
		repository, ok := repositories[path.Base(name)]
		if !ok {
			continue
		}
		for _, d := range image.Layers {
			s.older[d] = olderLayer{repository, inv.Blobs[d]}
		}
	}
}

// olderLayer is where a layer of an older image may be.
type olderLayer struct {
	repository imageref.Ref
	size       int64
}

// find looks for a layer of an older image in its repository. Without it, the layer that
// replaces it is carried whole; a fault of the network must not decide that.
func (s *Set) find(d digest.Digest, at olderLayer) {
	delete(s.older, d)
	if _, known := s.blobs[d]; known {
		return
	}
	switch present, err := s.client.Repository(at.repository).HasBlob(s.ctx, d); {
	case err != nil:
		s.faults[d] = fmt.Errorf("looking for layer %s of an older image in %s: %w", d, at.repository.Repository(), err)
	case present:
		s.blobs[d] = location{repository: at.repository, size: at.size}
	}
}

// TempDir implements save.Source.
func (s *Set) TempDir() string { return "" }

// add adds an image and its blobs.
func (s *Set) add(e store.Entry, img image, blobs map[digest.Digest]location) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for d, at := range blobs {
		earlier, ok := s.blobs[d]
		if ok && earlier.size != at.size {
			return fmt.Errorf("blob %s has %d bytes in %s, and %d in %s", d, at.size, at.repository.Repository(),
				earlier.size, earlier.repository.Repository())
		}
		if ok && (earlier.content != nil || at.content == nil) {
			continue
		}
		if s.cached += int64(len(at.content)); s.cached > maxCached {
			at.content = nil
		}
		s.blobs[d] = at
	}
	s.images[e.Digest] = img
	s.entries = append(s.entries, e)
	return nil
}

// errTooMany ends the reading of an image that a registry makes endless.
var errTooMany = errors.New("it has too many manifests or artifacts")
