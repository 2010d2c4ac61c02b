package load

import "github.com/kolla-build/kolla-build/pkg/store"

// Summary describes what was loaded.
type Summary struct {
	Images   []store.Entry // sorted by name
	Blobs    int           // each counted once
	Bytes    int64         // of the blobs, each counted once
	Reused   int           // blobs that the store had
	Repaired int           // blobs that were damaged in the store
	Required int           // blobs and images that deltas refer to
	Deltas   int           // layers that came as byte deltas
	Restored []string      // a line for each part that was missing or damaged
	Signed   bool          // the signature was verified
	Renamed  []bool        // of each of Options.Renames, whether it changed a name
	Partial  []Partial     // images of which the file has only some platforms
	// DeltaBytes is the size of the byte deltas, DeltaLayers the size of their layers.
	DeltaBytes, DeltaLayers int64
}
