package memo

import (
	"context"
	"errors"
	"maps"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// If the context of the goroutine that computes a value ends, whatever the cause, one that
// waits for the value computes it.
func TestAnotherGoroutineComputes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[string, int]
		ctx, cancel := context.WithCancelCause(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := m.Get(ctx, "k", func() (int, error) {
				<-ctx.Done()
				return 0, context.Cause(ctx)
			})
			first <- err
		}()
		synctest.Wait()
		var n int
		go func() {
			var err error
			n, err = m.Get(t.Context(), "k", func() (int, error) { return 1, nil })
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

func TestValues(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		computed := 0
		m := Map[string, int]{Valid: func(n int) bool { return n != 2 }}
		get := func(key string) int {
			n, err := m.Get(t.Context(), key, func() (int, error) {
				time.Sleep(time.Second)
				computed++
				return computed, nil
			})
			if err != nil {
				t.Error(err)
			}
			return n
		}
		var group sync.WaitGroup
		for range 3 {
			group.Go(func() {
				if n := get("a"); n != 1 {
					t.Errorf("a is %d, want 1", n)
				}
			})
		}
		synctest.Wait()
		if n, ok := m.Known("a"); ok || m.Forget("a") {
			t.Errorf("a is known before it is computed: %d", n)
		}
		group.Wait()
		if n := get("b"); n != 2 {
			t.Errorf("b is %d, want 2", n)
		}
		if n, ok := m.Known("b"); ok {
			t.Errorf("a value that is not valid is known: %d", n)
		}
		if n := get("b"); n != 3 {
			t.Errorf("b is %d, want 3: 2 is not valid", n)
		}
		m.Set("c", 7)
		if got := maps.Collect(m.All()); !maps.Equal(got, map[string]int{"a": 1, "b": 3, "c": 7}) {
			t.Errorf("the values are %v", got)
		}
		if !m.Forget("a") || m.Forget("a") || get("a") != 4 {
			t.Errorf("a is not computed again after it was forgotten")
		}
	})
}

func TestErrorsAreNotKept(t *testing.T) {
	var m Map[string, int]
	failed := errors.New("failed")
	if _, err := m.Get(t.Context(), "k", func() (int, error) { return 0, failed }); !errors.Is(err, failed) {
		t.Errorf("the first: %v", err)
	}
	if n, err := m.Get(t.Context(), "k", func() (int, error) { return 1, nil }); n != 1 || err != nil {
		t.Errorf("the second: %d, %v", n, err)
	}
}
