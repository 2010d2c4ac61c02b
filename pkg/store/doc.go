// Package store owns the local store: a directory in the form of an OCI image layout,
// with built and base images, each blob once.
//
//	DIR/oci-layout       the version of the layout
//	DIR/index.json       images by name and content key: the only file that changes
//	DIR/blobs/sha256/…   manifests, configs and layers, which never change
//	DIR/ingest/          blobs that a builder is writing (containerd's content store)
//	DIR/tmp/             other blobs and files that are being written
//	DIR/lock/            lock files
//	DIR/history.json     how long images took, for estimates
//	DIR/verified.json    times of verifications of blobs, so that they are not read again
//
// All tools for OCI layouts can read it: skopeo as oci:DIR:NAME, crane and
// go-containerregistry as a layout.
//
// # Durability
//
// A blob is written to a temporary file, verified against its digest, synced and
// renamed, so everything in blobs/ was complete when it was written. index.json is
// replaced in the same way, under a lock. A process that is killed leaves the store
// as it was after its last completed call; its temporary files are removed the next
// time that a process opens the store while no other has it open.
//
// Content keys are annotations in index.json, so that a name, its digest and the key
// change in one rename and cannot disagree. An image whose name was given to another
// image stays in the index under its key.
//
// GC selects blobs by references and locks, not by age, because clocks can be wrong.
//
// # Untrusted content
//
// Blobs can come from bundles and registries. Documents are parsed within the limits
// of package ocijson, and texts of an image that reach index.json contain no control
// characters.
//
// The package must not know templates, builders, registries or configuration.
package store
