// Package jinja is a Jinja2 3.1 template engine in pure Go.
//
// It owns environments, loading, compiling, rendering and errors. It must not know
// Kolla, Dockerfiles or the file system; a caller provides a [Loader] and the filters
// and functions of its templates.
//
//	env := jinja.New(jinja.Config{Loader: jinja.Map{"hi.j2": "Hi {{ name }}"}})
//	tmpl, err := env.Template("hi.j2")
//	if err != nil { ... }
//	text, err := tmpl.Render(ctx, map[string]any{"name": "you"})
//
// # Compatibility
//
// The reference is Jinja2 3.1 in its sandboxed environment, run by Python 3.11. The
// output is the same to the byte, and where the original raises an exception, this
// package returns an error of the same [Kind]. Two differences are intended, because
// renders run concurrently: a module imported without context is evaluated once per
// render, not once per process, and Go containers given as globals are converted
// for each render, so that no render sees the changes of another.
//
// These parts of Python are missing: complex numbers (a negative number to a
// fractional power is an error), lone surrogates in strings (they become U+FFFD),
// bounds of range() beyond 64 bits, attributes of the classes cycler, joiner and
// namespace, subscripts of classes such as dict['x'], the order of the members of a
// set, and the attributes of a template object other than name, filename and module.
// Where Python runs out of memory or time, the [Limits] end a render first.
//
// Go maps have no order, and templates see them sorted by their keys. Use a [Dict]
// where the order matters.
//
// # Packages
//
// Package syntax parses a source, package resolve finds the variables that names
// mean, and this package compiles the tree to Go closures over numbered variable
// slots (compile*.go). The closures work on the values of package value with the
// operators, methods, filters and tests of the packages operator, method and
// builtin. An error is a panic with a *raise.Exception, as in text/template; every
// exported function that can fail recovers it and returns an [*Error].
package jinja
