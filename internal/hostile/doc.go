// Package hostile gives the program thousands of generated hostile inputs: bundles, tars,
// indexes, registries, git servers, templates, contexts and command lines. It runs the real
// program on each and checks that it never panics or hangs, uses a bounded amount of memory,
// writes no file outside its directories, leaves no process running, loses no undamaged blob,
// changes no name and accepts no foreign key.
//
// The generator is seeded: a failure prints the seed and the number of its case. KOLLA_HOSTILE
// is the number of cases, KOLLA_HOSTILE_SEED the seed, KOLLA_HOSTILE_CASE a single case.
// It must not know how the program works inside, except for the format of its store.
package hostile
