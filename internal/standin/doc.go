// Package standin owns local replacements for what builds download: a Debian and an
// RPM repository, a Python package index, source tarballs and files, on an HTTP
// server on this machine. It is for tests and must not know our templates,
// configuration or builder.
//
// The real apt, dpkg, dnf, pip and BuildKit work with them. Only the content is
// generated: packages that have the files which later steps use, and projects that
// can be installed and print their version. So tests can build with our real
// templates where the mirrors of the distribution, PyPI and source archives cannot
// be reached.
//
// While the server runs, a path always has the same content, as the caches of
// builders expect.
package standin
