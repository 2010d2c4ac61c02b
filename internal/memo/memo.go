// Package memo owns values that many goroutines need and one of them computes, such as a
// token or an uploaded blob. It must not know what the values are.
//
// golang.org/x/sync/singleflight gives the error of a goroutine whose context has ended to
// all others that wait for it.
package memo

import (
	"context"
	"errors"
	"iter"
	"maps"
	"sync"
)

// Map keeps the value of each key. The first goroutine that needs a value computes it, the
// others wait for it. Errors are not kept. No lock is held while a value is computed. The
// zero value is ready for use.
type Map[K comparable, V any] struct {
	// Valid reports whether a value may still be used. nil means always.
	Valid func(V) bool

	mu      sync.Mutex
	entries map[K]*entry[V]
}

// entry is a value that is computed or known. Its fields do not change after done is closed.
type entry[V any] struct {
	done  chan struct{}
	value V
	err   error
	// stopped reports that the goroutine that computed the value was stopped: its context has
	// ended, and err is the cause (in an errgroup, the error of another goroutine), or it has
	// panicked.
	stopped bool
}

// known reports whether the value is known.
func (e *entry[V]) known() bool {
	select {
	case <-e.done:
		return e.err == nil
	default:
		return false
	}
}

// Get returns the value of a key, which this or another goroutine computes. If the other
// one fails because its context has ended, or panics, this one computes it. A known value is
// returned even if ctx has ended.
func (m *Map[K, V]) Get(ctx context.Context, key K, compute func() (V, error)) (V, error) {
	for {
		e, isNew := m.entry(key)
		if isNew {
			m.compute(ctx, key, e, compute)
			return e.value, e.err
		}
		if !e.known() {
			select {
			case <-e.done:
			case <-ctx.Done():
			}
		}
		switch {
		case e.known():
			return e.value, nil
		case ctx.Err() != nil:
			var zero V
			return zero, context.Cause(ctx)
		case !e.stopped:
			return e.value, e.err
		}
	}
}

// errStopped is the error of a value whose computation has not returned. No caller gets it.
var errStopped = errors.New("the computation was stopped")

// compute computes the value of a new entry. A panic, or runtime.Goexit, goes on to the caller.
func (m *Map[K, V]) compute(ctx context.Context, key K, e *entry[V], compute func() (V, error)) {
	e.err, e.stopped = errStopped, true
	defer func() {
		if e.err != nil {
			m.remove(key, e)
		}
		close(e.done)
	}()
	e.value, e.err = compute()
	e.stopped = e.err != nil && ctx.Err() != nil
}

// entry returns the entry of a key, and whether it is a new one, whose value the caller must
// compute. Then it also removes the values that are no longer valid.
func (m *Map[K, V]) entry(key K) (e *entry[V], isNew bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; m.usable(e) {
		return e, false
	}
	if m.Valid != nil {
		maps.DeleteFunc(m.entries, func(_ K, e *entry[V]) bool { return e.known() && !m.Valid(e.value) })
	}
	e = &entry[V]{done: make(chan struct{})}
	m.put(key, e)
	return e, true
}

// usable reports whether the value of an entry, which may be nil, is being computed or valid.
func (m *Map[K, V]) usable(e *entry[V]) bool {
	return e != nil && (m.Valid == nil || !e.known() || m.Valid(e.value))
}

func (m *Map[K, V]) put(key K, e *entry[V]) {
	if m.entries == nil {
		m.entries = map[K]*entry[V]{}
	}
	m.entries[key] = e
}

func (m *Map[K, V]) remove(key K, e *entry[V]) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.entries[key] == e {
		delete(m.entries, key)
	}
}

// Known returns the value of a key if it has been computed or set.
func (m *Map[K, V]) Known(key K) (value V, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil && e.known() && (m.Valid == nil || m.Valid(e.value)) {
		return e.value, true
	}
	return value, false
}

// Set sets the value of a key. Goroutines that wait for one that is being computed get that.
func (m *Map[K, V]) Set(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(key, value)
}

// SetIfAbsent sets the value of a key, unless one is known or being computed.
func (m *Map[K, V]) SetIfAbsent(key K, value V) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.usable(m.entries[key]) {
		m.set(key, value)
	}
}

func (m *Map[K, V]) set(key K, value V) {
	e := &entry[V]{done: make(chan struct{}), value: value}
	close(e.done)
	m.put(key, e)
}

// Forget removes the value of a key if it is known and one that old reports true for: another
// goroutine may have replaced that already.
func (m *Map[K, V]) Forget(key K, old func(V) bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil && e.known() && old(e.value) {
		delete(m.entries, key)
	}
}

// Clear removes all values that are known.
func (m *Map[K, V]) Clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	maps.DeleteFunc(m.entries, func(_ K, e *entry[V]) bool { return e.known() })
}

// All returns the keys with their values that are known now.
func (m *Map[K, V]) All() iter.Seq2[K, V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	values := map[K]V{}
	for key, e := range m.entries {
		if e.known() {
			values[key] = e.value
		}
	}
	return maps.All(values)
}

// Value is one value, used as the values of a Map. The zero value is ready for use.
type Value[V any] struct{ m Map[struct{}, V] }

// Get returns the value, as Map.Get does.
func (v *Value[V]) Get(ctx context.Context, compute func() (V, error)) (V, error) {
	return v.m.Get(ctx, struct{}{}, compute)
}

// Known returns the value if it has been computed.
func (v *Value[V]) Known() (value V, ok bool) { return v.m.Known(struct{}{}) }
