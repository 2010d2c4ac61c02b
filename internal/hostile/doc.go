// Package hostile gives the program thousands of generated hostile inputs: bundles, tars,
// indexes, registries, git servers, SSH agents, templates, contexts, large files, environments and
// command lines. It runs the real program on each and checks that it never panics or hangs, uses a
// bounded amount of memory, writes no file outside its directories, leaves no process running, loses
// no undamaged blob, changes no name and accepts no foreign key.
//
// The generator is seeded: a failure prints the seed and the number of its case. KOLLA_HOSTILE
// is the number of cases, KOLLA_HOSTILE_SEED the seed, KOLLA_HOSTILE_CASE a single case, and
// KOLLA_HOSTILE_KIND the kind of all inputs of readers.
// It must not know how the program works inside, except for the format of its store.
package hostile
