// Package runstate owns the state in the data directory that a run leaves for later
// runs besides its images: the record of the last run, and the components of keys. It
// must not know how images are selected, built or published.
package runstate
