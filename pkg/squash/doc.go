// Package squash makes one layer of the layers that an image adds to its parent.
// The parent's layers stay as they are, so that images still share them. What a
// later layer deletes or writes again is not in the result; what it deletes of
// the parent's is deleted there too.
//
// It owns the rules by which layers lie over each other (whiteouts, opaque
// directories, hard links). It knows no builder and no registry: it reads a
// v1.Image and hands the new one's blobs to a writer.
//
// The same layers give the same bytes.
package squash
