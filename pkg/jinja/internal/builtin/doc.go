// Package builtin owns the filters, tests and globals that every template has. It
// must not know syntax, loaders or how templates run.
package builtin
