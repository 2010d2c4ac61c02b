// Package bootstrap owns base images that do not come from a registry: minimal Debian
// and Ubuntu images created from a package mirror with mmdebstrap, and imported root
// file systems, image archives and OCI layouts. It must not know templates,
// configuration files or builders.
//
// To a Dockerfile, a bootstrapped image looks like the official one: apt has no lists,
// no service starts when a package is installed, and the sources of apt are the mirror
// with its updates and security suites. The difference is that apt keeps downloaded
// packages: builds share a cache of them, which would otherwise be emptied after each
// command.
//
// The same state of a mirror gives the same digest. No mirror is built in: its
// address comes from the caller or from apt on a host of the same distribution.
// Archives are untrusted, see Import.
package bootstrap
