package push

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	digest "github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// Tag is one tag to update: Ref is REGISTRY/REPOSITORY:TAG, Digest is the new manifest
// (of an image or index) in that repository.
type Tag struct {
	Ref    string
	Digest digest.Digest
	// NoReplace makes it an error if the tag refers to another manifest.
	NoReplace bool
}

// update is one tag of a commit.
type update struct {
	Tag
	ref      imageref.Ref
	repo     *registry.Repository
	manifest registry.Manifest // its new manifest
	previous digest.Digest     // its previous manifest, "" if the tag did not exist
	sent     bool              // the update was sent: it may have succeeded even after an error
	foreign  bool              // after the update, the tag referred to another publisher's manifest
}

// Commit updates tags at the end of a set, all or none. First each manifest is looked up
// in its repository. No tag is changed if one is missing, or if a tag with NoReplace refers
// to another manifest, which is a *TagsTakenError. Then the tags are updated in parallel.
// If one update fails, or ctx ends, the changed tags are restored to their previous
// manifests, or deleted if they did not exist, and a *CommitError lists the state of each.
// If the process is killed during that, Recover continues from the journal (Options.Journal).
//
// Registries have no transactions: during these small requests, a reader may see some
// tags updated and others not. Two publications with the same journal directory wait for
// each other. Publications from different machines cannot wait; each one checks its tags
// afterwards and updates them again if needed, so that the last one has published its
// whole set.
func (p *Publisher) Commit(ctx context.Context, tags []Tag) error {
	updates, err := p.updates(tags)
	if err != nil || len(updates) == 0 {
		return err
	}
	fail := newCommitError(len(updates))
	if p.forEach(ctx, updates, fail, p.verify); fail.failed() {
		return fail
	}
	j, err := p.openJournal(ctx)
	if err != nil {
		return err
	}
	defer j.close()
	readPrevious := func(ctx context.Context, u *update) (err error) {
		u.previous, err = p.current(ctx, u)
		return err
	}
	if p.forEach(ctx, updates, fail, readPrevious); fail.failed() {
		return fail
	}
	if taken := takenTags(updates); len(taken) > 0 {
		return &TagsTakenError{Refs: taken}
	}
	// Tags that already name the right digest are not put again, but are part of the set:
	// another publisher may update them at this moment.
	outdated := slices.DeleteFunc(slices.Clone(updates), func(u *update) bool { return u.previous == u.Digest })
	if len(outdated) == 0 {
		return nil
	}
	if err := j.begin(updates); err != nil {
		return err
	}
	if p.forEach(ctx, outdated, fail, p.put); !fail.failed() {
		err := p.confirm(ctx, updates)
		if err == nil {
			return j.end(updates)
		}
		fail.Failed["the set"] = err
	}
	p.rollBack(ctx, j, updates, fail)
	return fail
}

// takenTags returns the tags that refer to other manifests and must not be changed, sorted.
func takenTags(updates []*update) []string {
	var taken []string
	for _, u := range updates {
		if u.NoReplace && u.previous != "" && u.previous != u.Digest {
			taken = append(taken, u.Ref)
		}
	}
	slices.Sort(taken)
	return taken
}

// updates checks the wanted tags.
func (p *Publisher) updates(tags []Tag) ([]*update, error) {
	updates := make([]*update, 0, len(tags))
	seen := map[imageref.Ref]digest.Digest{}
	for _, tag := range tags {
		ref, err := imageref.ParseTag(tag.Ref)
		if err == nil {
			err = tag.Digest.Validate()
		}
		if err != nil {
			return nil, fmt.Errorf("updating tag %s: %w", tag.Ref, err)
		}
		other, ok := seen[ref]
		if ok && other != tag.Digest {
			return nil, fmt.Errorf("updating tag %s: it is requested for two images, %s and %s", tag.Ref, other, tag.Digest)
		}
		if !ok {
			updates = append(updates, &update{Tag: tag, ref: ref, repo: p.client.Repository(ref)})
		}
		seen[ref] = tag.Digest
	}
	return updates, nil
}

// forEach runs work for the updates in parallel. After the first failure no other
// update is begun, because the changed tags have to be restored.
func (p *Publisher) forEach(ctx context.Context, updates []*update, fail *CommitError,
	work func(context.Context, *update) error) {
	var mu sync.Mutex
	var g errgroup.Group
	g.SetLimit(2 * p.client.Jobs())
	for _, u := range updates {
		g.Go(func() error {
			mu.Lock()
			stopped := ctx.Err() != nil || len(fail.Failed) > 0
			if stopped {
				fail.Untried = append(fail.Untried, u.Ref)
			}
			mu.Unlock()
			if stopped {
				return nil
			}
			err := work(ctx, u)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
			case ctx.Err() != nil:
				fail.Untried = append(fail.Untried, u.Ref)
			default:
				fail.Failed[u.Ref] = err
			}
			return nil
		})
	}
	_ = g.Wait()
	slices.Sort(fail.Untried)
}

// verify makes sure that the repository has the new manifest of a tag. Push has already
// read back the manifests that it put there; others are read now.
func (p *Publisher) verify(ctx context.Context, u *update) (err error) {
	p.mu.Lock()
	m, pushed := p.pushed[u.Digest]
	p.mu.Unlock()
	if !pushed {
		u.manifest, err = u.repo.Manifest(ctx, u.Digest.String())
		return err
	}
	u.manifest = m
	present, err := u.repo.Has(ctx, u.Digest)
	if err == nil && !present {
		err = &registry.NotFoundError{Ref: u.ref.WithDigest(u.Digest).String()}
	}
	return err
}

// current returns the current manifest of a tag, "" if the tag does not exist.
func (p *Publisher) current(ctx context.Context, u *update) (digest.Digest, error) {
	d, err := u.repo.Head(ctx, u.ref.Tag())
	var missing *registry.NotFoundError
	if errors.As(err, &missing) {
		return "", nil
	}
	return d.Digest, err
}

func (p *Publisher) put(ctx context.Context, u *update) error {
	u.sent = true // if the answer is lost, the update may have succeeded
	ctx, cancel := withGrace(ctx)
	defer cancel()
	if err := u.repo.PutTag(ctx, u.ref.Tag(), u.manifest); err != nil {
		return err
	}
	p.tags.Add(1)
	return nil
}

// gracePeriod is how long the update of a tag may continue after the end of the run. If
// the request were interrupted, the registry might still process it after the tag was
// checked.
const gracePeriod = 10 * time.Second

// withGrace returns a context that ends some time after ctx.
func withGrace(ctx context.Context) (context.Context, context.CancelFunc) {
	out, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		time.AfterFunc(gracePeriod, func() { cancel(context.Cause(ctx)) })
	})
	return out, func() { stop(); cancel(nil) }
}
