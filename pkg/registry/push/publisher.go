package push

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/internal/memo"
	"github.com/kolla-build/kolla-build/internal/ocijson"
	"github.com/kolla-build/kolla-build/internal/units"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Options are the settings of a Publisher. The zero value has neither progress nor a
// journal.
type Options struct {
	// Progress is called as blobs are sent, at most ten times a second per blob, and
	// once at the end of each blob. It must not block.
	Progress func(Progress)

	// Journal is the publisher's own directory in which a commit is recorded while its
	// tags are updated, so that Recover can complete or undo it if the process is
	// killed. If it is "", nothing is recorded: a failed commit is still undone, a
	// killed one is not.
	Journal string

	// Notice, if not nil, is called with messages for the user that are not errors.
	Notice func(string)
}

// Progress is the state of the transfer of one blob to one repository.
type Progress struct {
	Repository string // REGISTRY/REPOSITORY
	Blob       digest.Digest
	Done, Size int64              // bytes
	State      registry.BlobState // "" while it is being sent
}

// Stats counts what a Publisher did so far.
type Stats struct {
	Uploaded, Mounted, Skipped int64 // blobs
	Bytes                      int64 // of the blobs that were uploaded
	Manifests                  int64 // put by digest
	Unchanged                  int64 // images whose manifest existed, so nothing was sent
	Tags                       int64 // updated
	Retried                    int64 // requests and uploads that were repeated
}

// String describes what was sent. Counts of zero are omitted.
func (s Stats) String() string {
	var parts []string
	add := func(n int64, text string) {
		if n > 0 {
			parts = append(parts, text)
		}
	}
	add(s.Uploaded, fmt.Sprintf("%s sent (%s)", units.Count(int(s.Uploaded), "blob"), units.Bytes(s.Bytes)))
	add(s.Mounted, fmt.Sprintf("%s reused from other repositories", units.Count(int(s.Mounted), "blob")))
	add(s.Skipped, fmt.Sprintf("%s already in the registry", units.Count(int(s.Skipped), "blob")))
	add(s.Unchanged, fmt.Sprintf("%s already in the registry", units.Count(int(s.Unchanged), "image")))
	if parts == nil {
		return "nothing to send"
	}
	return strings.Join(parts, ", ")
}

// Publisher publishes one set of images. It is safe for concurrent use.
type Publisher struct {
	client *registry.Client
	opts   Options
	slots  chan struct{} // for blobs in flight

	uploaded, mounted, skipped, bytes, manifests, unchanged, tags atomic.Int64

	blobs    memo.Map[blobKey, *registry.Repository] // a repository with the blob
	catalogs memo.Map[string, *catalog]              // by registry

	mu     sync.Mutex
	pushed map[digest.Digest]registry.Manifest // for Commit
}

// New makes a Publisher for one set.
func New(client *registry.Client, opts Options) *Publisher {
	return &Publisher{
		client: client, opts: opts,
		slots:  make(chan struct{}, client.Jobs()),
		pushed: map[digest.Digest]registry.Manifest{},
	}
}

// Stats returns what was done so far.
func (p *Publisher) Stats() Stats {
	return Stats{
		Uploaded: p.uploaded.Load(), Mounted: p.mounted.Load(), Skipped: p.skipped.Load(),
		Bytes: p.bytes.Load(), Manifests: p.manifests.Load(), Unchanged: p.unchanged.Load(),
		Tags: p.tags.Load(), Retried: p.client.Retried(),
	}
}

// Push puts an image's blobs and manifest into a repository by digest, without a tag,
// and reads the manifest back. name is REGISTRY/REPOSITORY; a tag after it is ignored,
// a digest is an error. Existing blobs are skipped, and blobs that another repository of
// the registry has are mounted: from images of this set, and from the likeliest ones.
func (p *Publisher) Push(ctx context.Context, name string, img v1.Image) (ocispec.Descriptor, error) {
	ref, err := imageref.ParseTag(name)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("pushing %s: %w", name, err)
	}
	d, err := p.pushImage(ctx, p.client.Repository(ref), img)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("pushing %s: %w", name, err)
	}
	return d, nil
}

// PushIndex pushes an index and the images in it, as Push does.
func (p *Publisher) PushIndex(ctx context.Context, name string, idx v1.ImageIndex) (ocispec.Descriptor, error) {
	ref, err := imageref.ParseTag(name)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("pushing %s: %w", name, err)
	}
	d, err := p.pushIndex(ctx, p.client.Repository(ref), idx)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("pushing %s: %w", name, err)
	}
	return d, nil
}

func (p *Publisher) pushImage(ctx context.Context, repo *registry.Repository, img v1.Image) (
	ocispec.Descriptor, error) {
	m, err := manifestOf(img)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	present, err := p.begin(ctx, repo, m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	if present {
		// Its blobs are in the repository: other images can mount them from there.
		return m.Descriptor(), p.recordBlobs(repo, img)
	}
	layers, err := img.Layers()
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("reading layers: %w", err)
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("reading the image's config: %w", err)
	}
	if err := p.putBlobs(ctx, repo, append(slices.Clone(layers), config)); err != nil {
		return ocispec.Descriptor{}, err
	}
	return p.finish(ctx, repo, m)
}

// maxIndexDepth bounds indexes within indexes.
const maxIndexDepth = ocijson.MaxNesting + 1

