// Package atomicfile replaces files atomically: a reader sees the old content or the
// new one, even if the process is killed. It must not know what the files contain.
//
// google/renameio does the same but syncs every file and no directory. Caches need
// neither, and files that must survive a power failure need both.
package atomicfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Options specifies how a file is written. The zero value is right for caches and
// reports.
type Options struct {
	// Mode is the mode of the new file, regardless of the umask; 0 means 0644.
	Mode fs.FileMode
	// Durable syncs the file and then its directory, so that the new content survives a
	// power failure. It is for files that cannot be created again.
	Durable bool
	// NameLater leaves it to the caller of a durable file to sync the directory, with SyncDir,
	// which is faster for many files.
	NameLater bool
	// TempDir is the directory of the temporary file, on the same file system.
	// "" means the directory of the file itself.
	TempDir string
}

// WriteFile replaces the content of a file. Its directory must exist.
func WriteFile(path string, data []byte, opts Options) error {
	f, err := Create(path, opts)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(data); err != nil {
		return err
	}
	return f.Commit()
}

// File is a new file that is being written. Commit puts it in place of the old one;
// Close discards it otherwise.
type File struct {
	*os.File
	path string
	opts Options
	temp string // its temporary name, "" if it has none
	done bool
}

// Create begins to replace a file. The caller must call Close, also after Commit. If
// CommitAs will name the file, path may be a directory.
func Create(path string, opts Options) (*File, error) {
	dir := opts.TempDir
	if dir == "" {
		dir = filepath.Dir(path)
	}
	// A file without a name disappears with the process, even if that is killed.
	// Only /proc can give it a name.
	if haveProc() {
		if f, err := openUnnamed(dir, path); err == nil {
			return &File{File: f, path: path, opts: opts}, nil
		}
	}
	f, err := os.CreateTemp(dir, tempPattern(path))
	if err != nil {
		return nil, err
	}
	return &File{File: f, path: path, opts: opts, temp: f.Name()}, nil
}

