package registry

import (
	"context"
	"sync"
)

// shared runs work once for all goroutines that want its result at the same time. It
// holds no lock while work runs, and does not keep results. The zero value is ready for
// use.
type shared[K comparable, V any] struct {
	mu    sync.Mutex
	calls map[K]*call[V]
}

type call[V any] struct {
	done  chan struct{}
	value V
	err   error
	// canceled reports that the work was stopped by the context of the goroutine that did it. Then
	// err is the cause of the cancellation. In an errgroup, this is the error of another goroutine.
	canceled bool
}

// do returns the result of work, which this or another goroutine runs. If the other one
// fails because its context ends, this one runs work itself.
func (s *shared[K, V]) do(ctx context.Context, key K, work func() (V, error)) (V, error) {
	for {
		s.mu.Lock()
		c := s.calls[key]
		if c == nil {
			c = &call[V]{done: make(chan struct{})}
			if s.calls == nil {
				s.calls = map[K]*call[V]{}
			}
			s.calls[key] = c
			s.mu.Unlock()
			c.value, c.err = work()
			c.canceled = c.err != nil && ctx.Err() != nil
			s.mu.Lock()
			delete(s.calls, key)
			s.mu.Unlock()
			close(c.done)
			return c.value, c.err
		}
		s.mu.Unlock()
		select {
		case <-c.done:
		case <-ctx.Done():
			var zero V
			return zero, context.Cause(ctx)
		}
		if ctx.Err() != nil || !c.canceled {
			return c.value, c.err
		}
	}
}
