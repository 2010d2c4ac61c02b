// Package facts owns what is known about base distributions and OpenStack releases:
// default tags, Python versions, users, sources and images that cannot be built. The
// facts are in the files under data/, so that a new release is a new file; the
// package must not know options, templates or what is done with the facts.
package facts