// Unnamed returns a temporary file in a directory that has no name: it disappears when it
// is closed, and when the process is killed.
func Unnamed(dir string) (*os.File, error) {
	if f, err := openUnnamed(dir, filepath.Join(dir, "(unnamed file)")); err == nil {
		return f, nil
	}
	f, err := os.CreateTemp(dir, ".tmp-*") // the file system has no O_TMPFILE, or the directory is unusable
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

func openUnnamed(dir, name string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

var haveProc = sync.OnceValue(func() bool { return unix.Access("/proc/self/fd", unix.X_OK) == nil })

// FinalName returns the name of the file that a temporary file of this package was to
// replace. ok is false for names of other files.
func FinalName(temp string) (name string, ok bool) {
	name, hidden := strings.CutPrefix(temp, ".")
	at := strings.LastIndex(name, ".tmp-")
	if !hidden || at <= 0 {
		return "", false
	}
	return name[:at], true
}

func tempPattern(path string) string { return "." + filepath.Base(path) + ".tmp-*" }

// link gives a file without a name a temporary one in a directory: only a rename
// can replace another file.
func (f *File) link(dir string) error {
	if f.temp != "" {
		return nil
	}
	temp := filepath.Join(dir, strings.TrimSuffix(tempPattern(f.path), "*")+rand.Text()[:12])
	open := fmt.Sprintf("/proc/self/fd/%d", f.Fd())
	if err := unix.Linkat(unix.AT_FDCWD, open, unix.AT_FDCWD, temp, unix.AT_SYMLINK_FOLLOW); err != nil {
		return &os.LinkError{Op: "link", Old: f.path, New: temp, Err: err}
	}
	f.temp = temp
	return nil
}

// Sync is the method of files. Tests replace it to see its calls and to make them fail.
var Sync = (*os.File).Sync

// Commit closes the new file and puts it in place of the old one.
func (f *File) Commit() error { return f.CommitAs(f.path) }

// CommitAs is Commit to another path, for files named after their content.
func (f *File) CommitAs(path string) error {
	if f.done {
		return fmt.Errorf("committing %s: %w", path, fs.ErrClosed)
	}
	mode := f.opts.Mode
	if mode == 0 {
		mode = 0o644
	}
	if err := Chmod(f.File, mode); err != nil {
		return err
	}
	if f.opts.Durable {
		// The name must not reach the disk before the content.
		if err := Sync(f.File); err != nil {
			return err
		}
	}
	dir := f.opts.TempDir
	if dir == "" {
		dir = filepath.Dir(f.path)
	}
	if err := f.link(dir); err != nil {
		return err
	}
	if err := f.File.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.temp, path); err != nil {
		return err
	}
	f.done = true
	if f.opts.Durable && !f.opts.NameLater {
		return SyncDir(filepath.Dir(path))
	}
	return nil
}

// Close discards the new file unless it was committed.
func (f *File) Close() error {
	if f.done {
		return nil
	}
	f.done = true
	err := f.File.Close()
	if errors.Is(err, fs.ErrClosed) { // a failed commit
		err = nil
	}
	if f.temp == "" {
		return err
	}
	return errors.Join(err, os.Remove(f.temp))
}

// Rename renames a file so that the new name survives a power failure. The
// content must have been synced before.
func Rename(oldpath, newpath string) error {
	if err := os.Rename(oldpath, newpath); err != nil {
		return err
	}
	return SyncDir(filepath.Dir(newpath))
}

// Output writes to a path that a user named. A regular file is replaced when
// write returns nil, and keeps its mode; a symbolic link is followed. Anything
// else, such as /dev/stdout or a named pipe, is written in place, and Durable has
// no effect on it.
func Output(path string, opts Options, write func(io.Writer) error) error {
	target, special, err := Target(path)
	if err != nil {
		return err
	}
	if special {
		return inPlace(target, write)
	}
	if fi, err := os.Stat(target); err == nil {
		opts.Mode = fi.Mode().Perm()
	}
	f, err := Create(target, opts)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := write(f); err != nil {
		return err
	}
	return f.Commit()
}

func inPlace(path string, write func(io.Writer) error) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	err = write(f)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// Target returns the file that a path names, through symbolic links, and whether
// it is special: a device, a pipe or the like, which is written in place and must
// not be replaced by a file. A file that does not exist yet is not special, also if a
// link names it.
func Target(path string) (target string, special bool, err error) {
	if InDev(path) {
		return path, true, nil
	}
	// The kernel refuses to follow links that other users placed in a directory such as
	// /tmp, so it is asked first.
	fi, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		target, err := linkTarget(path)
		return target, false, err
	case err != nil:
		return "", false, err
	case fi.IsDir():
		return "", false, &fs.PathError{Op: "write", Path: path, Err: syscall.EISDIR}
	}
	if target, err = filepath.EvalSymlinks(path); err != nil {
		return "", false, err
	}
	return target, !fi.Mode().IsRegular(), nil
}

// linkTarget returns the file that a path names if that does not exist: the end of a
// chain of links, or the path itself.
func linkTarget(path string) (string, error) {
	const maxLinks = 40 // as in Linux
	for range maxLinks {
		link, err := os.Readlink(path)
		if err != nil {
			return path, nil
		}
		if filepath.IsAbs(link) {
			path = link
			continue
		}
		dir, err := filepath.EvalSymlinks(filepath.Dir(path))
		if err != nil {
			return "", err
		}
		path = dir + string(filepath.Separator) + link // Join would remove "..", which links change
	}
	return "", &fs.PathError{Op: "write", Path: path, Err: syscall.ELOOP}
}

// InDev reports whether a path is below /dev, where files are written in place
// whatever they are: /dev/stdout can lead to a regular file that others write to.
// /dev/shm is a directory of ordinary files.
func InDev(path string) bool {
	return strings.HasPrefix(path, "/dev/") && !strings.HasPrefix(path, "/dev/shm/")
}
