package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"
)

// PublishOptions say how a Publisher reports and what it remembers. The zero value
// does neither.
type PublishOptions struct {
	// Progress is told of blobs as they move, at most ten times a second per
	// blob and once at each blob's end. It must not block.
	Progress func(Progress)

	// Journal is a directory of the publisher's own in which a commit is
	// remembered while its tags move, so that Recover can end it if the process
	// dies meanwhile. "" remembers nothing: a commit that fails is undone all the
	// same, one that is killed is not.
	Journal string

	// Notice is told of what takes long and is no error. nil means nobody.
	Notice func(string)
}

// Progress is the state of one blob's way into one repository.
type Progress struct {
	Repository string  // REGISTRY/REPOSITORY
	Blob       v1.Hash // which blob
	State      BlobState
	Done, Size int64 // bytes
}

// BlobState says what happens, or happened, to a blob.
type BlobState string

// The states of a blob. All but BlobUploading are final.
const (
	BlobUploading BlobState = "uploading"
	BlobUploaded  BlobState = "uploaded" // sent over the network
	BlobMounted   BlobState = "mounted"  // taken from another repository of the registry
	BlobSkipped   BlobState = "skipped"  // was there
)

// Stats counts what a Publisher did so far.
type Stats struct {
	Uploaded, Mounted, Skipped int64 // blobs
	Bytes                      int64 // bytes of the blobs that were uploaded
	Manifests                  int64 // manifests put by digest
	Unchanged                  int64 // images whose manifest was there, nothing sent
	Tags                       int64 // tags moved
	Retried                    int64 // requests and uploads repeated
}

// Publisher publishes one set of images: Push brings content up by digest, and
// nobody sees it; Commit moves the tags when the whole set is there. A run that
// ends before Commit leaves every tag where it was. Safe for concurrent use.
type Publisher struct {
	c    *Client
	opts PublishOptions
	jobs chan struct{} // slots for blobs in flight

	uploaded, mounted, skipped, bytes, manifests, unchanged, tags, retried atomic.Int64

	mu      sync.Mutex
	blobs   map[blobKey]*flight   // what happens or happened to each blob, per registry
	content map[v1.Hash]*manifest // manifests pushed, for Commit
}

type blobKey struct {
	registry string
	digest   v1.Hash
}

type manifest struct {
	raw       []byte
	mediaType types.MediaType
}

// NewPublisher begins a set.
func (c *Client) NewPublisher(opts PublishOptions) *Publisher {
	return &Publisher{
		c: c, opts: opts,
		jobs:    make(chan struct{}, c.opts.Jobs),
		blobs:   map[blobKey]*flight{},
		content: map[v1.Hash]*manifest{},
	}
}

// Stats says what was done so far.
func (p *Publisher) Stats() Stats {
	return Stats{
		Uploaded: p.uploaded.Load(), Mounted: p.mounted.Load(), Skipped: p.skipped.Load(),
		Bytes: p.bytes.Load(), Manifests: p.manifests.Load(), Unchanged: p.unchanged.Load(),
		Tags: p.tags.Load(), Retried: p.retried.Load() + p.c.Retried(),
	}
}

// Push brings an image's blobs and manifest into a repository by digest, without
// a tag, and reads the manifest back. repo is REGISTRY/REPOSITORY; a tag after it
// is ignored. Blobs that are there are skipped, and those that another image of
// this set brought to the same registry are mounted from there.
func (p *Publisher) Push(ctx context.Context, repo string, img v1.Image) (v1.Descriptor, error) {
	d, err := p.push(ctx, repo, img)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("pushing %s: %w", repo, err)
	}
	return d, nil
}

func (p *Publisher) push(ctx context.Context, ref string, img v1.Image) (v1.Descriptor, error) {
	repo, err := p.c.parseRepo(ref)
	if err != nil {
		return v1.Descriptor{}, err
	}
	m, d, err := describe(img)
	if err != nil {
		return v1.Descriptor{}, err
	}
	p.remember(d.Digest, m)
	there, err := p.hasManifest(ctx, repo, d.Digest)
	if err != nil {
		return v1.Descriptor{}, err
	}
	if there {
		p.unchanged.Add(1)
		// Its blobs are in the repository: siblings can mount them from there.
		return d, p.noteBlobs(repo, img)
	}
	layers, err := img.Layers()
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading layers: %w", err)
	}
	config, err := partial.ConfigLayer(img)
	if err != nil {
		return v1.Descriptor{}, fmt.Errorf("reading the image's config: %w", err)
	}
	if err := p.putBlobs(ctx, repo, append(slices.Clone(layers), config)); err != nil {
		return v1.Descriptor{}, err
	}
	return d, p.putManifest(ctx, repo, d.Digest.String(), m, d.Digest)
}

