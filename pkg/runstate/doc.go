// Package runstate keeps in the data directory what a run leaves for later ones
// beside its images: the record of the last run, and what the keys of images were
// made of. It must not know how images are selected, built or published.
package runstate
