package value

// Func is a Go function for templates: a filter, a test or a global. The value a
// filter or test applies to is the first of the Args. What it returns is
// converted like a variable of [Template.Render]. An error ends the render and
// is found again by errors.Is and errors.As.
type Func func(*Call) (any, error)

// Call is one call of a [Func].
type Call struct {
	// Args are the positional arguments.
	Args []any
	// Kwargs are the keyword arguments, nil when there are none.
	Kwargs map[string]any

	fr   *Frame
	vars Variables // where Lookup looks
}

// Lookup returns a variable of the calling template's context, as Python's
// `context[name]` does for a function marked with pass_context: the variables of
// the render, the globals and what templates exported by a top-level set. The
// variables that a block sets are not seen by filters.
func (c *Call) Lookup(name string) (any, bool) {
	v := c.vars.Resolve(name)
	return v, v != Missing
}

// Items returns what a value gives when it is iterated over: a list's items, a
// dict's keys, the characters of a text, what a generator yields. It counts as
// work of the render. ok is false for what cannot be iterated over.
func (c *Call) Items(v any) (items []any, ok bool) {
	if IteratorOf(c.fr, v) == nil {
		return nil, false
	}
	return Collect(c.fr, v), true
}
