package memo

import (
	"context"
	"errors"
	"maps"
	"runtime"
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
		all := func(int) bool { return true }
		m.Forget("a", all) // has no effect before it is computed
		m.SetIfAbsent("a", 9)
		if n, ok := m.Known("a"); ok {
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
		m.SetIfAbsent("c", 8)
		m.Forget("a", func(n int) bool { return n == 9 })
		if a, c := get("a"), get("c"); a != 1 || c != 7 {
			t.Errorf("a is %d and c is %d, want 1 and 7: they are known, and a is not 9", a, c)
		}
		m.Forget("a", all)
		if n := get("a"); n != 4 {
			t.Errorf("a is %d, want 4: it was forgotten", n)
		}
		m.Set("d", 2)
		if m.SetIfAbsent("d", 5); get("d") != 5 {
			t.Error("a value that is not valid was not replaced")
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

// Set replaces a value that is being computed: those that wait get the computed one.
func TestSetDuringComputation(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m Map[string, int]
		got := make(chan int, 2)
		for range 2 {
			go func() {
				n, _ := m.Get(t.Context(), "k", func() (int, error) {
					time.Sleep(time.Second)
					return 1, nil
				})
				got <- n
			}()
		}
		synctest.Wait()
		m.Set("k", 2)
		if a, b := <-got, <-got; a != 1 || b != 1 {
			t.Errorf("those that waited got %d and %d, want 1", a, b)
		}
		if n, ok := m.Known("k"); !ok || n != 2 {
			t.Errorf("the value is %d, want 2", n)
		}
	})
}

// undone is a context that select does not choose, as if the value were computed when it ends.
type undone struct{ context.Context }

func (undone) Done() <-chan struct{} { return nil }

// One that waits ends with its own cause, also if the context of the one that computes has
// ended, and gets a known value although its context has ended.
func TestEndedContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		theirs, mine := errors.New("theirs"), errors.New("mine")
		one := func() (int, error) { return 1, nil }
		for _, both := range []bool{false, true} {
			var v Value[int]
			first, endFirst := context.WithCancelCause(t.Context())
			second, endSecond := context.WithCancelCause(t.Context())
			go func() {
				_, _ = v.Get(first, func() (int, error) {
					<-first.Done()
					return 0, context.Cause(first)
				})
			}()
			synctest.Wait()
			result := make(chan error, 1)
			go func() {
				ctx := second
				if both {
					ctx = undone{second}
				}
				_, err := v.Get(ctx, one)
				result <- err
			}()
			synctest.Wait()
			if endSecond(mine); both {
				endFirst(theirs)
			}
			if err := <-result; !errors.Is(err, mine) {
				t.Errorf("both have ended: %v, the error of the one that waited: %v", both, err)
			}
			endFirst(theirs)
		}
		var v Value[int]
		ended, end := context.WithCancel(t.Context())
		end()
		for range 100 { // select chooses at random
			if n, err := v.Get(ended, one); n != 1 || err != nil {
				t.Fatalf("a known value: %d, %v", n, err)
			}
		}
	})
}

// If computing a value panics, or ends its goroutine, another computes it.
func TestPanic(t *testing.T) {
	for name, stop := range map[string]func(){"panic": func() { panic("stop") }, "Goexit": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			var v Value[int]
			ended := make(chan any, 1)
			go func() {
				defer func() { ended <- recover() }()
				_, _ = v.Get(t.Context(), func() (int, error) {
					time.Sleep(time.Second)
					stop()
					return 0, nil
				})
			}()
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			if n, err := v.Get(ctx, func() (int, error) { return 1, nil }); n != 1 || err != nil {
				t.Errorf("%s: the one that waited: %d, %v", name, n, err)
			}
			if got := <-ended; (got == "stop") != (name == "panic") {
				t.Errorf("%s: recovered %v", name, got)
			}
			if n, ok := v.Known(); !ok || n != 1 {
				t.Errorf("%s: the value is %d", name, n)
			}
		})
	}
}
