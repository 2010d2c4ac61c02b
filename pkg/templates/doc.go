// Package templates owns the commands that need only rendered templates: lint, render,
// --template-only, and the lists of images and their dependencies. It must not know the
// stages of a run, the store or the builder.
package templates
