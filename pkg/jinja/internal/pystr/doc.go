// Package pystr does to Go strings what Python's str does: letter case, character
// classes, splitting, repr, HTML escapes, wrapping. It must not know template
// values, limits or exceptions.
package pystr
