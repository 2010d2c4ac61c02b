package value

// Func is a Go function for templates: a filter, a test or a global. The value that a
// filter or test is applied to is the first of the Args. The result is converted like
// a variable of a render. An error ends the render; errors.Is and errors.As find it in
// the error of the render.
type Func func(*Call) (any, error)

// Call is one call of a [Func].
type Call struct {
	// Args are the positional arguments.
	Args []any
	// Kwargs are the keyword arguments, nil when there are none.
	Kwargs map[string]any

	fr   *Frame
	vars Variables // for Lookup
}

// Lookup returns a variable of the calling template's context, as `context[name]` does
// in a Python function marked with pass_context: variables of the render, globals, and
// what templates set at their top level. Filters do not see the variables that a block
// sets.
func (c *Call) Lookup(name string) (any, bool) {
	v := c.vars.Resolve(name)
	return v, v != Missing
}

// Use notes that the function uses a value that may be undefined.
func (c *Call) Use(v any) { c.fr.UseUndefined(v) }

// Items returns the items that iteration over a value yields: the items of a list, the
// keys of a dict, the characters of a string. It counts against the limits of the
// render. ok is false for a value that is not iterable.
func (c *Call) Items(v any) (items []any, ok bool) {
	if IteratorOf(c.fr, v) == nil {
		return nil, false
	}
	return Collect(c.fr, v), true
}
