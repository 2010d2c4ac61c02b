package value

import (
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Bind assigns the arguments of a call to the parameters of a built-in function.
// Parameters without an argument are Missing.
func Bind(callable *Callable, args []any, kw []Keyword) []any {
	if len(args) == len(callable.Params) && len(kw) == 0 {
		return args
	}
	if callable.PositionalOnly && (len(args) < callable.Required || len(args) > len(callable.Params)) && len(kw) == 0 {
		raiseCount(callable, len(args))
	}
	if n := len(callable.Params); len(args) > n {
		takes := counted(n, "positional argument")
		if callable.Required < n {
			takes = "from " + strconv.Itoa(callable.Required) + " to " + takes
		}
		raise.Type("%s() takes %s but %s given", callable.Name, takes, were(len(args)))
	}
	out := make([]any, len(callable.Params))
	copy(out, args)
	for i := len(args); i < len(out); i++ {
		out[i] = Missing
	}
next:
	for _, k := range kw {
		if callable.PositionalOnly {
			raise.Type("%s() takes no keyword arguments", callable.Name)
		}
		for i, p := range callable.Params {
			if p == k.Name {
				if i < len(args) || out[i] != Missing {
					raise.Type("%s() got multiple values for argument '%s'", callable.Name, k.Name)
				}
				out[i] = k.Value
				continue next
			}
		}
		panic(&raise.Exception{
			Class: "TypeError", Kind: raise.KindRuntime,
			Message: callable.Name + "() got an unexpected keyword argument " + Repr(k.Name),
			Hint:    raise.Suggest(k.Name, callable.Params),
		})
	}
	var absent []string
	for i := range callable.Required {
		if out[i] == Missing {
			absent = append(absent, "'"+callable.Params[i]+"'")
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
		raise.Type("%s() missing %s: %s", callable.Name, counted(n, "required positional argument"), list)
	}
	return out
}

// raiseCount raises the error of Python's built-in functions about a wrong number of
// arguments.
func raiseCount(f *Callable, n int) {
	maxArgs := len(f.Params)
	switch {
	case maxArgs == 0:
		raise.Type("%s() takes no arguments (%d given)", f.Name, n)
	case maxArgs == 1 && f.Required == 1:
		raise.Type("%s() takes exactly one argument (%d given)", f.Name, n)
	case f.Required == maxArgs:
		raise.Type("%s expected %s, got %d", f.Name, counted(maxArgs, "argument"), n)
	case n < f.Required:
		raise.Type("%s expected at least %s, got %d", f.Name, counted(f.Required, "argument"), n)
	}
	raise.Type("%s expected at most %s, got %d", f.Name, counted(maxArgs, "argument"), n)
}

// counted returns "1 argument", "2 arguments" and the like.
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return strconv.Itoa(n) + " " + noun + "s"
}

// were returns "1 was", "2 were" and the like.
func were(n int) string {
	if n == 1 {
		return "1 was"
	}
	return strconv.Itoa(n) + " were"
}

// RejectKeywords raises a TypeError if a function that takes no keyword arguments gets
// one.
func RejectKeywords(name string, kw []Keyword) {
	if len(kw) > 0 {
		raise.Type("%s() got an unexpected keyword argument '%s'", name, kw[0].Name)
	}
}

// Keyword is a keyword argument of a call.
type Keyword struct {
	Name  string
	Value any
}

// AddKeyword appends a keyword argument. One that is there already is replaced, or is
// an error.
func AddKeyword(fr *Frame, kw []Keyword, name string, v any, replace bool) []Keyword {
	fr.Work(len(kw) >> 3)
	for i := range kw {
		if kw[i].Name == name {
			if !replace {
				raise.Type("got multiple values for keyword argument '%s'", name)
			}
			kw[i].Value = v
			return kw
		}
	}
	return append(kw, Keyword{name, v})
}

// Or returns an optional argument, or a default if it is Missing.
func Or(v, otherwise any) any {
	if v == Missing {
		return otherwise
	}
	return v
}

// OrBool returns the truth of an optional argument, or a default if it is Missing.
func OrBool(v any, otherwise bool) bool {
	if v == Missing {
		return otherwise
	}
	return Truth(v)
}

// BoolArg returns the truth of an argument that Python wants as an integer.
func BoolArg(v any) bool { return IntArg(v) != 0 }

// StrArg returns an argument that must be a string; argument names it in the error.
func StrArg(v any, argument string) string {
	s, ok := AsStr(v)
	if !ok {
		if u, isUndef := v.(*Undefined); isUndef && u.Mode() == Strict {
			raise.Type("%s must be str, not StrictUndefined", argument)
		}
		raise.Type("%s must be str, not %s", argument, TypeName(v))
	}
	return s
}

// IntArg returns an argument that must be an integer of at most 64 bits.
func IntArg(v any) int {
	i, large, ok := AsInt(v)
	if !ok {
		raise.Type("'%s' object cannot be interpreted as an integer", TypeName(v))
	}
	if large != nil {
		raise.Named("OverflowError", "Python int too large to convert to C ssize_t")
	}
	return int(i)
}

// IntOr returns an optional integer argument, or a default if it is Missing.
func IntOr(v any, otherwise int) int {
	if v == Missing {
		return otherwise
	}
	return IntArg(v)
}
