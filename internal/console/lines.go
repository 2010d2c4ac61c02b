package console

import (
	"bytes"
	"io"
)

// Lines returns a writer that prints each line as a notice: the output of another
// program, or a progress report, then has the format of all notices. Close prints the
// last line if it has no end.
func (c *Console) Lines() io.WriteCloser { return &lineWriter{console: c} }

type lineWriter struct {
	console *Console
	partial []byte
}

// Write implements io.Writer. It never fails.
func (w *lineWriter) Write(p []byte) (int, error) {
	w.partial = append(w.partial, p...)
	for {
		line, rest, found := bytes.Cut(w.partial, []byte("\n"))
		if !found {
			return len(p), nil
		}
		w.console.Notice("%s", line)
		w.partial = rest
	}
}

// Close implements io.Closer.
func (w *lineWriter) Close() error {
	if len(w.partial) > 0 {
		w.console.Notice("%s", w.partial)
		w.partial = nil
	}
	return nil
}
