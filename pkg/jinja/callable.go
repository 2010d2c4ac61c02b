package jinja

import (
	"math/big"
	"strconv"
	"strings"
)

type callableKind uint8

const (
	kindFunction callableKind = iota
	kindBuiltin
	kindClass
	kindMethod
)

// callable is a function as a value of templates: a built-in filter, test or
// global, or one of the caller's Go functions.
type callable struct {
	name string
	kind callableKind
	// params are the names of the parameters, req how many must be given.
	params []string
	req    int
	// posOnly refuses keywords, as Python's built-in functions do.
	posOnly bool
	// pure says that the result depends on the arguments alone, so that constants fold.
	pure bool
	// fn gets the bound arguments, missing where none was given.
	fn func(fr *vframe, a []any) any
	// raw gets the arguments as they are.
	raw func(fr *vframe, args []any, kw []kwArg) any
	// goFn is a function of the caller.
	goFn Func
}

func (f *callable) typeName() string {
	switch f.kind {
	case kindClass:
		return "type"
	case kindMethod:
		return "method"
	case kindBuiltin:
		return "builtin_function_or_method"
	}
	return "function"
}

func (f *callable) repr() string {
	switch f.kind {
	case kindClass:
		return "<class '" + f.name + "'>"
	case kindBuiltin:
		return "<built-in function " + f.name + ">"
	case kindMethod:
		return "<bound method " + f.name + ">"
	}
	return "<function " + f.name + " at " + objectAddress(f) + ">"
}

func goCallable(name string, f Func) *callable { return &callable{name: name, goFn: f} }

func (f *callable) call(fr *vframe, args []any, kw []kwArg) any {
	return f.callIn(fr, args, kw, false, false)
}

func (f *callable) callIn(fr *vframe, args []any, kw []kwArg, loop, block bool) any {
	fr.step()
	fr.scanArgs(args)
	switch {
	case f.goFn != nil:
		return f.callGo(fr, args, kw, loop, block)
	case f.raw != nil:
		return f.raw(fr, args, kw)
	}
	return f.fn(fr, bind(f, args, kw))
}

// callGo calls a function of the caller.
func (f *callable) callGo(fr *vframe, args []any, kw []kwArg, loop, block bool) any {
	c := &Call{Args: args, fr: fr, vars: fr.code.localContext(loop, block)}
	if len(kw) > 0 {
		c.Kwargs = make(map[string]any, len(kw))
		for _, k := range kw {
			c.Kwargs[k.name] = k.val
		}
	}
	v, err := f.goFn(c)
	if err != nil {
		panic(raisedFrom(err))
	}
	switch v.(type) {
	case string, bool, nil, *List, *Dict, int64, float64, *Undefined:
		return v
	}
	return convert(v)
}

// raisedFrom makes an exception of a Go error. A template error keeps its kind.
func raisedFrom(err error) *raised {
	if e, ok := err.(*Error); ok {
		return &raised{class: e.class, kind: e.Kind, msg: e.Message, hint: e.Hint, cause: err}
	}
	return &raised{class: "GoError", kind: KindRuntime, msg: err.Error(), cause: err}
}

// bind sorts arguments into the parameters of a built-in.
func bind(f *callable, args []any, kw []kwArg) []any {
	if len(args) == len(f.params) && len(kw) == 0 {
		return args
	}
	if f.posOnly && (len(args) < f.req || len(args) > len(f.params)) && len(kw) == 0 {
		raiseCount(f, len(args))
	}
	if n := len(f.params); len(args) > n {
		takes := counted(n, "positional argument")
		if f.req < n {
			takes = "from " + strconv.Itoa(f.req) + " to " + takes
		}
		raiseType("%s() takes %s but %s given", f.name, takes, were(len(args)))
	}
	out := make([]any, len(f.params))
	copy(out, args)
	for i := len(args); i < len(out); i++ {
		out[i] = missing
	}
next:
	for _, k := range kw {
		if f.posOnly {
			raiseType("%s() takes no keyword arguments", f.name)
		}
		for i, p := range f.params {
			if p == k.name {
				if i < len(args) || out[i] != missing {
					raiseType("%s() got multiple values for argument '%s'", f.name, k.name)
				}
				out[i] = k.val
				continue next
			}
		}
		panic(&raised{
			class: "TypeError", kind: KindRuntime,
			msg:  f.name + "() got an unexpected keyword argument " + repr(k.name),
			hint: suggest(k.name, append([]string(nil), f.params...)),
		})
	}
	var absent []string
	for i := range f.req {
		if out[i] == missing {
			absent = append(absent, "'"+f.params[i]+"'")
		}
	}
	if n := len(absent); n > 0 {
		list := absent[n-1]
		switch {
		case n == 2:
			list = absent[0] + " and " + list
		case n > 2:
			list = strings.Join(absent[:n-1], ", ") + ", and " + list
		}
		raiseType("%s() missing %s: %s", f.name, counted(n, "required positional argument"), list)
	}
	return out
}

