// Package graph holds the images of a tree and who stands on whom: parents from
// the rendered FROM lines, a deterministic order to build in, and the selection
// of images by names, as Kolla's kolla-build selects them.
//
// It owns the relations between images and nothing else. It must not know how a
// Dockerfile is rendered, what is in a registry or a store, or what a build is:
// what it needs from there is passed in as data or as a function. It uses the
// standard library only. A Graph never changes once made and may be used by
// several goroutines.
package graph
