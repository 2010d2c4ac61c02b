// Package delta makes a layer from an older one: a byte delta has what is new in the
// layer's tar, and how the tar was compressed, so that the layer comes out with the same
// digest. It owns the format of byte deltas (docs/decisions/012-byte-deltas.md). It must
// not know bundles, registries, or which layer of an image replaces which.
//
// Memory is bounded at any size of a layer. A delta is untrusted input: where it
// refers to, and how much it expands to, is checked before it is done.
package delta
