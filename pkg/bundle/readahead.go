package bundle

import "io"

// Reading ahead: blobs from this size are read, and hashed by their reader, beside writing.
const (
	readAheadSize    = 1 << 20
	readAheadBuffers = 3
)

// readAhead reads in a goroutine. Close ends it.
type readAhead struct {
	r       io.ReadCloser
	full    chan chunk
	free    chan []byte
	closed  chan struct{}
	current chunk // what is being returned
	whole   []byte
}

// chunk is the result of a Read.
type chunk struct {
	bytes []byte
	err   error
}

func newReadAhead(r io.ReadCloser) *readAhead {
	a := &readAhead{r: r, full: make(chan chunk, readAheadBuffers), free: make(chan []byte, readAheadBuffers), closed: make(chan struct{})}
	for range readAheadBuffers {
		a.free <- make([]byte, readAheadSize)
	}
	go a.run()
	return a
}

func (a *readAhead) run() {
	defer close(a.full)
	for {
		var buf []byte
		select {
		case buf = <-a.free:
		case <-a.closed:
			return
		}
		n, err := a.r.Read(buf)
		a.full <- chunk{buf[:n], err} // there is space for all buffers
		if err != nil {
			return
		}
	}
}

// Read implements io.Reader.
func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.current.bytes) == 0 {
		if a.current.err != nil {
			return 0, a.current.err
		}
		if a.whole != nil {
			a.free <- a.whole
		}
		a.current = <-a.full
		a.whole = a.current.bytes[:cap(a.current.bytes)]
	}
	n := copy(p, a.current.bytes)
	a.current.bytes = a.current.bytes[n:]
	return n, nil
}

// Close implements io.Closer.
func (a *readAhead) Close() error {
	close(a.closed)
	for range a.full { // until run has ended
	}
	return a.r.Close()
}
