// Package filecopy copies parts of files to other files within the kernel: their bytes do not
// pass through this process, and a file system can share the blocks of both. It must not know
// what the files contain: callers verify what was written.
package filecopy

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"
)

// MinSize is the size from which copying within the kernel is worthwhile: less is read and written
// with one call each.
const MinSize = 64 << 10

// step is how much is copied before the caller is notified.
const step = 8 << 20

// CopyFileRange is the system call. Tests replace it to count its calls and to make them fail.
var CopyFileRange = unix.CopyFileRange

// Section is a part of a file, and a reader of it.
type Section struct {
	file         *os.File
	offset, size int64
	read         int64 // by Read
	progress     func(int64)
}

// NewSection returns a part of a file. The position of the file is neither used nor changed.
// progress gets the number of bytes of each read; it may be nil.
func NewSection(f *os.File, offset, size int64, progress func(int64)) *Section {
	if progress == nil {
		progress = func(int64) {}
	}
	return &Section{file: f, offset: offset, size: size, progress: progress}
}

// Size returns the size of the section in bytes.
func (s *Section) Size() int64 { return s.size }

// Progress reports bytes that were copied, as Read reports those that it reads. CopyTo leaves it
// to its caller, because a copy that shares blocks takes no time, and its verification does.
func (s *Section) Progress(n int64) { s.progress(n) }

// Peek returns up to n bytes from the beginning of the section.
func (s *Section) Peek(n int) ([]byte, error) {
	b := make([]byte, min(int64(n), s.size))
	n, err := s.file.ReadAt(b, s.offset)
	return b[:n], err
}

// Read implements io.Reader. If the file ends in the section, the error is
// io.ErrUnexpectedEOF.
func (s *Section) Read(p []byte) (int, error) {
	if s.read == s.size {
		return 0, io.EOF
	}
	n, err := s.file.ReadAt(p[:min(int64(len(p)), s.size-s.read)], s.offset+s.read)
	s.read += int64(n)
	s.progress(int64(n))
	switch {
	case n > 0: // the next read returns an error that remains
		return n, nil
	case err == io.EOF:
		return 0, io.ErrUnexpectedEOF
	}
	return 0, err
}

// CopyTo copies the section to another file, from a position there. The error is
// errors.ErrUnsupported, and nothing was copied, if the file systems cannot do that: the section
// must then be read. An *os.LinkError names both files, because either may be the cause. copied
// is called with the number of bytes after each step, when they can be read from the other file.
// Sync must follow, as after writes.
func (s *Section) CopyTo(ctx context.Context, to *os.File, at int64, copied func(int64)) error {
	from := s.offset
	for end := s.offset + s.size; from < end; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n, err := CopyFileRange(int(s.file.Fd()), &from, int(to.Fd()), &at, int(min(end-from, step)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil && from == s.offset && unsupported(err):
			return errors.ErrUnsupported
		case err != nil:
			return &os.LinkError{Op: "copy", Old: s.file.Name(), New: to.Name(), Err: err}
		case n == 0 && from == s.offset:
			return errors.ErrUnsupported // some file systems copy nothing although there is content
		case n == 0:
			return io.ErrUnexpectedEOF
		}
		copied(int64(n))
	}
	return nil
}

// unsupported reports whether copying by reads and writes may succeed.
func unsupported(err error) bool {
	return slices.ContainsFunc([]error{
		unix.ENOSYS, unix.EXDEV, unix.EINVAL, unix.EOPNOTSUPP, unix.EPERM, unix.EIO, unix.EISDIR, unix.ETXTBSY,
	}, func(e error) bool { return errors.Is(err, e) })
}
