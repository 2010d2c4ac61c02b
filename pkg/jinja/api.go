package jinja

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Values of templates that Go code creates and reads.
type (
	// List is Python's list. It is shared by all names that are bound to it.
	List = value.List
	// Dict is Python's dict. It keeps the order of insertion, and is shared by all
	// names that are bound to it.
	Dict = value.Dict
	// Tuple is Python's tuple.
	Tuple = value.Tuple
	// Markup is text that needs no escaping for HTML.
	Markup = value.Markup
	// Undefined is the value of a name, attribute or item that does not exist.
	Undefined = value.Undefined
	// Func is a Go function for templates: a filter, a test or a global.
	Func = value.Func
	// Call is one call of a [Func].
	Call = value.Call
)

// NewList returns a list of the items.
func NewList(items ...any) *List { return value.NewList(items...) }

// NewDict returns an empty dict.
func NewDict() *Dict { return value.NewDict() }

// IsUndefined reports whether v is undefined.
func IsUndefined(v any) bool { return value.IsUndefined(v) }

// UndefinedMode selects the behaviour of unknown names.
type UndefinedMode = value.UndefinedMode

// The modes, as Jinja2's classes Undefined, StrictUndefined and ChainableUndefined.
const (
	// Default prints as nothing and is false and empty; every other use is an error.
	Default = value.Default
	// Strict is an error on every use but the tests "defined" and "undefined".
	Strict = value.Strict
	// Chainable is like Default, and its attributes and items are undefined too.
	Chainable = value.Chainable
)

// Limits bound the resources of one render.
type Limits = value.Limits

// Error is a template error with its place. Every error that this package returns for
// a template is one, or wraps one.
type Error = raise.Error

// Frame is one step of the chain that led to an error.
type Frame = raise.Frame

// Kind classifies an [Error].
type Kind = raise.Kind

// The kinds of errors.
const (
	// KindSyntax is a template that does not parse or compile.
	KindSyntax = raise.KindSyntax
	// KindUndefined is the use of an undefined value.
	KindUndefined = raise.KindUndefined
	// KindNotFound is a template that the loader does not have.
	KindNotFound = raise.KindNotFound
	// KindSecurity is an access that the sandbox refuses.
	KindSecurity = raise.KindSecurity
	// KindCanceled is a render whose context was canceled or passed its deadline.
	KindCanceled = raise.KindCanceled
	// KindLimit is an exceeded limit of [Limits].
	KindLimit = raise.KindLimit
	// KindRuntime is any other error: wrong types, wrong arguments, errors of Go
	// functions.
	KindRuntime = raise.KindRuntime
)
