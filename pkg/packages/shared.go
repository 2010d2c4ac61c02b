package packages

import "context"

// shared is a value that one goroutine makes while others wait for it. If the call ends with
// its context, there is no result, and the next call tries again.
type shared[T any] struct {
	turn chan struct{} // has room for the one that works
	done bool
	// value and err are set once done.
	value T
	err   error
}

func newShared[T any]() *shared[T] { return &shared[T]{turn: make(chan struct{}, 1)} }

// get returns the value, and makes it first if necessary. Errors for which keep returns
// false are not kept.
func (s *shared[T]) get(ctx context.Context, work func(context.Context) (T, error), keep func(error) bool) (T, error) {
	var none T
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return none, ctx.Err()
	}
	defer func() { <-s.turn }()
	if s.done {
		return s.value, s.err
	}
	value, err := work(ctx)
	if err != nil && (ctx.Err() != nil || !keep(err)) {
		return none, err
	}
	s.value, s.err, s.done = value, err, true
	return value, err
}
