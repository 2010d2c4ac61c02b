// Package value owns Python's values as templates see them: types, conversion from Go,
// truth, comparison, hashing, iteration, subscripts, text, calls, and the limits that
// operations count against. It must not know the methods of values, the built-in
// filters, syntax, or how templates run: it knows running code as a [Code], and values
// of other packages' types as an [Object].
package value
