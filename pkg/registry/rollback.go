package registry

import (
	"context"
	"errors"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"
)

// restoreTime bounds how long tags are tried to be put back. It runs after the
// user has pressed Ctrl-C, too.
const restoreTime = time.Minute

// undo puts back the tags that were tried to be moved, with retries, and fills in
// what became of them. It goes on when ctx ends: half a set is worse than a
// minute's wait.
func (p *Publisher) undo(ctx context.Context, j *journal, moves []*move, fail *CommitError) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), restoreTime)
	defer cancel()
	var left []*move
	for _, m := range moves {
		if m.done {
			left = append(left, m)
		}
	}
	if err := j.undoing(left); err != nil {
		fail.Failed["the journal"] = err
	}
	start := time.Now()
	for attempt := 0; len(left) > 0; attempt++ {
		left = p.restoreAll(ctx, left, fail)
		if len(left) == 0 || !p.c.policy.wait(ctx, attempt, start, 0) {
			break
		}
	}
	if len(left) == 0 {
		_ = j.end(moves) // what is left of it is undone once more, and finds nothing to do
		return
	}
	fail.Journal = j.keep(left)
}

// restoreAll tries once to put tags back, and returns those for which another
// try may help.
func (p *Publisher) restoreAll(ctx context.Context, moves []*move, fail *CommitError) []*move {
	var mu sync.Mutex
	var again []*move
	var g errgroup.Group
	g.SetLimit(2 * p.c.opts.Jobs)
	for _, m := range moves {
		g.Go(func() error {
			moved, foreign, err := p.restore(ctx, m)
			var never *DeleteError
			mu.Lock()
			defer mu.Unlock()
			delete(fail.Stuck, m.Ref)
			switch {
			case foreign:
				fail.Foreign = append(fail.Foreign, m.Ref)
			case err == nil && moved:
				fail.Restored = append(fail.Restored, m.Ref)
			case err == nil:
			case errors.As(err, &never):
				fail.Stuck[m.Ref] = err
			default:
				fail.Stuck[m.Ref] = err
				again = append(again, m)
			}
			return nil
		})
	}
	_ = g.Wait()
	return again
}

// restore puts a tag back to what it named before. moved says that it had
// moved. A tag that names neither the old nor the new image was moved by
// somebody else and is left to him.
func (p *Publisher) restore(ctx context.Context, m *move) (moved, foreign bool, err error) {
	switch now, err := p.at(ctx, m); {
	case err != nil:
		return false, false, err
	case now == m.old:
		return false, false, nil
	case now != m.Digest:
		return false, true, nil
	}
	if m.old == (v1.Hash{}) {
		return true, false, p.deleteTag(ctx, m.tag)
	}
	old, err := p.getManifest(ctx, m.tag.Repository, m.old)
	if err != nil {
		return true, false, err
	}
	return true, false, p.putManifest(ctx, m.tag.Repository, m.tag.TagStr(), old, m.old)
}
