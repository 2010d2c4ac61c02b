package atomicfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// MkdirAll is os.MkdirAll for directories of durable files: the names of those that it makes
// survive a power failure.
func MkdirAll(dir string, mode fs.FileMode) error {
	var parents []string // of missing directories, the innermost first
	for path := filepath.Clean(dir); ; {
		_, err := os.Stat(path)
		parent := filepath.Dir(path)
		if !errors.Is(err, fs.ErrNotExist) || parent == path {
			break // it exists, or os.MkdirAll reports why not
		}
		parents = append(parents, parent)
		path = parent
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	for _, parent := range parents {
		// A directory may be writable and not readable, and then cannot be opened.
		if err := SyncDir(parent); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return nil
}

// SyncDir makes the names in a directory survive a power failure.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	// Some file systems, mostly network ones, cannot sync directories.
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, syscall.ENOTSUP) {
		return err
	}
	return nil
}

// SyncFileSystem makes all that was written to the file system of a directory survive a power
// failure. For many files, that is faster than syncing each.
func SyncFileSystem(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := unix.Syncfs(int(d.Fd())); err != nil {
		return &fs.PathError{Op: "syncfs", Path: dir, Err: err}
	}
	return nil
}
