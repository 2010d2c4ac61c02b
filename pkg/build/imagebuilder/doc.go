// Package imagebuilder builds the images of a plan with BuildKit into the store:
// it opens and replaces the builder, converts definitions onto stored parents,
// and records what was built. It must not know in which order images are built,
// or where they are published.
package imagebuilder
