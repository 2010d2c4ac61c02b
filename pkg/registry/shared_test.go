package registry

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// Work that ended with the context of one goroutine is done again for those that wait for
// it, whatever the cause was.
func TestSharedWorkIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s shared[string, int]
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := s.do(ctx, "k", func() (int, error) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			})
			first <- err
		}()
		synctest.Wait()
		var n int
		go func() {
			var err error
			n, err = s.do(t.Context(), "k", func() (int, error) { return 1, nil })
			second <- err
		}()
		synctest.Wait()
		failed := errors.New("another goroutine of the group has failed")
		cancel(failed)
		if err := <-first; !errors.Is(err, failed) {
			t.Errorf("the canceled one: %v", err)
		}
		if err := <-second; err != nil || n != 1 {
			t.Errorf("the one that waited: %d, %v", n, err)
		}
	})
}
