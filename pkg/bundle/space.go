package bundle

import (
	"github.com/kolla-build/kolla-build/internal/disk"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// checkSpace returns an error if the file system of the store is too small for what the
// bundle has and the store has not.
func (l *loader) checkSpace() error {
	if l.st == nil || l.opts.NamesOnly {
		return nil
	}
	var need int64
	for _, f := range l.manifest.doc.Files {
		if d, isBlob := blobDigest(f.Name); (!isBlob || !l.st.HasBlob(d, f.Size)) && need+f.Size >= need {
			need += f.Size
		}
	}
	if _, free := disk.Space(l.st.Dir()); free > 0 && free < need {
		return &store.FullError{Path: l.st.Dir(), Need: need, Free: uint64(free)}
	}
	return nil
}

// tempDir returns the directory for temporary files.
func (l *loader) tempDir() string {
	if l.st == nil {
		return ""
	}
	return l.st.TempDir()
}
