// Package define turns the rendered Dockerfiles of a run into definitions with
// content keys, for which it resolves base images to images in the store and
// sources to archives, by digest. It must not know what was built before, how
// images are built, or where they are published.
package define
