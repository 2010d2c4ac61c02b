// Package interrupt interrupts real runs of load, load --push and copy: it kills them, sends
// the signal of Ctrl-C, fills file systems and removes media, and repeats each run. It
// contains tests only and must not know how the commands work inside.
//
// Names and tags may change only when all content is there, and after the repetition the
// data directory and the registry must be equal to those of an undisturbed run, without
// leftover files. `make test` interrupts a few runs, `make test-bundles` hundreds:
// INTERRUPTIONS is the number for each of the commands that ONLY names.
package interrupt
