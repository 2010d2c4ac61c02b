// Package dockerfiles holds the template tree that kolla-build has with it:
// directories with a Dockerfile.j2 each and the files that it copies, the
// macros they share and the repositories that they name (repos.yaml).
//
// It knows nothing of rendering or building. Embedding loses executable bits,
// so templates set the mode of what they copy.
package dockerfiles

import (
	"embed"
	"io/fs"
)

//go:embed all:*
var tree embed.FS

// Tree returns the embedded template tree. Its root has macros.j2, repos.yaml
// and the images' directories, as Kolla's docker/ directory has.
func Tree() fs.FS {
	return tree
}
