// Package bundle owns bundles: sets of images as one file, for transport. A bundle
// is a tar in the form of an OCI image layout, with each blob once.
//
//	oci-layout
//	kolla-bundle.json  the manifest: images, and size and digest of all other files
//	kolla-bundle.sig   its signature, if the bundle is signed
//	index.json         names, digests and content keys of the images
//	manifest.json      the same for docker load before version 25
//	blobs/sha256/…     manifests and configs first, then layers, each group sorted
//
// The same images, options and version give the same bytes, whoever saves them. Other tools can read the
// file: skopeo as oci-archive:FILE:NAME, ctr image import, docker load.
//
// Load treats a bundle as hostile: names, types, sizes and digests are checked before any image
// appears in the store, memory is bounded, and claims of the index about its images are used only
// if the user trusts it. The tar is read once, from front to back, so that it can come through a
// pipe.
//
// The package must not know registries, builders, or what images are for.
package bundle
