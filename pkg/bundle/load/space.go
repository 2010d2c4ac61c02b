package load

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/bundle"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// checkSpace returns an error if the file system of the store is too small for the
// blobs that only the bundle has.
func (l *loader) checkSpace() error {
	if l.st == nil || l.opts.NamesOnly {
		return nil
	}
	var required int64
	for _, f := range l.manifest.Manifest.Files {
		if d, isBlob := bundle.BlobDigest(f.Name); isBlob && !l.st.HasBlob(d, f.Size) && required+f.Size >= required {
			required += f.Size
		}
	}
	return store.CheckFree(l.st.Dir(), required)
}

// checkDeltaSpace is checkSpace for the layers that byte deltas make, whose sizes the manifests
// have. At least one base is in a temporary file, larger than it is compressed.
func (l *loader) checkDeltaSpace() error {
	if l.manifest.Manifest == nil {
		return nil
	}
	var required, base int64
	for _, f := range l.manifest.Manifest.Files {
		name, isDelta := strings.CutPrefix(f.Name, bundle.DeltaDir+"/")
		if d, ok := bundle.BlobDigest("blobs/" + name); isDelta && ok {
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
	return store.CheckFree(l.st.Dir(), required+base)
}

// tempDir returns the directory for temporary files.
func (l *loader) tempDir() string {
	if l.st == nil {
		return ""
	}
	return l.st.TempDir()
}
