// Package packages owns what package managers know: which packages an image has
// (dpkg, rpm and Python), how their versions compare, and which versions the
// repositories configured in an image offer. It must not know stores, builders,
// plans or templates.
//
// Results per layer are cached by the layer's digest, because the images of a set
// share most of their layers. Images and repositories are untrusted: everything
// read from them has a limit, and what cannot be read is an error.
package packages
