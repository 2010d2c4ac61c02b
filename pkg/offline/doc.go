// Package offline owns runs whose inputs are recorded to a lock, and runs that build
// from the inputs of a lock without a network. It must not know the stages of a run:
// it provides what they use instead of a network, and the checks between them.
package offline
