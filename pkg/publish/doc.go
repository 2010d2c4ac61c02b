// Package publish owns which tags a set of images gets, in a registry and in the
// store: all of the set's or none, and which older sets are removed afterwards.
// It must not know how images are built, nor the registry protocol.
package publish
