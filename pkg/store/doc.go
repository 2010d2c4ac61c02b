// Package store owns the local store: one directory, laid out as an OCI image
// layout, in which built and base images lie, each blob once.
//
//	DIR/oci-layout       the layout's version
//	DIR/index.json       images by name and by content key: the only file that changes
//	DIR/blobs/sha256/…   manifests, configs and layers, immutable once they are there
//	DIR/ingest/          blobs on their way in from a builder (containerd's content store)
//	DIR/tmp/             blobs and files on their way in from elsewhere
//	DIR/lock/            lock files, empty
//	DIR/history.json     how long images took: a help for estimates, nothing else
//
// Any tool that reads OCI layouts reads it: skopeo as oci:DIR:NAME, crane and
// go-containerregistry as a layout.
//
// # What survives what
//
// A blob is written beside, checked against its digest, synced and renamed, so
// that what lies under blobs/ is whole. index.json is replaced the same way,
// under a lock, so that a reader sees the old or the new one. A process that
// dies at any moment leaves the store as it was before its last finished call,
// and what it had begun is removed when the store is next opened by a process
// that has it to itself.
//
// Content keys are annotations in index.json, not a file of their own: a name,
// the digest it stands for and the key it was built from change in one rename,
// so that no crash can make them disagree. An image whose name has moved on
// stays in the index under its key alone.
//
// Nothing here trusts clocks: which blobs may go is decided by references and
// by locks, never by age alone.
//
// The package knows images, names and digests. It must not know templates,
// builders, registries or any other package of this module.
package store
