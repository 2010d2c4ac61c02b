package builtin

import (
	"math/big"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Tests are the built-in tests by name.
var Tests = map[string]*value.Callable{}

func init() {
	test := func(name, params string, fn func(fr *value.Frame, a []any) bool) {
		Tests[name] = value.NewFunction("test_"+name, params, func(fr *value.Frame, a []any) any { return fn(fr, a) })
	}
	test("odd", "value", func(fr *value.Frame, a []any) bool {
		return value.Equal(fr, operator.Modulo(fr, a[0], int64(2)), int64(1))
	})
	test("even", "value", func(fr *value.Frame, a []any) bool {
		return value.Equal(fr, operator.Modulo(fr, a[0], int64(2)), int64(0))
	})
	test("divisibleby", "value num", func(fr *value.Frame, a []any) bool {
		return value.Equal(fr, operator.Modulo(fr, a[0], a[1]), int64(0))
	})
	test("defined", "value", func(fr *value.Frame, a []any) bool { return !value.IsUndefined(a[0]) })
	test("undefined", "value", func(fr *value.Frame, a []any) bool { return value.IsUndefined(a[0]) })
	test("filter", "value", func(fr *value.Frame, a []any) bool { return hasName(fr, fr.Code.Filters(), a[0]) })
	test("test", "value", func(fr *value.Frame, a []any) bool { return hasName(fr, fr.Code.Tests(), a[0]) })
	test("none", "value", func(fr *value.Frame, a []any) bool { return a[0] == nil })
	isBool := func(v any) bool { _, ok := v.(bool); return ok }
	test("boolean", "value", func(fr *value.Frame, a []any) bool { return isBool(a[0]) })
	test("false", "value", func(fr *value.Frame, a []any) bool { return isBool(a[0]) && !a[0].(bool) })
	test("true", "value", func(fr *value.Frame, a []any) bool { return isBool(a[0]) && a[0].(bool) })
	test("integer", "value", func(fr *value.Frame, a []any) bool {
		switch a[0].(type) {
		case int64, *big.Int:
			return true
		}
		return false
	})
	test("float", "value", func(fr *value.Frame, a []any) bool { return value.IsFloat(a[0]) })
	test("lower", "value", func(fr *value.Frame, a []any) bool { return pystr.IsLower(value.Str(fr, a[0])) })
	test("upper", "value", func(fr *value.Frame, a []any) bool { return pystr.IsUpper(value.Str(fr, a[0])) })
	test("string", "value", func(fr *value.Frame, a []any) bool { _, ok := value.AsStr(a[0]); return ok })
	test("mapping", "value", func(fr *value.Frame, a []any) bool { _, ok := a[0].(*value.Dict); return ok })
	test("number", "value", func(fr *value.Frame, a []any) bool { return value.IsNumber(a[0]) })
	test("sequence", "value", func(fr *value.Frame, a []any) bool { return isSequenceLike(a[0]) })
	test("iterable", "value", func(fr *value.Frame, a []any) bool { return value.IteratorOf(fr, a[0]) != nil })
	test("sameas", "value other", func(fr *value.Frame, a []any) bool { return value.Identical(a[0], a[1]) })
	test("escaped", "value", func(fr *value.Frame, a []any) bool { return value.HasHTML(a[0]) })
	test("in", "value seq", func(fr *value.Frame, a []any) bool { return value.Contains(fr, a[1], a[0]) })
	Tests["callable"] = value.NewBuiltin("callable", "obj", func(fr *value.Frame, a []any) any {
		return value.IsCallable(a[0])
	})
	for _, c := range []struct {
		names []string
		holds func(fr *value.Frame, a, b any) bool
	}{
		{[]string{"==", "eq", "equalto"}, value.Equal},
		{[]string{"!=", "ne"}, func(fr *value.Frame, a, b any) bool { return !value.Equal(fr, a, b) }},
		{[]string{">", "gt", "greaterthan"}, func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, ">") }},
		{[]string{">=", "ge"}, func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, ">=") }},
		{[]string{"<", "lt", "lessthan"}, func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, "<") }},
		{[]string{"<=", "le"}, func(fr *value.Frame, a, b any) bool { return value.Compare(fr, a, b, "<=") }},
	} {
		for _, name := range c.names {
			Tests[name] = value.NewBuiltin(c.names[1], "a b", func(fr *value.Frame, a []any) any {
				return c.holds(fr, a[0], a[1])
			})
		}
	}
}

// hasName reports whether a value is the name of one of the callables.
func hasName(fr *value.Frame, m map[string]*value.Callable, v any) bool {
	value.HashKey(fr, v)
	s, ok := value.AsStr(v)
	return ok && m[s] != nil
}

// isSequenceLike is the test sequence: whether a value has a length and items.
func isSequenceLike(v any) bool {
	switch v := v.(type) {
	case string, value.Markup, *value.List, value.Tuple, *value.GroupTuple, *value.Dict, *value.Range, value.Bytes:
		return true
	case *value.Undefined:
		return v.Mode() != value.Strict
	}
	return false
}
