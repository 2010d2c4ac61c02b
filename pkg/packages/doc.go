// Package packages knows what package managers know: which packages an image
// holds (dpkg, rpm and Python's own), how versions compare, and which versions
// the repositories that an image is configured for offer.
//
// What a layer says about packages is read once and kept by the layer's digest,
// so that the images of a set, which share most of their layers, are asked at
// the price of what is new in them. Images and repositories are untrusted: what
// is read of them is bounded, and what cannot be read is an error and no panic.
//
// The package must not know stores, builders, plans or templates.
package packages
