// Package partialfile owns files that are completed in several runs: until a file is
// complete, it has a temporary name, under which the next run finds what an interrupted
// run has written. It must not know what the files contain: its caller verifies the
// content.
package partialfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
)

// Name returns the name that a file has until it is complete: hidden, in the same directory.
func Name(path string) string {
	return filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".partial")
}

// List returns the partial files in a directory, and how many bytes they have together.
func List(dir string) (files []string, bytes int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, 0
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") || !strings.HasSuffix(e.Name(), ".partial") {
			continue
		}
		if st, err := e.Info(); err == nil && st.Mode().IsRegular() {
			files, bytes = append(files, filepath.Join(dir, e.Name())), bytes+st.Size()
		}
	}
	return files, bytes
}

// File is a file that is not complete yet.
type File struct {
	*os.File
	path string
}

// Open opens the partial file of a path and creates it if it does not exist. Until it is
// closed, every other Open fails with a *filelock.HeldError.
func Open(path string) (*File, error) {
	name := Name(path)
	for {
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0o600)
		if err != nil {
			return nil, err
		}
		unchanged, err := lock(f, name)
		if err != nil {
			f.Close()
			return nil, err
		}
		if unchanged {
			return &File{f, path}, nil
		}
		f.Close() // another process has completed it
	}
}

// lock locks a file, and reports whether it still has its name.
func lock(f *os.File, name string) (bool, error) {
	st, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !st.Mode().IsRegular() {
		return false, fmt.Errorf("%s is not a regular file", name)
	}
	err = filelock.Of(f).TryLock()
	if held := (*filelock.HeldError)(nil); errors.As(err, &held) {
		return false, &filelock.HeldError{Path: name} // the content is not the name of the holder
	}
	if err != nil && !errors.Is(err, syscall.ENOLCK) && !errors.Is(err, syscall.EOPNOTSUPP) {
		return false, err
	}
	current, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	if sys, ok := current.Sys().(*syscall.Stat_t); ok && sys.Nlink > 1 {
		return false, fmt.Errorf("%s has another hard link", name) // writing would change that file as well
	}
	return os.SameFile(st, current), nil
}

// Keep truncates the file to its first n bytes; the next write appends to them.
func (f *File) Keep(n int64) error {
	st, err := f.Stat()
	if err == nil && st.Size() != n { // some drivers of FAT cannot truncate
		err = f.Truncate(n)
	}
	if err != nil {
		return err
	}
	_, err = f.Seek(n, io.SeekStart)
	return err
}

// Commit gives the file its final name, replaces a file with that name, and closes it.
// Content and name survive a power failure.
func (f *File) Commit(mode fs.FileMode) error {
	if err := atomicfile.Chmod(f.File, mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := atomicfile.Rename(Name(f.path), f.path); err != nil {
		return err
	}
	return f.Close()
}
