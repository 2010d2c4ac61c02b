// Package registry is a client of image registries: look-ups and pulls (Client), and
// the operations on one repository's tags, manifests and blobs (Repository).
//
// It owns the protocol: logins, retries, limits, and which registries may be spoken
// to in plain HTTP. It must not know the local store, what a set of images is
// (package push) or how a registry is run (package server). Digests are
// digest.Digest outside of this package, images are go-containerregistry's v1.Image.
//
// Errors on which a caller decides have types (NotFoundError, UnauthorizedError,
// UnreachableError and others), each with a Hint that says what the user can do.
package registry
