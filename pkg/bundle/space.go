package bundle

import (
	"io/fs"
	"strings"
	"syscall"

	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// checkFree returns an error if the file system of a directory is read-only or has too little
// free space. Free space that is not known is enough, and nothing is checked if nothing is required.
func checkFree(dir string, required int64) error {
	if required == 0 {
		return nil
	}
	if disk.ReadOnly(dir) {
		return &fs.PathError{Op: "write", Path: dir, Err: syscall.EROFS}
	}
	if total, free := disk.Space(dir); total > 0 && free >= 0 && free < required {
		return &store.FullError{Path: dir, Need: required, Free: uint64(free)}
	}
	return nil
}

// checkSpace returns an error if the file system of the store is too small for the
// blobs that only the bundle has.
func (l *loader) checkSpace() error {
	if l.st == nil || l.opts.NamesOnly {
		return nil
	}
	var required int64
	for _, f := range l.manifest.doc.Files {
		if d, isBlob := blobDigest(f.Name); isBlob && !l.st.HasBlob(d, f.Size) && required+f.Size >= required {
			required += f.Size
		}
	}
	return checkFree(l.st.Dir(), required)
}

// checkDeltaSpace is checkSpace for the layers that byte deltas make, whose sizes the manifests
// have. At least one base is in a temporary file, larger than it is compressed.
func (l *loader) checkDeltaSpace() error {
	if l.manifest.doc == nil {
		return nil
	}
	var required, base int64
	for _, f := range l.manifest.doc.Files {
		name, isDelta := strings.CutPrefix(f.Name, deltaDir+"/")
		if d, ok := blobDigest("blobs/" + name); isDelta && ok {
			if e, known := l.expected[d]; known && !l.st.HasBlob(d, e.size) && required+e.size >= required {
				required += e.size
			}
		}
	}
	if required == 0 {
		return nil // no base is needed
	}
	for _, size := range l.deltaBases {
		base = max(base, size)
	}
	return checkFree(l.st.Dir(), required+base)
}

// tempDir returns the directory for temporary files.
func (l *loader) tempDir() string {
	if l.st == nil {
		return ""
	}
	return l.st.TempDir()
}
