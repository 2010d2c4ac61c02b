package push

import (
	"context"
	"errors"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kolla-build/kolla-build/pkg/registry"
)

// rollBackTime is the time limit for restoring tags, which continues even after Ctrl-C.
const rollBackTime = time.Minute

// rollBack restores the tags that may have been updated, with retries, and records the
// result in fail. It continues after the end of ctx, because half a set is worse than a
// wait of a minute.
func (p *Publisher) rollBack(ctx context.Context, j *journal, updates []*update, fail *CommitError) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rollBackTime)
	defer cancel()
	var pending []*update
	for _, u := range updates {
		if u.sent {
			pending = append(pending, u)
		}
	}
	if err := j.undoing(pending); err != nil {
		fail.Failed["the journal"] = err
	}
	start := time.Now()
	for attempt := 0; len(pending) > 0; attempt++ {
		pending = p.restoreAll(ctx, pending, fail)
		if len(pending) == 0 || !p.client.Policy().Wait(ctx, attempt, start, 0) {
			break
		}
	}
	if len(pending) == 0 {
		_ = j.end(updates) // if that fails, the next run finds that the tags are already restored
		return
	}
	fail.Journal = j.keep(pending)
}

// restoreAll tries once to restore tags, and returns those for which another attempt
// may help.
func (p *Publisher) restoreAll(ctx context.Context, updates []*update, fail *CommitError) []*update {
	var mu sync.Mutex
	var retry []*update
	var g errgroup.Group
	g.SetLimit(2 * p.client.Jobs())
	for _, u := range updates {
		g.Go(func() error {
			result, err := p.restore(ctx, u)
			var forbidden *registry.DeleteError
			mu.Lock()
			defer mu.Unlock()
			delete(fail.Stuck, u.Ref)
			switch {
			case err != nil:
				fail.Stuck[u.Ref] = err
				if !errors.As(err, &forbidden) {
					retry = append(retry, u)
				}
			case result == changedElsewhere:
				fail.Foreign = append(fail.Foreign, u.Ref)
			case result == restored:
				fail.Restored = append(fail.Restored, u.Ref)
			}
			return nil
		})
	}
	_ = g.Wait()
	return retry
}

type restoreResult int

const (
	unchanged        restoreResult = iota // it had not been updated
	restored                              // it has its previous manifest again
	changedElsewhere                      // another publisher updated it, so it was not changed
)

// restore gives a tag its previous manifest.
func (p *Publisher) restore(ctx context.Context, u *update) (restoreResult, error) {
	switch current, err := p.current(ctx, u); {
	case err != nil:
		return unchanged, err
	case current == u.previous:
		return unchanged, nil
	case current != u.Digest:
		return changedElsewhere, nil
	}
	if u.previous == "" {
		return restored, u.repo.DeleteTag(ctx, u.ref.Tag())
	}
	m, err := u.repo.Manifest(ctx, u.previous.String())
	if err != nil {
		return restored, err
	}
	return restored, u.repo.PutTag(ctx, u.ref.Tag(), m)
}
