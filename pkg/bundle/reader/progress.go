package reader

import (
	"archive/tar"
	"io"
	"os"
	"sync"

	"github.com/kolla-build/kolla-build/internal/filecopy"
	"github.com/kolla-build/kolla-build/pkg/bundle"
)

// progressTracker reports how far a file has been read.
type progressTracker struct {
	report bundle.Progress // nil reports nothing

	mu          sync.Mutex
	done, total int64
}

// set changes the position.
func (t *progressTracker) set(done, total int64) {
	t.mu.Lock()
	t.done, t.total = done, total
	t.mu.Unlock()
	if t.report != nil {
		t.report(done, total)
	}
}

func (t *progressTracker) add(n int64) {
	t.mu.Lock()
	defer t.mu.Unlock() // after the report, so that reports of several goroutines are in order
	if t.done += n; t.report != nil && n != 0 {
		t.report(t.done, t.total)
	}
}

// expect sets the total unless it is already known.
func (t *progressTracker) expect(total int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.total == 0 {
		t.total = total
	}
}

// reader returns a reader of r that tracks it. It keeps Seek, with which the tar reader
// skips content.
func (t *progressTracker) reader(r io.ReadCloser) io.ReadCloser {
	f, ok := r.(*os.File)
	if !ok {
		return &trackedReader{r, t}
	}
	if info, err := f.Stat(); err == nil {
		t.set(0, info.Size())
	}
	return &trackedFile{f: f, tracker: t}
}

type trackedReader struct {
	io.ReadCloser
	tracker *progressTracker
}

func (r *trackedReader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	r.tracker.add(int64(n))
	return n, err
}

type trackedFile struct {
	f       *os.File
	tracker *progressTracker
	at      int64 // position in the file
	counted int64 // the next bytes, which a section counts when they are read or verified
}

func (r *trackedFile) Read(p []byte) (int, error) {
	n, err := r.f.Read(p)
	r.tracker.add(r.moved(int64(n)))
	return n, err
}

// moved changes the position by n bytes, and returns how many of them no section counts.
func (r *trackedFile) moved(n int64) int64 {
	r.at += n
	counted := min(max(n, 0), r.counted)
	r.counted -= counted
	return n - counted
}

func (r *trackedFile) Seek(offset int64, whence int) (int64, error) {
	at, err := r.f.Seek(offset, whence)
	if err == nil {
		n := r.moved(at - r.at)
		r.tracker.mu.Lock()
		r.tracker.done += n
		r.tracker.mu.Unlock()
	}
	return at, err
}

func (r *trackedFile) Close() error { return r.f.Close() }

// section returns the next bytes of the file. The tar reader skips them.
func (r *trackedFile) section(size int64) *filecopy.Section {
	r.counted = size
	return filecopy.NewSection(r.f, r.at, size, r.tracker.add)
}

// trackedFiles tracks the files of a directory.
type trackedFiles struct {
	Files
	tracker   *progressTracker
	remaining int64 // of the current file
}

func (f *trackedFiles) Next() (*tar.Header, error) {
	f.tracker.add(f.remaining) // it was skipped
	f.remaining = 0
	h, err := f.Files.Next()
	if err == nil {
		f.remaining = h.Size
	}
	return h, err
}

func (f *trackedFiles) Read(p []byte) (int, error) {
	n, err := f.Files.Read(p)
	f.remaining -= int64(n)
	f.tracker.add(int64(n))
	return n, err
}

// section returns the content of the current file.
func (f *trackedFiles) section(int64) *filecopy.Section {
	d, ok := f.Files.(*dirFiles)
	if !ok || d.current == nil {
		return nil
	}
	size := f.remaining
	f.remaining = 0 // the section counts it
	return filecopy.NewSection(d.current, 0, size, f.tracker.add)
}
