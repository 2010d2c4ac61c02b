// Package graph owns the relations between the images of a tree: parents from the
// rendered FROM lines, a deterministic build order, and the selection of images by
// name, as Kolla's kolla-build selects them. It must not know how Dockerfiles are
// rendered, stores, registries or builds: information about them is passed in as data
// or functions.
//
// Apart from shared internal packages it uses the standard library only. A Graph
// does not change and may be used by several goroutines.
package graph
