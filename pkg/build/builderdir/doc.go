// Package builderdir owns the files of a builder on this machine: the lock of its state
// directory, the directory of its socket, and what a killed builder has left in them and
// outside: mounts, processes, and files that are not on disk yet. It must not know BuildKit's
// interface or what is built.
package builderdir
