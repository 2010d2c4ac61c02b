// Package asynchash computes hashes in goroutines while their input is being read. It
// must not know what the input is.
package asynchash

import (
	"hash"
	"sync"
)

const (
	bufferSize = 1 << 20
	buffers    = 4 // for each hash
)

var pool = sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}

// Hash is a hash that a goroutine computes. It holds at most 4 MiB. Sum must be called, or
// the goroutine remains.
type Hash struct {
	chunks chan *[]byte
	done   chan struct{}
	hash   hash.Hash
	once   sync.Once
}

// New begins to compute a hash.
func New(h hash.Hash) *Hash {
	a := &Hash{chunks: make(chan *[]byte, buffers-2), done: make(chan struct{}), hash: h}
	go func() {
		defer close(a.done)
		for b := range a.chunks {
			a.hash.Write(*b)
			pool.Put(b)
		}
	}()
	return a
}

// Write implements io.Writer. It keeps a copy of p and never fails.
func (a *Hash) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		b := pool.Get().(*[]byte)
		n := min(len(rest), bufferSize)
		*b = append((*b)[:0], rest[:n]...)
		rest = rest[n:]
		a.chunks <- b
	}
	return len(p), nil
}

// Sum waits for the goroutine and returns the hash. Nothing can be written after it.
func (a *Hash) Sum() []byte {
	a.once.Do(func() { close(a.chunks) })
	<-a.done
	return a.hash.Sum(nil)
}
