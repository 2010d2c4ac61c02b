// Package facts owns data about base distributions and OpenStack releases: default
// tags, Python versions, users, sources and images that cannot be built. The facts are
// in files under data/, so that a new release is a new file; the package must not know
// options, templates or how the facts are used.
package facts
