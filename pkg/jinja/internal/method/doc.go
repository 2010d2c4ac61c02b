// Package method owns the attributes and items of values: the methods of Python's
// types, what the sandbox refuses, and str.format, which looks attributes up. It
// must not know filters, templates or how they run.
package method
