// Package bundle owns images as one file, for transport: a tar that is an OCI
// image layout, each blob once.
//
//	oci-layout
//	index.json         names, keys and digests of all images, so that listing reads little
//	manifest.json      the same for docker load, which knew no OCI layout before version 25
//	blobs/sha256/…     manifests and configs first, then layers, each group sorted
//
// The same images make the same bytes, whoever saves them and when. Other
// tools read the file as it is: skopeo as oci-archive:FILE:NAME, ctr image
// import, docker load.
//
// What Load reads is taken for hostile: names, types, sizes and digests are
// checked before anything of it is visible in the store, and memory is bounded
// whatever the file says. It reads the tar once, front to back, so that it can
// come through a pipe.
//
// The package knows the store and tars. It must not know registries, builders,
// or what an image is for.
package bundle
