// Package remoteset makes a set of images in a registry the source of a bundle: manifests
// are read when it is opened, everything else while the bundle is written, without storing
// it. It must not know the local store's files or the format of bundles.
package remoteset
