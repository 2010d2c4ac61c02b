package push

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/registry"
)

type blobKey struct {
	registry string
	digest   digest.Digest
}

// putBlob puts one blob into a repository. The first image with a blob uploads it to the
// registry; the others wait for that, and mount it from its repository.
func (p *Publisher) putBlob(ctx context.Context, repo *registry.Repository, blob registry.Blob) error {
	first, err := p.blobs.Get(ctx, blobKey{repo.Registry(), blob.Digest}, func() (*registry.Repository, error) {
		return repo, p.upload(ctx, repo, blob, nil)
	})
	if err != nil || first.Name() == repo.Name() {
		return err
	}
	return p.upload(ctx, repo, blob, first)
}

// upload uploads or mounts a blob as soon as there is a slot for it.
func (p *Publisher) upload(ctx context.Context, repo *registry.Repository, blob registry.Blob,
	from *registry.Repository) error {
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	progress := Progress{Repository: repo.Name(), Blob: blob.Digest, Size: blob.Size}
	present := false
	var err error
	if from == nil {
		present, err = repo.HasBlob(ctx, blob.Digest)
		if blob.Missing = err == nil && !present; blob.Missing {
			from, blob.Anywhere, err = p.elsewhere(ctx, repo, blob)
		}
	}
	state := registry.BlobSkipped
	if err == nil && !present {
		state, err = repo.Upload(ctx, blob, from, func(sent int64) {
			progress.Done = sent
			p.report(progress)
		})
	}
	if err != nil {
		return err
	}
	switch state {
	case registry.BlobUploaded:
		p.uploaded.Add(1)
		p.bytes.Add(blob.Size)
	case registry.BlobMounted:
		p.mounted.Add(1)
	case registry.BlobSkipped:
		p.skipped.Add(1)
	}
	p.report(Progress{Repository: repo.Name(), Blob: blob.Digest, Done: blob.Size, Size: blob.Size, State: state})
	return nil
}

// recordBlobs remembers that an image's blobs are in a repository.
func (p *Publisher) recordBlobs(repo *registry.Repository, img v1.Image) error {
	m, err := img.Manifest()
	if err != nil {
		return err
	}
	var blobs []ocispec.Descriptor
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		blobs = append(blobs, ocispec.Descriptor{Digest: digest.Digest(d.Digest.String()), Size: d.Size})
	}
	p.record(repo, blobs)
	p.present(repo, blobs)
	return nil
}
