// Package method owns the attributes and items of values: the methods of Python's
// types, the rules of the sandbox, and str.format, which looks up attributes. It must
// not know filters, templates or how they run.
package method
