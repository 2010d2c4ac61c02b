//go:build !race

package testenv

// Race reports whether the race detector is on, with which a program takes many times the
// memory.
const Race = false
