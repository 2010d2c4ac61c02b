// Package buildkit is the one package that knows BuildKit. It turns rendered
// Dockerfiles into LLB in-process, with children spliced onto their parents'
// state, finds or starts a buildkitd, and builds images in one session,
// exporting each into the local store.
//
// It must not know templates, configuration, registries or how images are
// ordered: it is handed Dockerfiles and contexts, and hands back digests.
package buildkit
