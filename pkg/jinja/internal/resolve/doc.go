// Package resolve finds out which variable each name of a template means, by the
// rules of Jinja2's identifier tracking. It must not know values, contexts or the
// code that is compiled from the result.
package resolve
