package push

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/retry"
)

// confirmRounds is how often tags are updated again that another publisher updates at
// the same time, and confirmWait bounds the wait before each time.
const (
	confirmRounds = 7
	confirmWait   = 30 * time.Second
)

// confirm checks what the tags refer to, and updates them again if another publisher
// changed some meanwhile: who comes last has the whole set. Before each round it waits
// for a random time out of a span that doubles, as Ethernet stations do. The span is
// measured by how long a round takes here: two that waited for a few milliseconds on a
// slow registry would only collide again.
func (p *Publisher) confirm(ctx context.Context, updates []*update) error {
	span := p.client.Policy().BaseDelay
	if span <= 0 {
		span = retry.DefaultBaseDelay
	}
	for round := 0; ; round++ {
		began := time.Now()
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
		if round == confirmRounds {
			return &ConflictError{Ref: changed[0].Ref, Tags: len(changed)}
		}
		span = min(2*max(span, time.Since(began)), confirmWait)
		timer := time.NewTimer(rand.N(span))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}
