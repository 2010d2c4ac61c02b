// Package server is the embedded registry that "kolla-build registry serve" runs: the
// CNCF distribution on file storage, with defaults for one host.
//
// It owns the listener, the storage directory and garbage collection (Start,
// GarbageCollect), and is the only package that imports the distribution, whose logger is
// global. It must not know the client (package registry), images or configuration.
package server
