// Package build runs a plan: it starts images when their parents have finished, passes
// them to a builder and an uploader, retries, and emits events. It must not know any
// particular builder; its subpackages contain one.
package build
