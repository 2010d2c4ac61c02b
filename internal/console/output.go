package console

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// Output is an output stream that remembers whether a write has failed, so that
// output that was lost, on a full disk for example, is an error of the command
// whatever the code that wrote it does.
type Output struct {
	w   io.Writer
	mu  sync.Mutex
	err error
}

// NewOutput returns an output stream that writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	n, err := o.w.Write(p)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// Err returns the error of the first write that failed.
func (o *Output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// SameFile reports whether two streams are one file: a terminal, a pipe or a log that
// has both standard output and standard error.
func SameFile(a, b io.Writer) bool {
	fa, fb := file(a), file(b)
	if fa == nil || fb == nil {
		return false
	}
	ia, err := fa.Stat()
	if err != nil {
		return false
	}
	ib, err := fb.Stat()
	return err == nil && os.SameFile(ia, ib)
}

// Terminal returns the file of a stream that is a terminal, nil if it is not one.
func Terminal(w io.Writer) *os.File {
	if f := file(w); f != nil && term.IsTerminal(int(f.Fd())) {
		return f
	}
	return nil
}

// file returns the file that a stream writes to, nil for any other stream.
func file(w io.Writer) *os.File {
	if o, ok := w.(*Output); ok {
		w = o.w
	}
	f, _ := w.(*os.File)
	return f
}
