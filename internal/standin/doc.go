// Package standin owns small stand-ins for what builds fetch from outside: a
// Debian and an RPM repository, a Python package index, source tarballs, files,
// all on one HTTP server on this machine. Real apt, dpkg, dnf, pip and BuildKit work
// with them; only the content is made up: packages that are empty but for what
// later steps touch, and projects that install and print their version.
//
// With it a test runs our real templates to the end where the distribution's
// own mirror, PyPI and the source archives are not to be had.
//
// The server gives the same bytes for the same path as long as it lives, as
// the builder's caches expect. The package is for tests and knows nothing of
// ours: not the templates, not the configuration, not the builder.
package standin
