// Package syntax turns the source of a template into a syntax tree, and accepts the
// same sources as Jinja2's lexer and parser. It must not know values, the meaning of
// names or how a tree is run.
package syntax
