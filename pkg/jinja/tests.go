package jinja

import (
	"math/big"
)

var builtinTests = map[string]*callable{}

func init() {
	test := func(name, params string, fn func(fr *vframe, a []any) bool) *callable {
		f := spec("test_"+name, params, func(fr *vframe, a []any) any { return fn(fr, a) })
		builtinTests[name] = f
		return f
	}
	test("odd", "value", func(fr *vframe, a []any) bool { return equal(fr, modulo(fr, a[0], int64(2)), int64(1)) })
	test("even", "value", func(fr *vframe, a []any) bool { return equal(fr, modulo(fr, a[0], int64(2)), int64(0)) })
	test("divisibleby", "value num", func(fr *vframe, a []any) bool { return equal(fr, modulo(fr, a[0], a[1]), int64(0)) })
	test("defined", "value", func(fr *vframe, a []any) bool { return !IsUndefined(a[0]) })
	test("undefined", "value", func(fr *vframe, a []any) bool { return IsUndefined(a[0]) })
	test("filter", "value", func(fr *vframe, a []any) bool { return hasName(fr, fr.code.filters(), a[0]) })
	test("test", "value", func(fr *vframe, a []any) bool { return hasName(fr, fr.code.tests(), a[0]) })
	test("none", "value", func(fr *vframe, a []any) bool { return a[0] == nil })
	isBool := func(v any) bool { _, ok := v.(bool); return ok }
	test("boolean", "value", func(fr *vframe, a []any) bool { return isBool(a[0]) })
	test("false", "value", func(fr *vframe, a []any) bool { return isBool(a[0]) && !a[0].(bool) })
	test("true", "value", func(fr *vframe, a []any) bool { return isBool(a[0]) && a[0].(bool) })
	test("integer", "value", func(fr *vframe, a []any) bool {
		switch a[0].(type) {
		case int64, *big.Int:
			return true
		}
		return false
	})
	test("float", "value", func(fr *vframe, a []any) bool { return isFloat(a[0]) })
	test("lower", "value", func(fr *vframe, a []any) bool { return isLower(str(fr, a[0])) })
	test("upper", "value", func(fr *vframe, a []any) bool { return isUpper(str(fr, a[0])) })
	test("string", "value", func(fr *vframe, a []any) bool { _, ok := asStr(a[0]); return ok })
	test("mapping", "value", func(fr *vframe, a []any) bool { _, ok := a[0].(*Dict); return ok })
	test("number", "value", func(fr *vframe, a []any) bool { return isNumber(a[0]) })
	test("sequence", "value", func(fr *vframe, a []any) bool { return isSequenceLike(fr, a[0]) })
	test("iterable", "value", func(fr *vframe, a []any) bool { return iterableOf(fr, a[0]) != nil })
	test("sameas", "value other", func(fr *vframe, a []any) bool { return same(a[0], a[1]) })
	test("escaped", "value", func(fr *vframe, a []any) bool { return hasHTML(a[0]) })
	test("in", "value seq", func(fr *vframe, a []any) bool { return contains(fr, a[1], a[0]) })
	builtinTests["callable"] = positional("callable", "obj", func(fr *vframe, a []any) any { return isCallable(a[0]) })
	for _, c := range []struct {
		names []string
		holds func(fr *vframe, a, b any) bool
	}{
		{[]string{"==", "eq", "equalto"}, equal},
		{[]string{"!=", "ne"}, func(fr *vframe, a, b any) bool { return !equal(fr, a, b) }},
		{[]string{">", "gt", "greaterthan"}, func(fr *vframe, a, b any) bool { return order(fr, a, b, ">") }},
		{[]string{">=", "ge"}, func(fr *vframe, a, b any) bool { return order(fr, a, b, ">=") }},
		{[]string{"<", "lt", "lessthan"}, func(fr *vframe, a, b any) bool { return order(fr, a, b, "<") }},
		{[]string{"<=", "le"}, func(fr *vframe, a, b any) bool { return order(fr, a, b, "<=") }},
	} {
		for _, name := range c.names {
			builtinTests[name] = positional(c.names[1], "a b", func(fr *vframe, a []any) any { return c.holds(fr, a[0], a[1]) })
		}
	}
}

func hasName(fr *vframe, m map[string]*callable, v any) bool {
	hashKey(fr, v)
	s, ok := asStr(v)
	return ok && m[s] != nil
}

// isSequenceLike is Jinja2's idea of a sequence: it has a length and items.
func isSequenceLike(fr *vframe, v any) bool {
	switch v := v.(type) {
	case string, Markup, *List, Tuple, *groupTuple, *Dict, *rangeValue, bytesValue:
		return true
	case *Undefined:
		return v.Mode() != Strict
	}
	return false
}
