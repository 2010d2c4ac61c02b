// Package memo owns values that many goroutines need and one of them computes, such as a
// token or an uploaded blob. It must not know what the values are.
//
// golang.org/x/sync/singleflight gives the error of a goroutine whose context has ended to
// all others that wait for it.
package memo

import (
	"context"
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
	// canceled reports that the context of the goroutine that computed the value has ended.
	// err is the cause then: in an errgroup, the error of another goroutine.
	canceled bool
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
// one fails because its context has ended, this one computes it.
func (m *Map[K, V]) Get(ctx context.Context, key K, compute func() (V, error)) (V, error) {
	for {
		e, isNew := m.entry(key)
		if isNew {
			e.value, e.err = compute()
			e.canceled = e.err != nil && ctx.Err() != nil
			if e.err != nil {
				m.remove(key, e)
			}
			close(e.done)
			return e.value, e.err
		}
		select {
		case <-e.done:
		case <-ctx.Done():
			var zero V
			return zero, context.Cause(ctx)
		}
		if !e.canceled || ctx.Err() != nil {
			return e.value, e.err
		}
	}
}

// entry returns the entry of a key, and whether it is a new one, whose value the caller must
// compute. Then it also removes the values that are no longer valid.
func (m *Map[K, V]) entry(key K) (e *entry[V], isNew bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e := m.entries[key]; e != nil && (m.Valid == nil || !e.known() || m.Valid(e.value)) {
		return e, false
	}
	if m.Valid != nil {
		maps.DeleteFunc(m.entries, func(_ K, e *entry[V]) bool { return e.known() && !m.Valid(e.value) })
	}
	e = &entry[V]{done: make(chan struct{})}
	m.put(key, e)
	return e, true
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

// Set sets the value of a key.
func (m *Map[K, V]) Set(key K, value V) {
	e := &entry[V]{done: make(chan struct{}), value: value}
	close(e.done)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(key, e)
}

// Forget removes the value of a key, and reports whether it was known.
func (m *Map[K, V]) Forget(key K) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.entries[key]
	if e == nil || !e.known() {
		return false
	}
	delete(m.entries, key)
	return true
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
