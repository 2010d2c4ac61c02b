// Package faults disturbs real runs of kolla-build, with a real BuildKit, a real
// registry and a real mirror, and checks that nothing is lost by it. It holds
// tests alone; docs/faults.md has what they are about.
//
// `make test` runs a dozen faults of each kind, `make test-faults` many more.
// Every run prints its seed:
//
//	KOLLA_FAULTS_SEED=N   draws the same faults again
//	KOLLA_FAULTS=N        faults of each kind, 12 by default
//	KOLLA_FAULTS_CLOCK=1  wrong clocks by a program whose clock is wrong
package faults
