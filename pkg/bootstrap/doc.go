// Package bootstrap owns base images that come from no registry: a minimal
// Debian or Ubuntu made from a package mirror with Debian's mmdebstrap, and
// root file systems, archives and layouts that the user has already.
//
// A bootstrapped image is like the official one of its distribution as far as
// Dockerfiles can tell: apt is there and its lists are not, no service starts
// when a package is installed, and apt's sources name the mirror that it was
// made from, with the updates and security suites that this mirror has. Unlike
// it, apt keeps what it downloads: a build mounts a cache there, and an image
// that empties it after each command would empty it for all.
//
// The same mirror state gives the same digest. No mirror's address is built in:
// it comes from the caller, or from the apt configuration of a host of the same
// distribution.
//
// Archives are taken for hostile: see Import. The package knows the store and
// bundles. It must not know templates, configuration files or builders.
package bootstrap