func (p *Publisher) pushIndex(ctx context.Context, repo *registry.Repository, idx v1.ImageIndex) (
	ocispec.Descriptor, error) {
	var t tree
	if err := t.add(idx, maxIndexDepth); err != nil {
		return ocispec.Descriptor{}, err
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, img := range t.images {
		g.Go(func() error {
			_, err := p.pushImage(gctx, repo, img)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return ocispec.Descriptor{}, err
	}
	var d ocispec.Descriptor
	for _, idx := range t.indexes { // the last is the outermost
		m, err := manifestOf(idx)
		if err != nil {
			return d, err
		}
		present, err := p.begin(ctx, repo, m)
		if err == nil && !present {
			_, err = p.finish(ctx, repo, m)
		}
		if err != nil {
			return d, err
		}
		d = m.Descriptor()
	}
	return d, nil
}

// tree is an index with all that it refers to, each manifest once: indexes may come from
// a bundle, and refer to the same manifest in countless ways.
type tree struct {
	images  []v1.Image
	indexes []v1.ImageIndex // referenced indexes before the ones that refer to them
	seen    map[digest.Digest]bool
}

func (t *tree) add(idx v1.ImageIndex, depth int) error {
	if depth == 0 {
		return fmt.Errorf("indexes are nested more than %d levels deep", maxIndexDepth)
	}
	parsed, err := idx.IndexManifest()
	if err != nil {
		return err
	}
	if t.seen == nil {
		t.seen = map[digest.Digest]bool{}
	}
	for _, child := range parsed.Manifests {
		d := digest.Digest(child.Digest.String())
		if t.seen[d] {
			continue
		}
		t.seen[d] = true
		if len(t.seen) > ocijson.MaxManifests {
			return fmt.Errorf("more than %d manifests", ocijson.MaxManifests)
		}
		if child.MediaType.IsIndex() {
			sub, err := idx.ImageIndex(child.Digest)
			if err == nil {
				err = t.add(sub, depth-1)
			}
			if err != nil {
				return err
			}
			continue
		}
		img, err := idx.Image(child.Digest)
		if err != nil {
			return err
		}
		t.images = append(t.images, img)
	}
	t.indexes = append(t.indexes, idx)
	return nil
}

// begin records a manifest for Commit and reports whether the repository already has
// it.
func (p *Publisher) begin(ctx context.Context, repo *registry.Repository, m registry.Manifest) (
	present bool, err error) {
	p.mu.Lock()
	p.pushed[m.Digest] = m
	p.mu.Unlock()
	if present, err = repo.Has(ctx, m.Digest); present {
		p.unchanged.Add(1)
	}
	return present, err
}

// finish uploads a manifest whose content is in the repository.
func (p *Publisher) finish(ctx context.Context, repo *registry.Repository, m registry.Manifest) (
	ocispec.Descriptor, error) {
	if err := repo.PutManifest(ctx, m); err != nil {
		return ocispec.Descriptor{}, err
	}
	p.manifests.Add(1)
	return m.Descriptor(), nil
}

// manifestOf reads the manifest of an image or index.
func manifestOf(content interface {
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
}) (registry.Manifest, error) {
	fail := func(err error) (registry.Manifest, error) {
		return registry.Manifest{}, fmt.Errorf("reading the manifest: %w", err)
	}
	raw, err := content.RawManifest()
	if err != nil {
		return fail(err)
	}
	mt, err := content.MediaType()
	if err != nil {
		return fail(err)
	}
	h, err := content.Digest()
	if err != nil {
		return fail(err)
	}
	m := registry.Manifest{Raw: raw, MediaType: string(mt), Digest: digest.Digest(h.String())}
	if err := m.Digest.Validate(); err != nil {
		return fail(err)
	}
	if got := m.Digest.Algorithm().FromBytes(raw); got != m.Digest {
		return registry.Manifest{}, &registry.ContentError{What: "manifest", Want: m.Digest.String(), Got: got.String()}
	}
	return m, nil
}

func (p *Publisher) notice(text string) {
	if p.opts.Notice != nil {
		p.opts.Notice(text)
	}
}

func (p *Publisher) report(progress Progress) {
	if p.opts.Progress != nil {
		p.opts.Progress(progress)
	}
}

// putBlobs puts blobs into a repository, in parallel, each one once.
func (p *Publisher) putBlobs(ctx context.Context, repo *registry.Repository, layers []v1.Layer) error {
	g, gctx := errgroup.WithContext(ctx)
	seen := map[digest.Digest]bool{}
	for _, layer := range layers {
		mt, err := layer.MediaType()
		if err != nil {
			return err
		}
		if !mt.IsDistributable() {
			continue // it is only referenced by its URL
		}
		blob, err := blobOf(layer)
		if err != nil {
			return err
		}
		if seen[blob.Digest] {
			continue // an image may contain the same empty layer many times
		}
		seen[blob.Digest] = true
		g.Go(func() error { return p.putBlob(gctx, repo, blob) })
	}
	err := g.Wait()
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func blobOf(layer v1.Layer) (registry.Blob, error) {
	h, err := layer.Digest()
	if err != nil {
		return registry.Blob{}, err
	}
	size, err := layer.Size()
	if err != nil {
		return registry.Blob{}, fmt.Errorf("layer %s: %w", h, err)
	}
	open := func() (io.ReadCloser, error) { return layer.Compressed() }
	return registry.Blob{Digest: digest.Digest(h.String()), Size: size, Open: open}, nil
}
