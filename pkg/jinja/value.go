package jinja

import (
	"math/big"
	"sort"
	"strings"
)

// The values of templates are Go values of these types:
//
//	None      nil            bool     bool       int    int64, *big.Int
//	float     float64        str      string     Markup Markup
//	list      *List          dict     *Dict      tuple  Tuple
//	undefined *Undefined     template *Template
//
// and opaque ones: functions, macros, modules, iterators, ranges, views.

// List is Python's list: every name bound to it sees its changes.
type List struct{ Items []any }

// NewList makes a list of the items.
func NewList(items ...any) *List { return &List{Items: items} }

// Tuple is Python's tuple.
type Tuple []any

// Markup is text that needs no more escaping for HTML.
type Markup string

// Undefined is the value of a name, attribute or item that is not there. It is
// not None: nil is.
type Undefined struct {
	hint string // the whole message, if set
	obj  any    // what was asked, if hasObj
	name any    // what it was asked for

	hasObj   bool
	security bool // using it is a SecurityError
	mode     UndefinedMode
}

// newUndefined makes an undefined value whose use is an error with a message.
func newUndefined(mode UndefinedMode, message string) *Undefined {
	return &Undefined{hint: message, mode: mode}
}

// undefinedName is the value of an unknown name.
func undefinedName(mode UndefinedMode, name string) *Undefined {
	return &Undefined{name: name, mode: mode}
}

// undefinedElement is the value of an attribute or item that an object lacks.
func undefinedElement(mode UndefinedMode, obj, name any) *Undefined {
	return &Undefined{obj: obj, hasObj: true, name: name, mode: mode}
}

// unsafeElement is the value of an attribute that the sandbox refuses.
func unsafeElement(mode UndefinedMode, obj any, attr string) *Undefined {
	return &Undefined{
		hint: "access to attribute " + repr(attr) + " of " + repr(typeName(obj)) + " object is unsafe.",
		obj:  obj, hasObj: true, name: attr, security: true, mode: mode,
	}
}

// element is the object and the attribute or item of it that is undefined.
func (u *Undefined) element() (obj, name any) { return u.obj, u.name }

// Mode is the mode of the environment that made the value.
func (u *Undefined) Mode() UndefinedMode { return u.mode }

// IsUndefined reports whether v is undefined.
func IsUndefined(v any) bool {
	_, ok := v.(*Undefined)
	return ok
}

// Message says what is undefined, as the error of using it would.
func (u *Undefined) Message() string {
	if u.hint != "" {
		return u.hint
	}
	if !u.hasObj {
		return repr(u.name) + " is undefined"
	}
	if s, ok := u.name.(string); ok {
		return repr(objectTypeRepr(u.obj)) + " has no attribute " + repr(s)
	}
	return objectTypeRepr(u.obj) + " has no element " + repr(u.name)
}

// raiseUndefined raises the error of using an undefined value.
func raiseUndefined(u *Undefined) {
	r := &raised{class: "UndefinedError", kind: KindUndefined, msg: u.Message()}
	if u.security {
		r.class, r.kind = "SecurityError", KindSecurity
	} else if u.hasObj {
		r.of = u
	} else if u.hint == "" {
		r.name, _ = u.name.(string)
	}
	panic(r)
}

// missing marks a variable that has no value; it leaks into templates in the few
// places where Jinja2's own marker does.
var missing any = &missingType{"missing"}

type missingType struct{ name string }

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

	fr   *vframe
	vars variables // where Lookup looks
}

// Lookup returns a variable of the calling template's context, as Python's
// `context[name]` does for a function marked with pass_context: the variables of
// the render, the globals and what templates exported by a top-level set. The
// variables that a block sets are not seen by filters.
func (c *Call) Lookup(name string) (any, bool) {
	v := c.vars.resolve(name)
	return v, v != missing
}

// Items returns what a value gives when it is iterated over: a list's items, a
// dict's keys, the characters of a text, what a generator yields. It counts as
// work of the render. ok is false for what cannot be iterated over.
func (c *Call) Items(v any) (items []any, ok bool) {
	if iterableOf(c.fr, v) == nil {
		return nil, false
	}
	return collect(c.fr, v), true
}

// Template returns the name of the calling template.
func (c *Call) Template() string { return c.fr.code.templateName() }

// rangeValue is Python's range.
type rangeValue struct{ start, stop, step int64 }

func (r *rangeValue) len() int64 {
	switch {
	case r.step > 0 && r.start < r.stop:
		return (r.stop-r.start-1)/r.step + 1
	case r.step < 0 && r.start > r.stop:
		return (r.start-r.stop-1)/(-r.step) + 1
	}
	return 0
}

func (r *rangeValue) at(i int64) int64 { return r.start + i*r.step }

// namespaceValue is Jinja2's namespace().
type namespaceValue struct{ attrs *Dict }

