// Package freshness owns the inputs of images that change outside their
// Dockerfiles: what package repositories offer and what ADD instructions
// download. It must not know how images are built or published.
//
// Only --refresh looks for changes; a change that was found counts in all later
// runs. It gives the image a salt, and the image, with its descendants, an
// effective key that differs from its content key.
package freshness
