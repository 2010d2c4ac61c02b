// Package delta restores a layer from an older one: a byte delta contains the changes of
// the layer's tar and the compressor of the layer, so that the restored layer has the
// same digest. It owns the format of byte deltas (docs/decisions/012-byte-deltas.md). It
// must not know bundles, registries, or which layer of an image replaces which.
//
// Memory is bounded at any size of a layer. A delta is untrusted input: its offsets and
// its expanded size are checked first.
package delta
