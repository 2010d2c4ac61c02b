package push

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// confirmRounds is how often tags are updated again that another publisher updates at
// the same time, and confirmWait limits the wait before each round.
const (
	confirmRounds = 7
	confirmWait   = 30 * time.Second
)

// confirm checks the tags, and updates them again if another publisher changed some in
// the meantime, so that the last publisher has its whole set published. Tags that must not
// be replaced are not updated again once they refer to another publisher's image. Before each
// round it waits for a random time within a range that doubles, as in Ethernet. The
// range depends on how long a round takes, because with short waits on a slow registry,
// two publishers would collide again.
func (p *Publisher) confirm(ctx context.Context, updates []*update) error {
	span := p.client.Policy().BaseDelay
	if span <= 0 {
		span = retry.DefaultBaseDelay
	}
	for round := 0; ; round++ {
		started := time.Now()
		fail := newCommitError(len(updates))
		if round > 0 {
			if p.forEach(ctx, updates, fail, p.put); fail.failed() {
				return errors.Join(append(fail.Unwrap(), context.Cause(ctx))...)
			}
		}
		var mu sync.Mutex
		var changed []*update
		p.forEach(ctx, updates, fail, func(ctx context.Context, u *update) error {
			d, err := p.current(ctx, u)
			if err == nil && d != u.Digest {
				mu.Lock()
				u.foreign = d != ""
				changed = append(changed, u)
				mu.Unlock()
			}
			return err
		})
		if fail.failed() {
			return fmt.Errorf("checking what the tags refer to: %w", errors.Join(append(fail.Unwrap(), context.Cause(ctx))...))
		}
		if len(changed) == 0 {
			return nil
		}
		if round == confirmRounds || slices.ContainsFunc(changed, func(u *update) bool { return u.NoReplace && u.foreign }) {
			return &ConflictError{Ref: changed[0].Ref, Tags: len(changed)}
		}
		span = min(2*max(span, time.Since(started)), confirmWait)
		timer := time.NewTimer(rand.N(span))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