// PushIndex pushes an index and the images in it, as Push does.
func (p *Publisher) PushIndex(ctx context.Context, repo string, idx v1.ImageIndex) (v1.Descriptor, error) {
	fail := func(err error) (v1.Descriptor, error) {
		return v1.Descriptor{}, fmt.Errorf("pushing %s: %w", repo, err)
	}
	r, err := p.c.parseRepo(repo)
	if err != nil {
		return fail(err)
	}
	im, err := idx.IndexManifest()
	if err != nil {
		return fail(err)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, child := range im.Manifests {
		g.Go(func() error {
			if child.MediaType.IsIndex() {
				sub, err := idx.ImageIndex(child.Digest)
				if err != nil {
					return err
				}
				_, err = p.PushIndex(gctx, repo, sub)
				return err
			}
			img, err := idx.Image(child.Digest)
			if err != nil {
				return err
			}
			_, err = p.push(gctx, repo, img)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return fail(err)
	}
	m, d, err := describe(idx)
	if err != nil {
		return fail(err)
	}
	p.remember(d.Digest, m)
	if there, err := p.hasManifest(ctx, r, d.Digest); err != nil || there {
		if err != nil {
			return fail(err)
		}
		p.unchanged.Add(1)
		return d, nil
	}
	if err := p.putManifest(ctx, r, d.Digest.String(), m, d.Digest); err != nil {
		return fail(err)
	}
	return d, nil
}

// describe reads an image's or index's manifest and makes its descriptor.
func describe(t interface {
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
}) (*manifest, v1.Descriptor, error) {
	raw, err := t.RawManifest()
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("reading the manifest: %w", err)
	}
	mt, err := t.MediaType()
	if err != nil {
		return nil, v1.Descriptor{}, fmt.Errorf("reading the manifest: %w", err)
	}
	h, size, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, v1.Descriptor{}, err
	}
	return &manifest{raw: raw, mediaType: mt}, v1.Descriptor{MediaType: mt, Size: size, Digest: h}, nil
}

func (p *Publisher) remember(h v1.Hash, m *manifest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.content[h] = m
}

// pushTransport is the transport for writing to repo, and for reading from
// another repository of the same registry when from is given (for mounts).
func (p *Publisher) pushTransport(ctx context.Context, repo name.Repository, from ...name.Repository) (*session, http.RoundTripper, error) {
	// The push scope comes first: some registries look at the first one only.
	scopes := []string{repo.Scope(transport.PushScope)}
	for _, f := range from {
		if f.RepositoryStr() != repo.RepositoryStr() {
			scopes = append(scopes, f.Scope(transport.PullScope))
		}
	}
	rt, err := p.c.transport(ctx, repo.Registry, scopes...)
	return p.c.session(repo.Registry), rt, withRef(err, repo.Name())
}

// hasManifest reports whether the repository has a manifest by digest.
func (p *Publisher) hasManifest(ctx context.Context, repo name.Repository, digest v1.Hash) (bool, error) {
	s, rt, err := p.pushTransport(ctx, repo)
	if err != nil {
		return false, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodHead,
		s.url("/v2/"+repo.RepositoryStr()+"/manifests/"+digest.String(), nil).String(), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := send(rt, req)
	if err != nil {
		return false, s.refused(classify(repo.RegistryStr(), repo.Name(), err))
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound, http.StatusForbidden:
		// Some registries answer 403 for what is not there. If it is a real
		// refusal, the upload that follows says so.
		return false, nil
	}
	return false, s.refused(classify(repo.RegistryStr(), repo.Name(), transport.CheckError(resp, http.StatusOK)))
}

var acceptManifests = strings.Join([]string{
	string(types.OCIManifestSchema1), string(types.DockerManifestSchema2),
	string(types.OCIImageIndex), string(types.DockerManifestList),
}, ", ")

// maxManifest bounds what is read as a manifest (registries allow 4 MiB).
const maxManifest = 8 << 20

// getManifest reads a manifest and checks it against its digest.
func (p *Publisher) getManifest(ctx context.Context, repo name.Repository, digest v1.Hash) (*manifest, error) {
	s, rt, err := p.pushTransport(ctx, repo)
	if err != nil {
		return nil, err
	}
	ref := repo.Name() + "@" + digest.String()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet,
		s.url("/v2/"+repo.RepositoryStr()+"/manifests/"+digest.String(), nil).String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", acceptManifests)
	resp, err := send(rt, req)
	if err != nil {
		return nil, s.refused(classify(repo.RegistryStr(), ref, err))
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusOK); err != nil {
		return nil, s.refused(classify(repo.RegistryStr(), ref, err))
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxManifest))
	if err != nil {
		return nil, classify(repo.RegistryStr(), ref, err)
	}
	h, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		return nil, err
	}
	if h != digest {
		return nil, &ContentError{What: "manifest read back from " + repo.Name(), Want: digest.String(), Got: h.String(), Remote: true}
	}
	return &manifest{raw: raw, mediaType: types.MediaType(resp.Header.Get("Content-Type"))}, nil
}

