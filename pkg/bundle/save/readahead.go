package save

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
	current []byte // the buffer that next returned last, whole
	rest    []byte // what Read has not returned of it
	err     error  // of the last chunk
}

// chunk is the result of a Read.
type chunk struct {
	bytes []byte
	err   error
}

func newReadAhead(r io.ReadCloser) *readAhead {
	a := &readAhead{
		r: r, closed: make(chan struct{}),
		full: make(chan chunk, readAheadBuffers), free: make(chan []byte, readAheadBuffers),
	}
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

// next returns the next bytes, which are valid until it is called again, and the error that
// follows them.
func (a *readAhead) next() ([]byte, error) {
	if a.err != nil {
		return nil, a.err
	}
	if a.current != nil {
		a.free <- a.current
	}
	c := <-a.full
	a.current, a.err = c.bytes[:cap(c.bytes)], c.err
	return c.bytes, c.err
}

// Read implements io.Reader.
func (a *readAhead) Read(p []byte) (int, error) {
	for len(a.rest) == 0 {
		if a.err != nil {
			return 0, a.err
		}
		a.rest, _ = a.next()
	}
	n := copy(p, a.rest)
	a.rest = a.rest[n:]
	return n, nil
}

// Close implements io.Closer.
func (a *readAhead) Close() error {
	close(a.closed)
	for range a.full { // until run has ended
	}
	return a.r.Close()
}
