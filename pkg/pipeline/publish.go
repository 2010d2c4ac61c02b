package pipeline

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/plan"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/push"
	"github.com/kolla-build/kolla-build/pkg/store"
	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"
)

// publisher brings a set to its registry: content as images finish, tags at the
// end. It implements build.Uploader.
type publisher struct {
	cfg    *config.Config
	env    Env
	store  *store.Store
	client *registry.Client
	pub    *push.Publisher
	watch  *stopwatch // nil where none is kept

	have map[string]digest.Digest // by name: what the tag names in the registry
}

// newPublisher makes a publisher for the images of a plan. Its journal is that
// of the data directory, so that two runs on it do not move tags at once.
func newPublisher(cfg *config.Config, env Env, c *registry.Client, s *store.Store) *publisher {
	pub := push.New(c, push.Options{
		Journal: filepath.Join(cfg.DataDir, "publications"),
		Notice:  func(text string) { env.Notice("%s", text) },
	})
	return &publisher{cfg: cfg, env: env, store: s, client: c, pub: pub, have: map[string]digest.Digest{}}
}

// look finds out where every tag of the images stands: one HEAD request for
// each, in parallel. A registry that cannot be reached or does not let us in is
// found before anything is built. With mend, publications that were cut off are
// ended first.
func (u *publisher) look(ctx context.Context, refs []string, mend bool) error {
	if len(refs) == 0 {
		return nil
	}
	if err := reach(ctx, u.cfg, u.client, refs[0]); err != nil {
		return err
	}
	if mend {
		done, err := u.pub.Recover(ctx, refs)
		for _, text := range done {
			u.env.Notice("%s", text)
		}
		if err != nil {
			return err
		}
	}
	var names []string
	for _, ref := range refs {
		names = append(names, namesOf(u.cfg, ref)...)
	}
	for _, h := range u.client.Heads(ctx, names) {
		switch {
		case h.Err == nil:
			u.have[h.Ref] = h.Descriptor.Digest
		case isNotFound(h.Err):
		default:
			return fmt.Errorf("registry: %w", h.Err)
		}
	}
	return nil
}

// Upload implements build.Uploader.
func (u *publisher) Upload(ctx context.Context, it *plan.Item, d digest.Digest) error {
	for _, name := range namesOf(u.cfg, it.Reference) {
		if u.have[name] == d {
			return nil
		}
	}
	if u.watch != nil {
		defer u.watch.work()()
	}
	return u.send(ctx, it.Reference, d)
}

// send brings an image's content into the repository of ref. A blob that is
// damaged in the store is removed there, so that the image is built again.
func (u *publisher) send(ctx context.Context, ref string, d digest.Digest) error {
	idx, err := u.store.ImageIndex(d)
	if err == nil {
		_, err = u.pub.PushIndex(ctx, ref, idx)
	} else {
		var img v1.Image
		if img, err = u.store.Image(d); err == nil {
			_, err = u.pub.Push(ctx, ref, img)
		}
	}
	if err != nil {
		return healed(ctx, u.store, err)
	}
	return nil
}

// sendAll is send for a set, except for what tags name already.
func (u *publisher) sendAll(ctx context.Context, set map[string]digest.Digest) error {
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(max(1, u.cfg.Threads))
	for _, ref := range slices.Sorted(maps.Keys(set)) {
		if slices.ContainsFunc(namesOf(u.cfg, ref), func(name string) bool { return u.have[name] == set[ref] }) {
			continue
		}
		g.Go(func() error { return u.send(gctx, ref, set[ref]) })
	}
	return g.Wait()
}

// commit moves the tags of a set, which is its images' digests by reference, all
// or none.
func (u *publisher) commit(ctx context.Context, set map[string]digest.Digest) error {
	var tags []push.Tag
	for ref, d := range set {
		for _, name := range namesOf(u.cfg, ref) {
			if u.have[name] != d {
				tags = append(tags, push.Tag{Ref: name, Digest: d})
			}
		}
	}
	if len(tags) == 0 {
		return nil
	}
	return u.pub.Commit(ctx, tags)
}
