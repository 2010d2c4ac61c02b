// Package packages owns the data of package managers: the packages of an image (dpkg,
// rpm and Python), the order of their versions, and the versions in the repositories
// that an image is configured for. It must not know stores, builders, plans or
// templates.
//
// Results per layer are cached by the layer's digest, because the images of a set share
// most of their layers. Images and repositories are untrusted: everything that is read
// from them has a limit, and unreadable data is an error.
package packages
