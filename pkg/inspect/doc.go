// Package inspect looks into stored images: what each layer adds, changes and
// removes, what the layers come to together, and what is in named files.
//
// It reads any v1.Image of go-containerregistry, from a store, a registry or a
// file, and trusts none of them: everything that an image can make large is
// bounded by Limits, and nothing is ever written to disk or followed outside of
// the image. Symbolic links are not followed within it either: a path is what a
// layer's tar calls it.
//
// The package knows layers and files. It must not know package managers, stores,
// registries or any other package of this module.
package inspect

import (
	"fmt"
	"path"
	"strings"
)

// Limits bound what one layer may hold. What goes beyond is a *LimitError.
type Limits struct {
	Entries int   // files, directories and links of a layer; 0 for 4 million
	Bytes   int64 // of a layer, uncompressed; 0 for 256 GiB
	Capture int64 // bytes of named files' content that are kept of a layer; 0 for 1 GiB
}

func (l Limits) orDefault() Limits {
	if l.Entries == 0 {
		l.Entries = 4 << 20
	}
	if l.Bytes == 0 {
		l.Bytes = 256 << 30
	}
	if l.Capture == 0 {
		l.Capture = 1 << 30
	}
	return l
}

// LimitError says that a layer is larger than anything that an image needs.
type LimitError struct {
	What string // "entries", "bytes" or "bytes of files' content"
	Max  int64
}

func (e *LimitError) Error() string {
	return fmt.Sprintf("the layer has more than %d %s", e.Max, e.What)
}

// clean is a tar entry's name as the image's path: without leading slash or
// dots, "" for the root.
func clean(name string) string {
	return strings.TrimPrefix(path.Clean("/"+name), "/")
}

// The OCI image specification's marks for what a layer takes away.
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)
