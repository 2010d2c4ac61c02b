// Package inspect reads the content of images: the changes of each layer, the file
// system of all layers together, and the content of named files. It must not know
// package managers, stores or registries.
//
// It reads any v1.Image, from a store, a registry or a file. Images are untrusted:
// everything has a limit, and nothing is written to disk. Symbolic links are not
// followed: a path is the name in the tar of a layer.
package inspect

import (
	"fmt"
	"path"
	"strings"
	"sync/atomic"
)

// Limits bound what a layer may contain. A layer with more is a *LimitError.
type Limits struct {
	Entries int   // files, directories and links; 0 means 524,288
	Names   int64 // bytes of paths, links and extended attributes; 0 means 64 MiB
	// Implied are directories that are only parts of other paths; 0 means 100,000. Builders list
	// directories, and a path of 4 KiB can imply 2,000 of them.
	Implied int
	Bytes   int64 // uncompressed; 0 means 256 GiB
	Capture int64 // bytes of the content of named files; 0 means 512 MiB
}

func (l Limits) orDefault() Limits {
	if l.Entries == 0 {
		l.Entries = 1 << 19
	}
	if l.Names == 0 {
		l.Names = 64 << 20
	}
	if l.Implied == 0 {
		l.Implied = 100_000
	}
	if l.Bytes == 0 {
		l.Bytes = 256 << 30
	}
	if l.Capture == 0 {
		l.Capture = 512 << 20
	}
	return l
}

// Usage is what several layers have together of Limits.Entries, Names and Implied.
type Usage struct {
	entries, names, implied atomic.Int64
}

// Add adds a layer that was read before. Its names count as if its entries were all that it has.
func (u *Usage) Add(l *Layer, limits Limits) error {
	limits = limits.orDefault()
	size := int64(0)
	for i := range l.Entries {
		e := &l.Entries[i]
		size += int64(len(e.Path) + len(e.Link) + len(e.Extra))
	}
	switch {
	case u.entries.Add(int64(len(l.Entries)+len(l.Removed)+len(l.Opaque))) > int64(limits.Entries):
		return &LimitError{What: "entries", Max: int64(limits.Entries), Layers: true}
	case u.names.Add(size) > limits.Names:
		return &LimitError{What: "bytes in the names of entries", Max: limits.Names, Layers: true}
	}
	return nil
}

// LimitError reports that a layer, or layers with the same Usage, are larger than any image needs.
type LimitError struct {
	What   string // such as "entries" or "bytes"
	Max    int64
	Layers bool // Max is for several layers together
}

// Error implements error.
func (e *LimitError) Error() string {
	if e.Layers {
		return fmt.Sprintf("the layers together have more than %d %s", e.Max, e.What)
	}
	return fmt.Sprintf("the layer has more than %d %s", e.Max, e.What)
}

// clean returns the path in the image for the name of a tar entry: without a leading
// slash or dots, "" for the root.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// Names by which a layer removes files, from the OCI image specification.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)
