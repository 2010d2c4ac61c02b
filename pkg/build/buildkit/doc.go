// Package buildkit owns building with BuildKit: it converts rendered Dockerfiles to LLB
// in this process, connects to a buildkitd or starts one, and builds images in one
// session, from which each is exported to the local store. It must not know templates,
// configuration, registries or the order of images: it receives Dockerfiles with their
// contexts and returns digests.
package buildkit
