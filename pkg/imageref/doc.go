// Package imageref owns the names of images: it parses and normalizes references
// (Ref), checks registries, namespaces, prefixes and tags, and composes the names
// of a set's images (Naming).
//
// It is built on github.com/distribution/reference, so that a name accepted here is
// accepted by Docker, containerd and BuildKit. It must not know registries' APIs,
// the store, templates or configuration.
package imageref
