package save

import "github.com/kolla-build/kolla-build/pkg/store"

// Summary describes a bundle that was saved.
type Summary struct {
	Images   []store.Entry // sorted by name
	Blobs    int           // each counted once
	Bytes    int64         // of the blobs, each counted once
	Required int           // blobs and images of the other side that a delta refers to
	Deltas   int           // layers that are carried as byte deltas
	Parts    []string      // the files, if it was split, parity parts last
	Parity   int           // how many of Parts are parity parts
	Extra    []string      // files in the directory it was saved to that do not belong to a bundle
	Kept     int64         // bytes that an interrupted save had written, of the file or all parts
	// DeltaBytes is the size of the byte deltas, DeltaLayers the size of their layers.
	DeltaBytes, DeltaLayers int64
}
