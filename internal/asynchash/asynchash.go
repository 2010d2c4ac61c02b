// Package asynchash computes hashes in goroutines while their input is being read. It
// must not know what the input is.
package asynchash

import (
	"context"
	"hash"
	"io"
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

// Copy copies r to w until r ends, and hashes it without another copy of the bytes. However
// little r returns at a time, w gets a MiB. It fails with the cause of ctx once ctx is done.
func (a *Hash) Copy(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	for total := int64(0); ; {
		b := pool.Get().(*[]byte)
		n, err := fill(ctx, r, (*b)[:bufferSize])
		if *b = (*b)[:n]; n > 0 {
			written, werr := w.Write(*b)
			total += int64(written)
			switch {
			case werr != nil:
				return total, werr
			case written < n:
				return total, io.ErrShortWrite
			}
			a.chunks <- b
		} else {
			pool.Put(b)
		}
		switch {
		case err == io.EOF:
			return total, nil
		case err != nil:
			return total, err
		}
	}
}

// fill reads until the buffer is full or there is an error.
func fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		var more int
		more, err = r.Read(buf[n:])
		n += more
	}
	return n, err
}

// Sum waits for the goroutine and returns the hash. Nothing can be written after it.
func (a *Hash) Sum() []byte {
	a.once.Do(func() { close(a.chunks) })
	<-a.done
	return a.hash.Sum(nil)
}
