// Package squash merges the layers that an image adds to its parent into one. The
// parent's layers stay, so that images still share them. Files that a later layer
// deletes or replaces are not in the result; files of the parent that are deleted stay
// deleted. The same layers give the same bytes.
//
// It owns the rules for merging layers: whiteouts, opaque directories and hard links.
// It must not know builders or registries: it reads a v1.Image and writes the new
// image's blobs through an interface.
package squash