// putManifest puts a manifest under a digest or tag and verifies that it is
// there with the digest that it should have.
func (p *Publisher) putManifest(ctx context.Context, repo name.Repository, identifier string, m *manifest, digest v1.Hash) error {
	s, rt, err := p.pushTransport(ctx, repo)
	if err != nil {
		return err
	}
	sep := ":"
	if strings.Contains(identifier, ":") {
		sep = "@"
	}
	ref := repo.Name() + sep + identifier
	req, err := http.NewRequestWithContext(ctx, http.MethodPut,
		s.url("/v2/"+repo.RepositoryStr()+"/manifests/"+identifier, nil).String(), bytes.NewReader(m.raw))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", string(m.mediaType))
	resp, err := send(rt, req)
	if err != nil {
		return s.refused(classify(repo.RegistryStr(), ref, err))
	}
	defer resp.Body.Close()
	if err := transport.CheckError(resp, http.StatusCreated, http.StatusOK, http.StatusAccepted); err != nil {
		return s.refused(classify(repo.RegistryStr(), ref, err))
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 4<<10)
	if sep == "@" {
		p.manifests.Add(1)
		_, err := p.getManifest(ctx, repo, digest)
		return err
	}
	got := resp.Header.Get("Docker-Content-Digest")
	if got == "" {
		d, err := p.c.Head(ctx, ref)
		if err != nil {
			return err
		}
		got = d.Digest.String()
	}
	if got != digest.String() {
		return &ContentError{What: "tag " + ref, Want: digest.String(), Got: got, Remote: true}
	}
	return nil
}

// send sends a request through rt. It follows no redirect on writes, and on
// reads as http.Client does.
func send(rt http.RoundTripper, req *http.Request) (*http.Response, error) {
	resp, err := (&http.Client{Transport: rt}).Do(req)
	if err != nil && req.Context().Err() != nil {
		return nil, context.Cause(req.Context())
	}
	return resp, err
}

// report tells Progress of a blob.
func (p *Publisher) report(repo name.Repository, blob v1.Hash, state BlobState, done, size int64) {
	if p.opts.Progress != nil {
		p.opts.Progress(Progress{Repository: repo.Name(), Blob: blob, State: state, Done: done, Size: size})
	}
}

// progressEvery bounds how often a moving blob is reported.
const progressEvery = 100 * time.Millisecond

// putBlobs brings blobs into a repository, in parallel, each one once.
func (p *Publisher) putBlobs(ctx context.Context, repo name.Repository, layers []v1.Layer) error {
	g, gctx := errgroup.WithContext(ctx)
	seen := map[v1.Hash]bool{}
	for _, l := range layers {
		mt, err := l.MediaType()
		if err != nil {
			return err
		}
		if !mt.IsDistributable() {
			continue // it stays where its URL says
		}
		h, err := l.Digest()
		if err != nil {
			return err
		}
		if seen[h] {
			continue // an empty layer appears often in one image
		}
		seen[h] = true
		g.Go(func() error { return p.putBlob(gctx, repo, h, l) })
	}
	err := g.Wait()
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}
