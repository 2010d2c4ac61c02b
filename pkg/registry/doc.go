// Package registry is a client of image registries: look-ups and pulls (Client), and
// the operations on one repository's tags, manifests and blobs (Repository).
//
// It owns the protocol: logins, retries, limits, and the use of plain HTTP. It must not
// know the local store, sets of images (package push) or the embedded registry (package
// server). Digests are digest.Digest outside of this package, images are
// go-containerregistry's v1.Image.
//
// Errors that callers handle have types (NotFoundError, UnauthorizedError,
// UnreachableError and others), each with a Hint for the user.
package registry
