// Package offline owns runs whose inputs are recorded to a lock, and runs that build
// from the inputs of a lock without a network. It must not know the stages of a run: it
// provides the replacement for their network, and checks between them.
package offline
