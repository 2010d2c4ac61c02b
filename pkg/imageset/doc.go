// Package imageset owns a configured template tree: the origin of its files, its
// rendered Dockerfiles for each platform, their graph, and the selection of images. It
// must not know stores, registries, builders, base images or sources.
package imageset
