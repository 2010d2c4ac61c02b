package value

import (
	"math/big"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// CallableKind specifies how a callable is printed, and which private attributes it has.
type CallableKind uint8

const (
	// PlainFunction is a function written in Python.
	PlainFunction CallableKind = iota
	// BuiltinFunction is a function written in C.
	BuiltinFunction
	// ClassObject is a class, such as dict.
	ClassObject
	// BoundFunction is a method of an object.
	BoundFunction
)

// Callable is a function as a value of templates: a built-in filter, test or global,
// or a function of the caller.
type Callable struct {
	Name string
	Kind CallableKind
	// Params are the names of the parameters; the first Required ones must be given.
	Params   []string
	Required int
	// PositionalOnly reports that keywords are refused, as by Python's built-in
	// functions.
	PositionalOnly bool
	// Pure reports that the result depends on the arguments alone, so that calls with
	// constant arguments are computed when a template is compiled.
	Pure bool
	// fn gets the bound arguments, Missing for those not given.
	fn func(fr *Frame, a []any) any
	// Raw, if set, gets the arguments of the call unbound.
	Raw func(fr *Frame, args []any, kw []Keyword) any
	// goFn, if set, is a function of the caller.
	goFn Func
}

func (f *Callable) typeName() string {
	switch f.Kind {
	case ClassObject:
		return "type"
	case BoundFunction:
		return "method"
	case BuiltinFunction:
		return "builtin_function_or_method"
	}
	return "function"
}

func (f *Callable) repr() string {
	switch f.Kind {
	case ClassObject:
		return "<class '" + f.Name + "'>"
	case BuiltinFunction:
		return "<built-in function " + f.Name + ">"
	case BoundFunction:
		return "<bound method " + f.Name + ">"
	}
	return "<function " + f.Name + " at " + ObjectAddress(f) + ">"
}

// FromGo returns a callable for a function of the caller.
func FromGo(name string, f Func) *Callable { return &Callable{Name: name, goFn: f} }

// Call calls the function.
func (f *Callable) Call(fr *Frame, args []any, kw []Keyword) any {
	return f.callIn(fr, args, kw, false, false)
}

// callIn calls the function. loop and block mean that functions of the caller see the
// variables that the current loop and block have set.
func (f *Callable) callIn(fr *Frame, args []any, kw []Keyword, loop, block bool) any {
	fr.Step()
	fr.ScanArguments(args)
	switch {
	case f.goFn != nil:
		return f.callGo(fr, args, kw, loop, block)
	case f.Raw != nil:
		return f.Raw(fr, args, kw)
	}
	return f.fn(fr, Bind(f, args, kw))
}

// callGo calls a function of the caller.
func (f *Callable) callGo(fr *Frame, args []any, kw []Keyword, loop, block bool) any {
	c := &Call{Args: args, fr: fr, vars: fr.Code.LocalContext(loop, block)}
	if len(kw) > 0 {
		c.Kwargs = make(map[string]any, len(kw))
		for _, k := range kw {
			c.Kwargs[k.Name] = k.Value
		}
	}
	v, err := f.goFn(c)
	if err != nil {
		panic(raise.FromError(err))
	}
	switch v.(type) {
	case string, bool, nil, *List, *Dict, int64, float64, *Undefined:
		return v
	}
	return Convert(v)
}

// ScanArguments counts the work on strings and large integers among the arguments of a
// call: built-in functions read them a bounded number of times.
func (fr *Frame) ScanArguments(args []any) {
	for _, a := range args {
		fr.ScanText(a)
	}
}

// ScanText counts the work on one argument.
func (fr *Frame) ScanText(v any) {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
	case Markup:
		n = len(v)
	case Bytes:
		n = len(v)
	case *big.Int:
		n = v.BitLen()
	}
	// Going through text by characters takes some four times as long as by bytes.
	if n >= 64 {
		fr.Work(n >> 4)
	}
}

// NewFunction returns a pure function from a description of its parameters: "value
// width=4" has one required and one optional parameter. The default after = is for the
// reader.
func NewFunction(name, params string, fn func(fr *Frame, a []any) any) *Callable {
	f := &Callable{Name: name, fn: fn, Pure: true}
	for p := range strings.FieldsSeq(params) {
		p, _, optional := strings.Cut(p, "=")
		if !optional {
			f.Required++
		}
		f.Params = append(f.Params, p)
	}
	return f
}

// NewBuiltin is NewFunction for functions that take no keyword arguments.
func NewBuiltin(name, params string, fn func(fr *Frame, a []any) any) *Callable {
	f := NewFunction(name, params, fn)
	f.PositionalOnly, f.Kind = true, BuiltinFunction
	return f
}

// Impure marks a function whose result depends on more than its arguments.
func Impure(f *Callable) *Callable {
	f.Pure = false
	return f
}

// Invoke calls any value; see callIn for loop and block.
func Invoke(fr *Frame, fn any, args []any, kw []Keyword, loop, block bool) any {
	switch f := fn.(type) {
	case *Callable:
		return f.callIn(fr, args, kw, loop, block)
	case Object:
		if c := f.Class(); c.Call != nil {
			return c.Call(f, fr, args, kw)
		}
	case *Undefined:
		RaiseUndefined(f)
	}
	raise.Type("'%s' object is not callable", TypeName(fn))
	return nil
}

// IsCallable is callable(v).
func IsCallable(v any) bool {
	switch v := v.(type) {
	case *Callable, *Undefined:
		return true
	case Object:
		return v.Class().Call != nil
	}
	return false
}

// SuggestCallable returns the hint for a misspelled filter or test, or "".
func SuggestCallable(name string, m map[string]*Callable) string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	return raise.Suggest(name, names)
}
