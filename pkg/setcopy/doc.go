// Package setcopy copies sets of images between registries, and gives a set in a
// registry new tags: all of them or none. It owns how a set in a registry is named on
// the command line and found. It must not know the local store, bundles or builds.
package setcopy
