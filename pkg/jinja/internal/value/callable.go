package value

import (
	"math/big"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

type CallableKind uint8

const (
	PlainFunction CallableKind = iota
	BuiltinFunction
	ClassObject
	BoundFunction
)

// Callable is a function as a value of templates: a built-in filter, test or
// global, or one of the caller's Go functions.
type Callable struct {
	Name string
	Kind CallableKind
	// params are the names of the parameters, req how many must be given.
	Params   []string
	Required int
	// posOnly refuses keywords, as Python's built-in functions do.
	PositionalOnly bool
	// pure says that the result depends on the arguments alone, so that constants fold.
	Pure bool
	// fn gets the bound arguments, missing where none was given.
	fn func(fr *Frame, a []any) any
	// raw gets the arguments as they are.
	Raw func(fr *Frame, args []any, kw []Keyword) any
	// goFn is a function of the caller.
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

func FromGo(name string, f Func) *Callable { return &Callable{Name: name, goFn: f} }

func (f *Callable) Call(fr *Frame, args []any, kw []Keyword) any {
	return f.callIn(fr, args, kw, false, false)
}

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

// scanArgs counts the text that a call is given: built-in filters, tests and
// methods go through it once, or a bounded number of times.
func (fr *Frame) ScanArguments(args []any) {
	for _, a := range args {
		fr.ScanText(a)
	}
}

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

// NewFunction makes a callable from its parameters: "value width=4" has one required
// parameter and one optional. The value after = is for the reader.
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

// NewBuiltin is spec for functions that take no keywords.
func NewBuiltin(name, params string, fn func(fr *Frame, a []any) any) *Callable {
	f := NewFunction(name, params, fn)
	f.PositionalOnly, f.Kind = true, BuiltinFunction
	return f
}

// Impure marks a built-in that looks at the render, so that it is never folded.
func Impure(f *Callable) *Callable {
	f.Pure = false
	return f
}

// Invoke calls any value.
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

func IsCallable(v any) bool {
	switch v := v.(type) {
	case *Callable, *Undefined:
		return true
	case Object:
		return v.Class().Call != nil
	}
	return false
}

// SuggestCallable is a hint that names the filter or test nearest to a name, or "".
func SuggestCallable(name string, m map[string]*Callable) string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	return raise.Suggest(name, names)
}
