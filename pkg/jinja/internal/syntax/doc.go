// Package syntax turns the source of a template into a syntax tree, and accepts
// what Jinja2's own lexer and parser accept. It must not know values, names'
// meanings or how a tree runs.
package syntax
