// Package resolve determines the variable of each name in a template, by the rules of
// Jinja2's identifier tracking. It must not know values, contexts or the code that is
// compiled from the result.
package resolve
