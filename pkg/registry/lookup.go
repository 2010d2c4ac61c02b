package registry

import (
	"context"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/imageref"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// resolve reads a reference.
func (c *Client) resolve(name string) (repo *Repository, identifier string, err error) {
	ref, err := imageref.Parse(name)
	if err != nil {
		return nil, "", err
	}
	repo, identifier = c.repository(ref.WithDefaultTag())
	return repo, identifier, nil
}

// repository returns the repository of a reference and the tag or digest in it.
func (c *Client) repository(ref imageref.Ref) (repo *Repository, identifier string) {
	if d := ref.Digest(); d != "" {
		return c.Repository(ref), d.String()
	}
	return c.Repository(ref), ref.Tag()
}

// Head looks a reference up: one HEAD request, after the first contact with its
// registry. The errors are *NotFoundError, *UnauthorizedError and *UnreachableError
// where they fit.
func (c *Client) Head(ctx context.Context, name string) (ocispec.Descriptor, error) {
	repo, identifier, err := c.resolve(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	return repo.Head(ctx, identifier)
}

// HeadResult is one answer of Heads.
type HeadResult struct {
	Ref        string             // as given
	Descriptor ocispec.Descriptor // zero if Err is set
	Err        error
}

// Heads looks up many references in parallel and returns the results in their order. It
// does not stop at an error, because a missing image is a result too.
func (c *Client) Heads(ctx context.Context, names []string) []HeadResult {
	out := make([]HeadResult, len(names))
	// Four times the number of uploads: a look-up transfers nothing.
	slots := make(chan struct{}, 4*c.opts.Jobs)
	var wg sync.WaitGroup
	for i, name := range names {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			d, err := c.Head(ctx, name)
			out[i] = HeadResult{Ref: name, Descriptor: d, Err: err}
		})
	}
	wg.Wait()
	return out
}

// ping finds out whether the registry of a reference answers. It does not check the
// right to pull or push.
func (c *Client) ping(ctx context.Context, name string) error {
	repo, _, err := c.resolve(name)
	if err != nil {
		return err
	}
	if repo.blocked != nil {
		return repo.blocked
	}
	_, err = repo.host.contact(ctx)
	return repo.host.failure(name, err)
}

// Tags lists the tags of the repository of a reference, in no order. A repository that
// does not exist has none.
func (c *Client) Tags(ctx context.Context, name string) ([]string, error) {
	repo, _, err := c.resolve(name)
	if err != nil {
		return nil, err
	}
	return repo.Tags(ctx)
}
