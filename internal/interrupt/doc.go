// Package interrupt interrupts real runs of load, load --push and copy: it kills them,
// presses Ctrl-C, fills file systems and takes media away, and repeats each run. It contains
// tests only.
//
// Each time, no name and no tag may have changed before all content was there, and after the
// repetition the data directory and the registry must be what an undisturbed run makes, with
// nothing left over. `make test` interrupts a few runs, `make test-bundles` hundreds:
// KOLLA_TEST_INTERRUPTIONS is the number for each of the three.
package interrupt
