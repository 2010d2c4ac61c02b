package render

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Names of files on Linux are bytes. The file systems of package os accept only UTF-8
// names; these accept all names that they read from directories.

// rootFS is a directory whose names and links cannot lead out of it.
type rootFS struct {
	*os.Root
	dir *os.File // the directory itself
}

func openRootFS(dir string) (rootFS, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return rootFS{}, err
	}
	self, err := root.Open(".")
	if err != nil {
		root.Close()
		return rootFS{}, err
	}
	return rootFS{root, self}, nil
}

func (r rootFS) Close() error { return errors.Join(r.dir.Close(), r.Root.Close()) }

func (r rootFS) Open(name string) (fs.File, error) { return r.open(name) }

// open opens a file with one system call, where os.Root needs ten for a file in nova/nova-api. If
// that does not succeed, such as with an old kernel, the result is that of os.Root.
func (r rootFS) open(name string) (*os.File, error) {
	fd, err := unix.Openat2(int(r.dir.Fd()), name, &unix.OpenHow{
		Flags: unix.O_RDONLY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH,
	})
	runtime.KeepAlive(r.dir)
	if err != nil {
		return r.Root.Open(name)
	}
	return os.NewFile(uintptr(fd), filepath.Join(r.Name(), name)), nil
}

func (r rootFS) Stat(name string) (fs.FileInfo, error) { return r.Root.Stat(name) }

func (r rootFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := r.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	entries, err := f.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return entries, err
}

// pathFS is a directory whose links may lead anywhere.
type pathFS string

func (p pathFS) path(name string) string { return filepath.Join(string(p), filepath.FromSlash(name)) }

func (p pathFS) Open(name string) (fs.File, error) { return os.Open(p.path(name)) }

func (p pathFS) Stat(name string) (fs.FileInfo, error) { return os.Stat(p.path(name)) }

func (p pathFS) ReadDir(name string) ([]fs.DirEntry, error) { return os.ReadDir(p.path(name)) }
