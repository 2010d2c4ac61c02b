// Package freshness owns the inputs of images that change outside their Dockerfiles:
// packages in repositories and files that ADD instructions download. It must not know
// how images are built or published.
//
// Only --refresh looks for changes; a change that was found affects all later runs. It
// gives the image a salt, and the image and its descendants effective keys that differ
// from their content keys.
package freshness
