package console

import (
	"bytes"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/kolla-build/kolla-build/internal/printable"
)

// Output is an output stream that remembers its first write error, so that a command
// whose output was lost, for example on a full disk, fails even if its code ignores the
// error. On a terminal, it removes control sequences from untrusted text such as file names.
type Output struct {
	w       io.Writer
	visible bool // control sequences are removed

	mu      sync.Mutex
	err     error
	partial []byte // the beginning of a character, whose rest comes with the next write
}

// NewOutput returns an output stream that writes to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w, visible: Terminal(w) != nil} }

// Printable returns a stream to w for text that others wrote and that a person reads, perhaps with a
// program that shows all characters: it removes control sequences, also if w is not a terminal.
func Printable(w io.Writer) io.Writer { return &Output{w: w, visible: true} }

// Write implements io.Writer.
func (o *Output) Write(p []byte) (int, error) {
	var n int
	var err error
	if o.visible {
		if _, err = io.WriteString(o.w, o.printable(p)); err == nil {
			n = len(p)
		}
	} else {
		n, err = o.w.Write(p)
	}
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// printable returns what may be written to a terminal of what came before and p.
func (o *Output) printable(p []byte) string {
	o.mu.Lock()
	defer o.mu.Unlock()
	text := append(o.partial, p...)
	end := len(text)
	for i := max(0, end-utf8.UTFMax+1); i < end; i++ {
		if utf8.RuneStart(text[i]) && !utf8.FullRune(text[i:]) {
			end = i
		}
	}
	o.partial = bytes.Clone(text[end:])
	return printable.Visible(string(text[:end]))
}

// Err returns the error of the first write that failed.
func (o *Output) Err() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}

// SameFile reports whether two streams are one file: a terminal, a pipe or a log that
// receives both standard output and standard error.
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
