// Package imageset owns a configured template tree: where its files come from,
// its rendered Dockerfiles for each platform, their graph, and which images are
// selected. It must not know stores, registries, builders or what the images
// will be made of.
package imageset
