// Package jinja is a Jinja2 3.1 template engine in pure Go.
//
// It owns the template language: lexer, parser, name resolution, evaluator,
// Python's values as templates see them, the built-in filters, tests and
// globals, the sandbox and located errors. It knows nothing of Kolla, of
// Dockerfiles or of the file tree around it; a caller brings a [Loader] and
// whatever filters and functions its templates need.
//
//	env := jinja.New(jinja.Config{Loader: jinja.Map{"hi.j2": "Hi {{ name }}"}})
//	tmpl, err := env.Template("hi.j2")
//	if err != nil { ... }
//	text, err := tmpl.Render(ctx, map[string]any{"name": "you"})
//
// The reference is Jinja2 3.1 in its sandboxed environment, run by Python 3.11:
// output is meant to be the same to the byte, and where the original raises, so
// does this package, with the same [Kind] of error. Two deliberate differences
// serve concurrent use: a module imported without context is evaluated once per
// render, not once per process, and Go containers given as globals are
// converted afresh for each render, so that one render never sees another's
// mutations.
//
// What Python has and this package has not: complex numbers (a negative number to
// a fractional power is an error), lone surrogates in strings (they become U+FFFD),
// bounds of range() beyond 64 bits, attributes of the classes cycler, joiner and
// namespace, subscripts of classes such as dict['x'], the order of a set's members,
// and of a template object's attributes all but name, filename and module. Where
// Python runs out of memory or time, the [Limits] end a render first.
//
// Go maps have no order, and templates see them sorted by their keys. Use a
// [Dict] where the order matters.
//
// # How it works
//
// A source is lexed (lexer.go), parsed to a tree (parser*.go, ast.go), its names
// are tracked the way Jinja2 tracks identifiers (symbols.go), and the tree is
// compiled to Go closures over numbered variable slots (compile*.go). Inside the
// evaluator an error is a panic with a *raised value, as in text/template; every
// exported entry point recovers it and returns an [*Error].
package jinja
