// Package bundle owns the format of bundles: sets of images as one file, for transport. A bundle
// is a tar in the form of an OCI image layout, with each blob once.
//
//	oci-layout
//	kolla-bundle.json  the manifest: images, and size and digest of all other files
//	kolla-bundle.sig   its signature, if the bundle is signed
//	index.json         names, digests and content keys of the images
//	manifest.json      the same for docker load before version 25
//	blobs/sha256/…     manifests and configs first, then layers, each group sorted
//
// A delta has delta.json, the list of the blobs that the other side must have, in place of
// manifest.json, and byte deltas in deltas/sha256/.
//
// The same images, options and version give the same bytes, whoever saves them. Other tools can read the
// file: skopeo as oci-archive:FILE:NAME, ctr image import, docker load.
//
// The package parses the documents of a bundle within limits, follows the references between its blobs, and
// makes the bytes of the tar around the contents of its files, from which verify knows where they are. It
// must not know how bundles are opened (package reader), where their content comes from or goes to (save,
// load), or what is reported about them (verify, contents).
package bundle
