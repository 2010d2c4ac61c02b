// Package setcopy copies sets of images between registries, and gives a set in a
// registry new tags: all of them or none. It owns the syntax of a location in a
// registry and the search for its images. It must not know the local store, bundles or
// builds.
package setcopy
