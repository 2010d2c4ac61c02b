package disk

import (
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// earlyBytes is how much is written before the disk is to begin with it.
const earlyBytes = 8 << 20

// MaxWrite is the most that should be written with one system call, in bytes. ext4 allocates blocks of
// memory as large as the write, and on a virtual machine, large ones cost much more: writes of 1 MiB
// took up to ten times the processor time of those of 256 KiB, see docs/performance.md.
const MaxWrite = 256 << 10

// SyncFileRange is the system call. Tests replace it to see its calls.
var SyncFileRange = unix.SyncFileRange

// EarlyWriter writes to a file from its current position. The system begins to write to the
// disk while more follows, so that the Sync at the end has little left to wait for.
type EarlyWriter struct {
	f               *os.File
	offset, started int64 // offsets: what was written, and what was handed to the disk
}

// NewEarlyWriter returns a writer that continues a file.
func NewEarlyWriter(f *os.File) *EarlyWriter {
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		at = 0 // a pipe, for which the system ignores the hint
	}
	return &EarlyWriter{f, at, at}
}

// Write implements io.Writer.
func (w *EarlyWriter) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n, err := w.f.Write(p[:min(len(p), MaxWrite)])
		written += n
		w.Wrote(int64(n))
		if err != nil {
			return written, err
		}
		p = p[n:]
	}
	return written, nil
}

// Wrote reports that n more bytes were written to the file in another way, after those before.
func (w *EarlyWriter) Wrote(n int64) {
	if w.offset += n; w.offset-w.started >= earlyBytes {
		w.Start()
	}
}

// Start makes the system begin to write everything that was written so far to the disk.
func (w *EarlyWriter) Start() {
	if w.offset == w.started {
		return
	}
	// The error is ignored: this only starts writing early, and Sync reports errors.
	_ = SyncFileRange(int(w.f.Fd()), w.started, w.offset-w.started, unix.SYNC_FILE_RANGE_WRITE)
	w.started = w.offset
}
