// Package define turns the rendered Dockerfiles of a run into definitions with content
// keys. For that it resolves base images and sources to digests. It must not know
// earlier builds, how images are built, or where they are published.
package define
