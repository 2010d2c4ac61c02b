// Package faults injects faults into real runs of kolla-build, with a real BuildKit, a
// real registry and a real mirror, and checks that nothing is lost. It contains tests
// only, which docs/faults.md describes, and must not know how the program works inside.
//
// `make test` runs a dozen faults of each kind, `make test-faults` many more.
// Every run prints its seed:
//
//	KOLLA_FAULTS_SEED=N   injects the same faults again
//	KOLLA_FAULTS=N        faults of each kind, 12 by default
//	KOLLA_FAULTS_CLOCK=1  wrong clocks with a program whose clock is wrong
package faults