// typeName is the name of a value's class.
func typeName(v any) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64, *big.Int:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case Markup:
		return "Markup"
	case *List:
		return "list"
	case Tuple, *groupTuple:
		if _, ok := v.(*groupTuple); ok {
			return "_GroupTuple"
		}
		return "tuple"
	case *Dict:
		return "dict"
	case *Undefined:
		return [...]string{"Undefined", "StrictUndefined", "ChainableUndefined"}[v.mode]
	case *rangeValue:
		return "range"
	case *dictView:
		return v.kind.typeName()
	case *iterObj:
		return v.typeName
	case *namespaceValue:
		return "Namespace"
	case *callable:
		return v.typeName()
	case object:
		return v.Class().name
	case bytesValue:
		return "bytes"
	case *setValue:
		return "set"
	case *missingType:
		return "MissingType"
	}
	return "object"
}

// objectTypeRepr is how Jinja2 names a value in messages about undefined ones.
func objectTypeRepr(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case *Undefined, *namespaceValue:
		return "jinja2.runtime." + typeName(v) + " object"
	case object:
		if c := v.Class(); c.module != "" {
			return c.module + "." + c.name + " object"
		}
	case Markup:
		return "markupsafe.Markup object"
	}
	return typeName(v) + " object"
}

// lazyValue is a Go container that becomes a template value when it is first
// looked at. All contexts of a render share it, so that all see one value.
type lazyValue struct {
	raw  any
	val  any
	done bool
}

func (l *lazyValue) get() any {
	if !l.done {
		l.val, l.done = convert(l.raw), true
	}
	return l.val
}

// goShared marks a Go container in the globals, which each render converts for itself.
type goShared struct{ raw any }

// box prepares a global: containers stay as they are until a render converts them.
func box(v any) any {
	if isContainer(v) {
		return goShared{v}
	}
	return convert(v)
}

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, map[string]string, []any, []string, []map[string]any, map[string]map[string]any, map[string][]string:
		return true
	}
	return isReflectContainer(v)
}

// convert turns a Go value into a template's. Maps are read in sorted order of
// their keys. What it does not know stays an opaque object.
func convert(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, Markup, *List, *Dict, *Undefined, *callable, object:
		return v
	case int:
		return int64(v)
	case Tuple:
		out := make(Tuple, len(v))
		for i := range v {
			out[i] = convert(v[i])
		}
		return out
	case *big.Int:
		return normBig(new(big.Int).Set(v))
	case []any:
		l := &List{Items: make([]any, len(v))}
		for i := range v {
			l.Items[i] = convert(v[i])
		}
		return l
	case []string:
		l := &List{Items: make([]any, len(v))}
		for i := range v {
			l.Items[i] = v[i]
		}
		return l
	case map[string]any:
		return convertMap(v, convert)
	case map[string]string:
		return convertMap(v, func(s string) any { return s })
	case goShared:
		return convert(v.raw)
	}
	if f, ok := asFunc(v); ok {
		return goCallable("function", f)
	}
	return convertReflect(v)
}

func convertMap[V any](m map[string]V, conv func(V) any) *Dict {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	d := newDict(len(keys))
	for _, k := range keys {
		d.setStr(k, conv(m[k]))
	}
	return d
}

// asFunc recognizes the spellings of a Go function.
func asFunc(v any) (Func, bool) {
	switch f := v.(type) {
	case Func:
		return f, f != nil
	case func(*Call) (any, error):
		return f, f != nil
	}
	return nil, false
}

// asStr returns the text of a str or a Markup.
func asStr(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case Markup:
		return string(v), true
	}
	return "", false
}

// suggest returns a hint naming the candidate nearest to name, or "".
func suggest(name string, candidates []string) string {
	best, bestDist := "", max(1, len(name)/3)+1
	sort.Strings(candidates)
	for _, c := range candidates {
		if c == name || strings.HasPrefix(c, "_") {
			continue
		}
		if d := editDistance(name, c, bestDist); d < bestDist {
			best, bestDist = c, d
		}
	}
	if best == "" {
		return ""
	}
	return "did you mean `" + best + "`?"
}

// editDistance is the number of letters to insert, delete, replace or swap with a
// neighbour to get from a to b, or limit when it is no smaller.
func editDistance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit || len(a) > 100 {
		return limit
	}
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		next := make([]int, len(b)+1)
		next[0] = i + 1
		low := next[0]
		for j := range len(b) {
			cost := row[j]
			if a[i] != b[j] {
				cost = 1 + min(row[j], next[j], row[j+1])
				if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
					cost = min(cost, before[j-1]+1)
				}
			}
			next[j+1] = cost
			low = min(low, cost)
		}
		if low > limit {
			return limit
		}
		before, row = row, next
	}
	return row[len(b)]
}
