// Package inputfile reads input of a bounded size: files that a user named, which may be a
// named pipe without a writer or an endless device, and small files and streams that others
// may have replaced. Reading a user's file stops when its context ends. It must not know what
// the files contain.
package inputfile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/units"
)

// Open opens a file for reading. A directory is an error. If the result is an
// *os.File, the file is a regular one; otherwise opening and reading end with ctx.
func Open(ctx context.Context, path string) (io.ReadCloser, error) {
	fi, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case fi.IsDir():
		return nil, &fs.PathError{Op: "read", Path: path, Err: syscall.EISDIR}
	case fi.Mode().IsRegular():
		return os.Open(path)
	}
	open := func() (*os.File, error) { return os.Open(path) } // a named pipe is opened when it has a writer
	f, err := Wait(ctx, open, func(f *os.File) { f.Close() })
	switch {
	case err == nil:
		return Interruptible(ctx, f), nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	return nil, err
}

// Wait returns the results of a function that may wait for a named pipe: a library that reads
// files. If ctx ends first, the error is its cause, and the function goes on until it ends;
// discard, unless it is nil, then gets its result, if that is not an error.
func Wait[T any](ctx context.Context, read func() (T, error), discard func(T)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		v, err := read()
		done <- result{v, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		go func() {
			if r := <-done; r.err == nil && discard != nil {
				discard(r.value)
			}
		}()
		var zero T
		return zero, context.Cause(ctx)
	}
}

// MaxState is the size in bytes of the largest file in which this program keeps its state.
const MaxState = 64 << 20

// ErrNotRegular is why a file that has to be a regular one was not opened.
var ErrNotRegular = errors.New("not a regular file")

// OpenRegular opens a regular file, or a symbolic link to one. It does not wait for the writer
// of a named pipe, and does not read from devices.
func OpenRegular(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		f.Close()
		return nil, errors.Join(&fs.PathError{Op: "open", Path: path, Err: ErrNotRegular}, err)
	}
	return f, nil
}

// ReadRegular returns the content of a regular file of up to limit bytes: one of those in
// which this program keeps its state, which others may have replaced. For a larger one the
// error is a *TooLargeError.
func ReadRegular(path string, limit int64) ([]byte, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > limit {
		return nil, &TooLargeError{path, limit}
	}
	// One buffer of the file's size: growing one would take several times as much memory.
	var b bytes.Buffer
	b.Grow(int(info.Size()) + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if int64(b.Len()) > limit {
		return nil, &TooLargeError{path, limit}
	}
	return b.Bytes(), nil
}

// CheckSize returns an error if ReadRegular would refuse the content of a file that is to be
// written.
func CheckSize(path string, content []byte, limit int64) error {
	if int64(len(content)) > limit {
		return fmt.Errorf("%s would be larger than %s and could not be read again", path, units.Bytes(limit))
	}
	return nil
}

// Interruptible returns a reader of r whose Read returns when ctx ends, even if a
// read of r does not. Close closes r if it is an io.Closer; a goroutine can remain
// that waits for r.
func Interruptible(ctx context.Context, r io.Reader) io.ReadCloser {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.CopyBuffer(struct{ io.Writer }{pw}, struct{ io.Reader }{r}, make([]byte, 256<<10))
		pw.CloseWithError(err)
	}()
	stop := context.AfterFunc(ctx, func() { pw.CloseWithError(context.Cause(ctx)) })
	return &interruptible{PipeReader: pr, source: r, stop: stop}
}

type interruptible struct {
	*io.PipeReader
	source io.Reader
	stop   func() bool
}

func (i *interruptible) Close() error {
	i.stop()
	err := i.PipeReader.Close()
	if c, ok := i.source.(io.Closer); ok {
		err = c.Close()
	}
	return err
}

// TooLargeError reports that a file or a stream is larger than the limit.
type TooLargeError struct {
	Path  string
	Limit int64 // in bytes
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("reading %s: more than %s", e.Path, units.Bytes(e.Limit))
}

// Read returns the content of a file of up to limit bytes. For a larger one the
// error is a *TooLargeError.
func Read(ctx context.Context, path string, limit int64) ([]byte, error) {
	r, err := Open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	b, err := ReadAll(r, path, limit)
	var large *TooLargeError
	if err != nil && !errors.As(err, &large) {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return b, err
}

// PlainError returns an error about a file as the file and the cause, without the name of the
// system call, which tells a user nothing. Other errors are returned as they are.
func PlainError(err error) error {
	var in *fs.PathError
	if errors.As(err, &in) {
		return fmt.Errorf("%s: %w", in.Path, in.Err)
	}
	return err
}

// WithoutPath returns the cause of an error about a file, without the name of the system call
// and the path, for messages that name the file themselves. Other errors are returned as they
// are.
func WithoutPath(err error) error {
	var of *fs.PathError
	if errors.As(err, &of) {
		return of.Err
	}
	return err
}

// ReadAll returns what r has, up to limit bytes. If it has more, the error is a
// *TooLargeError with the name. Other errors are those of r.
func ReadAll(r io.Reader, name string, limit int64) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(b)) > limit:
		return nil, &TooLargeError{name, limit}
	}
	return b, nil
}
