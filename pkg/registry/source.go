package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	digest "github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// Pulls use registries.conf: mirrors first, then the image's own location. Look-ups of
// tags for publication do not.

// Fetch gets an image, for use as a base, from the first of its sources that has it. An
// index is resolved to platform ("linux/arm64", "linux/arm/v7"; "" means linux/amd64); an
// image for another platform is a *PlatformError.
//
// The returned digest is the one that the reference names, which may be an index. The
// image's digest is image.Digest(). Layers are fetched when they are read, so ctx must last
// as long as the image is used. Content is checked against its digest and size.
func (c *Client) Fetch(ctx context.Context, name, platform string) (v1.Image, digest.Digest, error) {
	want, err := parsePlatform(platform)
	if err != nil {
		return nil, "", err
	}
	var img v1.Image
	var named digest.Digest
	err = c.eachSource(ctx, name, func(source imageref.Ref) (err error) {
		img, named, err = c.fetch(ctx, source, want)
		return err
	})
	return img, named, err
}

// HeadSource looks up an image for a pull, as Head does for publication.
func (c *Client) HeadSource(ctx context.Context, name string) (ocispec.Descriptor, error) {
	var d ocispec.Descriptor
	err := c.eachSource(ctx, name, func(source imageref.Ref) (err error) {
		repo, identifier := c.repository(source)
		d, err = repo.Head(ctx, identifier)
		return err
	})
	return d, err
}

// SourceBlob opens a blob of a repository from the first of the repository's sources that
// has it, as Repository.Blob does.
func (c *Client) SourceBlob(ctx context.Context, repository imageref.Ref, d digest.Digest, size int64) (
	io.ReadCloser, error) {
	var body io.ReadCloser
	err := c.eachSource(ctx, repository.WithDigest(d).String(), func(source imageref.Ref) (err error) {
		repo, _ := c.repository(source)
		body, err = repo.Blob(ctx, d, size)
		return err
	})
	return body, err
}

// ReachSource finds out, within Options.Timeout, whether any of the registries answers
// from which an image is pulled.
func (c *Client) ReachSource(ctx context.Context, name string) error {
	return c.eachSource(ctx, name, func(source imageref.Ref) error { return c.Reach(ctx, source.String()) })
}

// eachSource tries the sources of an image until one succeeds. The image's own location is
// the last one. Its error is returned, with the errors of the mirrors.
func (c *Client) eachSource(ctx context.Context, name string, try func(imageref.Ref) error) error {
	ref, err := imageref.Parse(name)
	if err != nil {
		return err
	}
	sources, err := c.conf.sources(ref.WithDefaultTag())
	if err != nil {
		return err
	}
	var mirrors []string
	for i, source := range sources {
		last := i == len(sources)-1
		if !last {
			err = c.Reach(ctx, source.String()) // a mirror that does not answer must not use up all the time
		}
		if last || err == nil {
			err = try(source)
		}
		var platform *PlatformError
		if err == nil || ctx.Err() != nil || errors.As(err, &platform) {
			return err
		}
		if !last {
			mirrors = append(mirrors, fmt.Sprintf("mirror %s: %v", source.Registry(), err))
		}
	}
	if len(mirrors) > 0 {
		return fmt.Errorf("%w (%s)", err, strings.Join(mirrors, "; "))
	}
	return err
}
