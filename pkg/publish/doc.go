// Package publish owns the tags of a set of images, in a registry and in the store,
// which change together or not at all, and the removal of older sets. It must not know
// how images are built, nor the registry protocol.
package publish
