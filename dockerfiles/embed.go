// Package dockerfiles owns the embedded template tree: directories with a Dockerfile.j2
// each and the files that it copies, their shared macros, and their repositories
// (repos.yaml).
//
// It must not know rendering or building. Embedding loses executable bits, so templates
// set the modes of the files that they copy.
package dockerfiles

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
)

//go:embed all:*
var embedded embed.FS

// Tree returns the embedded template tree. Its root has macros.j2, repos.yaml
// and the images' directories, as Kolla's docker/ directory has.
func Tree() fs.FS { return tree{embedded} }

// tree hides this package's own files, which are stored beside the templates.
type tree struct{ embed.FS }

func hidden(name string) bool {
	top, _, inDirectory := strings.Cut(name, "/")
	return top == "testdata" || !inDirectory && (strings.HasSuffix(name, ".go") || name == "README.md")
}

// Open implements fs.FS.
func (t tree) Open(name string) (fs.File, error) {
	if hidden(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return t.FS.Open(name)
}

// ReadDir implements fs.ReadDirFS.
func (t tree) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := t.FS.ReadDir(name)
	if name != "." {
		return entries, err
	}
	return slices.DeleteFunc(entries, func(e fs.DirEntry) bool { return hidden(e.Name()) }), err
}
