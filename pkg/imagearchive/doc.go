// Package imagearchive reads image archives in the formats of docker save, and
// stores their images. It owns these formats and their limits; it must not know
// bundles, commands, or how an archive was opened.
//
// The formats are
//
//	repositories, ID/json, ID/layer.tar              Docker before 1.10
//	manifest.json, HEX.json, ID/layer.tar            Docker 1.10 to 24; an ID/layer.tar may be a link to another
//	manifest.json, HEX.json, HEX.tar, ID/layer.tar   skopeo and Podman (docker-archive); each ID/layer.tar is a link
//	manifest.json, sha256:HEX, HEX.tar.gz            crane, Kaniko, Bazel
//
// Docker 25 and later writes an OCI layout, which is loaded as a bundle.
//
// An archive is read once, from front to back, so that it can come through a pipe. A layer is
// stored when it is read: gzip and zstd layers unchanged, others compressed by package compress, so
// that the same archive gives the same digests everywhere. The roles of layers and configs are only
// known at the end. A layer must have the diff ID that the config of its image lists.
//
// Archives are untrusted: names, links, sizes and digests are checked, and memory
// does not depend on the size of the archive.
package imagearchive
