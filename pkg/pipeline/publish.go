package pipeline

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/build"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
)

// publisher brings a set to its registry: content as images finish, tags at the
// end. It implements build.Uploader.
type publisher struct {
	store *store.Store
	pub   *registry.Publisher
	watch *stopwatch

	mu   sync.Mutex
	have map[string]v1.Hash // by reference: what the tag names in the registry
	sent map[string]v1.Hash // by reference: what it shall name
}

// newPublisher looks at where every tag of the plan stands: one HEAD request
// per image, in parallel. A registry that cannot be reached or does not let us
// in is found before anything is built.
func newPublisher(ctx context.Context, cfg *config.Config, c *registry.Client, s *store.Store, p *plan.Plan) (*publisher, error) {
	refs := make([]string, len(p.Items))
	for i, it := range p.Items {
		refs[i] = it.Reference
	}
	u := &publisher{store: s, pub: c.NewPublisher(registry.PublishOptions{}), have: map[string]v1.Hash{}, sent: map[string]v1.Hash{}}
	if len(refs) > 0 {
		if err := reach(ctx, cfg, c, refs[0]); err != nil {
			return nil, err
		}
	}
	for _, h := range c.Heads(ctx, refs) {
		switch {
		case h.Err == nil:
			u.have[h.Ref] = h.Descriptor.Digest
		case isNotFound(h.Err):
		default:
			return nil, fmt.Errorf("registry: %w", h.Err)
		}
	}
	return u, nil
}

// Upload implements build.Uploader.
func (u *publisher) Upload(ctx context.Context, it *plan.Item, d string) error {
	hash, err := v1.NewHash(d)
	if err != nil {
		return err
	}
	u.mu.Lock()
	at, there := u.have[it.Reference]
	u.mu.Unlock()
	if there && at == hash {
		return nil
	}
	defer u.watch.work()()
	img, err := u.store.Image(digest.Digest(d))
	if err != nil {
		return err
	}
	if _, err := u.pub.Push(ctx, it.Reference, img); err != nil {
		return err
	}
	u.mu.Lock()
	u.sent[it.Reference] = hash
	u.mu.Unlock()
	return nil
}

// commit moves the tags that have to move, and marks what is published.
func (u *publisher) commit(ctx context.Context, results []*build.Result) error {
	var tags []registry.Tag
	for _, r := range results {
		if h, ok := u.sent[r.Reference]; ok && !r.Status.Bad() {
			tags = append(tags, registry.Tag{Ref: r.Reference, Digest: h})
		}
	}
	var err error
	if len(tags) > 0 {
		err = u.pub.Commit(ctx, tags)
	}
	var partly *registry.CommitError
	for _, r := range results {
		_, moves := u.sent[r.Reference]
		switch {
		case r.Status.Bad():
		case err == nil || !moves:
			r.Pushed = true
		case errors.As(err, &partly) && slices.Contains(partly.Moved, r.Reference):
			r.Pushed = true
		default:
			r.Status, r.Reason = build.StatusPushError, "its tag was not moved"
			r.Failure = &build.Failure{Err: err}
			if partly != nil && partly.Failed[r.Reference] != nil {
				r.Failure.Err = partly.Failed[r.Reference]
			}
		}
	}
	return err
}