// raiseCount is what Python's built-in functions say of a wrong number of arguments.
func raiseCount(f *callable, n int) {
	most := len(f.params)
	switch {
	case most == 0:
		raiseType("%s() takes no arguments (%d given)", f.name, n)
	case most == 1 && f.req == 1:
		raiseType("%s() takes exactly one argument (%d given)", f.name, n)
	case f.req == most:
		raiseType("%s expected %s, got %d", f.name, counted(most, "argument"), n)
	case n < f.req:
		raiseType("%s expected at least %s, got %d", f.name, counted(f.req, "argument"), n)
	}
	raiseType("%s expected at most %s, got %d", f.name, counted(most, "argument"), n)
}

// counted is a number with what is counted, in the plural if it must be.
func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

func were(n int) string {
	if n == 1 {
		return "1 was"
	}
	return strconv.Itoa(n) + " were"
}

// scanArgs counts the text that a call is given: built-in filters, tests and
// methods go through it once, or a bounded number of times.
func (fr *vframe) scanArgs(args []any) {
	for _, a := range args {
		fr.scanText(a)
	}
}

func (fr *vframe) scanText(v any) {
	n := 0
	switch v := v.(type) {
	case string:
		n = len(v)
	case Markup:
		n = len(v)
	case bytesValue:
		n = len(v)
	case *big.Int:
		n = v.BitLen()
	}
	// Going through text by characters takes some four times as long as by bytes.
	if n >= 64 {
		fr.work(n >> 4)
	}
}

func noKeywords(name string, kw []kwArg) {
	if len(kw) > 0 {
		raiseType("%s() got an unexpected keyword argument '%s'", name, kw[0].name)
	}
}

// spec makes a callable from its parameters: "value width=4" has one required
// parameter and one optional. The value after = is for the reader.
func spec(name, params string, fn func(fr *vframe, a []any) any) *callable {
	f := &callable{name: name, fn: fn, pure: true}
	for p := range strings.FieldsSeq(params) {
		p, _, optional := strings.Cut(p, "=")
		if !optional {
			f.req++
		}
		f.params = append(f.params, p)
	}
	return f
}

// positional is spec for functions that take no keywords.
func positional(name, params string, fn func(fr *vframe, a []any) any) *callable {
	f := spec(name, params, fn)
	f.posOnly, f.kind = true, kindBuiltin
	return f
}

// impure marks a built-in that looks at the render, so that it is never folded.
func impure(f *callable) *callable {
	f.pure = false
	return f
}

// callValue calls any value.
func callValue(fr *vframe, fn any, args []any, kw []kwArg, loop, block bool) any {
	switch f := fn.(type) {
	case *callable:
		return f.callIn(fr, args, kw, loop, block)
	case object:
		if c := f.Class(); c.call != nil {
			return c.call(f, fr, args, kw)
		}
	case *Undefined:
		raiseUndefined(f)
	}
	raiseType("'%s' object is not callable", typeName(fn))
	return nil
}

func isCallable(v any) bool {
	switch v := v.(type) {
	case *callable, *Undefined:
		return true
	case object:
		return v.Class().call != nil
	}
	return false
}

// suggestCallable is a hint that names the filter or test nearest to a name, or "".
func suggestCallable(name string, m map[string]*callable) string {
	names := make([]string, 0, len(m))
	for n := range m {
		names = append(names, n)
	}
	return suggest(name, names)
}
