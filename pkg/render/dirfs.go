package render

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Names of files on Linux are bytes. The file systems of package os accept only UTF-8
// names; these accept all names that they read from directories.

// rootFS is a directory whose names and links cannot lead out of it.
type rootFS struct{ *os.Root }

func (r rootFS) Open(name string) (fs.File, error) { return r.Root.Open(name) }

func (r rootFS) Stat(name string) (fs.FileInfo, error) { return r.Root.Stat(name) }

func (r rootFS) ReadDir(name string) ([]fs.DirEntry, error) {
	f, err := r.Root.Open(name)
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
