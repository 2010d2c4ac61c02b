package asynchash

import (
	"context"
	"hash"
	"io"
	"sync"
)

// fileBuffer is small enough for the cache of a processor.
const fileBuffer = 256 << 10

// File is the hash of a part of a file, which a goroutine reads after it was written there.
// Sum or Stop must be called before the file is closed.
type File struct {
	file   io.ReaderAt
	at     int64
	hash   hash.Hash
	hashed func(int64)
	done   chan struct{}
	err    error // of the goroutine, when done is closed

	mu      sync.Mutex
	changed *sync.Cond
	end     int64 // of what was written
	closed  bool  // nothing more will be written
	stopped bool  // the hash is not needed
}

// OfFile begins to compute the hash of what will be written to a file from an offset. hashed is
// called in the goroutine with the number of bytes of each part that was hashed; it may be nil.
func OfFile(file io.ReaderAt, offset int64, h hash.Hash, hashed func(int64)) *File {
	if hashed == nil {
		hashed = func(int64) {}
	}
	f := &File{file: file, at: offset, end: offset, hash: h, hashed: hashed, done: make(chan struct{})}
	f.changed = sync.NewCond(&f.mu)
	go f.run()
	return f
}

// Written reports that n more bytes were written.
func (f *File) Written(n int64) {
	f.mu.Lock()
	f.end += n
	f.mu.Unlock()
	f.changed.Signal()
}

// Sum waits for the goroutine and returns the hash of all that was written. Once ctx is done, it
// stops the goroutine and returns the cause: a copy that shared blocks can be far ahead of it.
func (f *File) Sum(ctx context.Context) ([]byte, error) {
	defer context.AfterFunc(ctx, f.Stop)()
	f.finish(func() { f.closed = true })
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	return f.hash.Sum(nil), f.err
}

// Stop ends the goroutine.
func (f *File) Stop() { f.finish(func() { f.stopped = true }) }

func (f *File) finish(set func()) {
	f.mu.Lock()
	set()
	f.mu.Unlock()
	f.changed.Signal()
	<-f.done
}

// next waits for bytes and returns their number, 0 at the end.
func (f *File) next() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.at == f.end && !f.closed && !f.stopped {
		f.changed.Wait()
	}
	if f.stopped {
		return 0
	}
	return min(f.end-f.at, fileBuffer)
}

func (f *File) run() {
	defer close(f.done)
	buf := filePool.Get().(*[]byte)
	defer filePool.Put(buf)
	for n := f.next(); n > 0; n = f.next() {
		b := (*buf)[:n]
		if read, err := f.file.ReadAt(b, f.at); read < len(b) {
			if f.err = err; err == io.EOF {
				f.err = io.ErrUnexpectedEOF
			}
			return
		}
		f.hash.Write(b)
		f.at += n
		f.hashed(n)
	}
}

var filePool = sync.Pool{New: func() any { b := make([]byte, fileBuffer); return &b }}
