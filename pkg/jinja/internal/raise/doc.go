// Package raise owns the exceptions of templates: they are raised as panics with
// an [Exception], as Python raises them, and reach the caller as an [Error] with
// the place in the template. It must not know values, syntax or rendering.
package raise
