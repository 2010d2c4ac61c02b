package jinja

import (
	"math/big"
	"slices"
	"strings"
)

// methodsOf is the table of a value's methods.
func methodsOf(v any) methodTable {
	switch v.(type) {
	case string, Markup:
		return strMethods
	case *List:
		return listMethods
	case *Dict:
		return dictMethods
	case Tuple, *groupTuple:
		return tupleMethods
	case int64, *big.Int, bool:
		return intMethods
	case float64:
		return floatMethods
	case *rangeValue:
		return rangeMethods
	case bytesValue:
		return bytesMethods
	case *setValue:
		return setMethods
	case *dictView:
		return viewMethods
	}
	return nil
}

// methodOf returns the method that an attribute of a value is, or nil.
func methodOf(v any, attr string) *method {
	if strings.HasPrefix(attr, "_") {
		return nil
	}
	if m := methodsOf(v)[attr]; m != nil {
		if attr == "unescape" || attr == "striptags" || attr == "escape" {
			if _, ok := v.(Markup); !ok {
				return nil
			}
		}
		return m
	}
	return nil
}

// attribute is Python's getattr within what the sandbox lets through.
func attribute(fr *vframe, v any, attr string) (any, bool) {
	if m := methodOf(v, attr); m != nil {
		return &boundMethod{v, attr, m}, true
	}
	switch o := v.(type) {
	case *Undefined:
		if o.Mode() == Chainable {
			return o, true
		}
		if strings.HasPrefix(attr, "__") {
			return nil, false
		}
		raiseUndefined(o)
	case *namespaceValue:
		return o.attrs.getStr(attr)
	case object:
		if f := o.Class().attr; f != nil {
			return f(o, fr, attr)
		}
	case *groupTuple:
		switch attr {
		case "grouper":
			return o.grouper, true
		case "list":
			return o.list, true
		}
	case *rangeValue:
		switch attr {
		case "start":
			return o.start, true
		case "stop":
			return o.stop, true
		case "step":
			return o.step, true
		}
	case int64, *big.Int, bool, float64:
		return numberAttr(fr, v, attr)
	case *callable:
		if m := dictMethods[attr]; m != nil && o.kind == kindClass && o.name == "dict" {
			return dictClassMethod(m), true
		}
	case *iterObj:
		if o.isGenerator() {
			return generatorAttr(o, attr)
		}
	case *dictView:
		if attr == "mapping" {
			return o.d, true
		}
	}
	return nil, false
}

// dictClassMethod is a method of dict, taken from the class.
func dictClassMethod(m *method) *callable {
	return &callable{name: m.name, kind: kindBuiltin, raw: func(fr *vframe, args []any, kw []kwArg) any {
		if m.name == "fromkeys" {
			return m.call(fr, nil, args, kw)
		}
		if len(args) == 0 {
			raiseType("unbound method dict.%s() needs an argument", m.name)
		}
		if _, ok := args[0].(*Dict); !ok {
			raiseType("descriptor '%s' for 'dict' objects doesn't apply to a '%s' object", m.name, typeName(args[0]))
		}
		return m.call(fr, args[0], args[1:], kw)
	}}
}

func numberAttr(fr *vframe, v any, attr string) (any, bool) {
	f, float := v.(float64)
	switch attr {
	case "real":
		if float {
			return f, true
		}
		return positive(fr, v), true
	case "imag":
		if float {
			return 0.0, true
		}
		return int64(0), true
	case "numerator":
		if !float {
			return positive(fr, v), true
		}
	case "denominator":
		if !float {
			return int64(1), true
		}
	}
	return nil, false
}

// privateAttrs are the underscore attributes that every Python object has; the
// sandbox refuses them. Other underscore names are merely not there.
var privateAttrs = []string{
	"__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__",
	"__getstate__", "__gt__", "__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__", "__new__",
	"__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
}

// typePrivates are the further underscore attributes by type.
func typePrivates(v any) []string {
	switch v := v.(type) {
	case string, Markup:
		list := []string{"__add__", "__contains__", "__getitem__", "__getnewargs__", "__iter__", "__len__", "__mod__", "__mul__", "__rmod__", "__rmul__"}
		if _, ok := v.(Markup); ok {
			list = append(list, "__html__", "__html_format__", "__module__", "__radd__", "__slots__")
		}
		return list
	case *List:
		return []string{"__add__", "__class_getitem__", "__contains__", "__delitem__", "__getitem__", "__iadd__", "__imul__", "__iter__", "__len__", "__mul__", "__reversed__", "__rmul__", "__setitem__"}
	case Tuple, *groupTuple:
		return []string{"__add__", "__class_getitem__", "__contains__", "__getitem__", "__getnewargs__", "__iter__", "__len__", "__mul__", "__rmul__"}
	case *Dict:
		return []string{"__class_getitem__", "__contains__", "__delitem__", "__getitem__", "__ior__", "__iter__", "__len__", "__or__", "__reversed__", "__ror__", "__setitem__"}
	case nil:
		return []string{"__bool__"}
	case int64, *big.Int, bool, float64:
		return []string{
			"__abs__", "__add__", "__bool__", "__ceil__", "__divmod__", "__float__", "__floor__", "__floordiv__",
			"__getnewargs__", "__int__", "__mod__", "__mul__", "__neg__", "__pos__", "__pow__", "__radd__", "__rdivmod__",
			"__rfloordiv__", "__rmod__", "__rmul__", "__round__", "__rpow__", "__rsub__", "__rtruediv__", "__sub__",
			"__truediv__", "__trunc__",
		}
	case *callable:
		if v.kind == kindClass {
			return append([]string{"__base__", "__bases__", "__call__", "__mro__", "__name__", "__qualname__", "__subclasses__"}, typePrivates(&Dict{})...)
		}
		return []string{"__call__", "__code__", "__closure__", "__defaults__", "__dict__", "__globals__", "__kwdefaults__", "__module__", "__name__", "__qualname__", "__self__"}
	case object:
		return v.Class().private
	case *Undefined:
		return []string{
			"_fail_with_undefined_error", "_undefined_exception", "_undefined_hint", "_undefined_message", "_undefined_name", "_undefined_obj",
			"__add__", "__aiter__", "__bool__", "__call__", "__complex__", "__div__", "__float__", "__floordiv__", "__getattr__", "__getitem__",
			"__int__", "__iter__", "__len__", "__mod__", "__module__", "__mul__", "__neg__", "__pos__", "__pow__", "__radd__", "__rdiv__",
			"__rfloordiv__", "__rmod__", "__rmul__", "__rpow__", "__rsub__", "__rtruediv__", "__slots__", "__sub__", "__truediv__",
		}
	case *iterObj:
		list := []string{"__iter__", "__next__"}
		if v.isGenerator() {
			list = append(list, "__del__", "__name__", "__qualname__")
		}
		return list
	case *dictView, *rangeValue, *setValue:
		return []string{"__contains__", "__iter__", "__len__", "__reversed__"}
	}
	return nil
}

// unsafeAttr says whether an attribute exists in Python but is refused.
func unsafeAttr(v any, attr string) bool {
	if !strings.HasPrefix(attr, "_") {
		if it, ok := v.(*iterObj); ok && it.isGenerator() {
			return attr == "gi_frame" || attr == "gi_code"
		}
		if f, ok := v.(*callable); ok && f.kind == kindClass {
			return attr == "mro"
		}
		return false
	}
	if _, ok := v.(*namespaceValue); ok {
		return attr == "__class__" || attr == "_Namespace__attrs"
	}
	return slices.Contains(privateAttrs, attr) || slices.Contains(typePrivates(v), attr)
}

func unsafeUndefined(fr *vframe, v any, attr string) any {
	return unsafeElement(fr.code.undefinedMode(), v, attr)
}

func noElement(fr *vframe, v, name any) any {
	return undefinedElement(fr.code.undefinedMode(), v, name)
}

// getattr is `v.attr`: an attribute, or else an item.
func getattr(fr *vframe, v any, attr string) any {
	if unsafeAttr(v, attr) {
		return unsafeUndefined(fr, v, attr)
	}
	if x, ok := attribute(fr, v, attr); ok {
		if strings.HasPrefix(attr, "_") {
			return unsafeUndefined(fr, v, attr)
		}
		return x
	}
	switch o := v.(type) {
	case *Dict:
		if x, ok := o.getStr(attr); ok {
			return x
		}
	case *Undefined:
		raiseUndefined(o)
	default:
		if c := indexed(v); c != nil {
			if x, ok := c.item(v, fr, attr); ok {
				return x
			}
		}
	}
	return noElement(fr, v, attr)
}

// getitem is `v[arg]`: an item, or else an attribute.
func getitem(fr *vframe, v, arg any) any {
	switch o := v.(type) {
	case *Dict:
		if s, ok := arg.(string); ok {
			if x, ok := o.getStr(s); ok {
				return x
			}
			break
		}
		var x any
		var found bool
		if r := fr.try(func() { x, found = o.get(fr, arg) }, "TypeError"); r == nil && found {
			return x
		}
	case *List:
		if i, ok := arg.(int64); ok {
			if i < 0 {
				i += int64(len(o.Items))
			}
			if i >= 0 && i < int64(len(o.Items)) {
				return o.Items[i]
			}
			return noElement(fr, v, arg)
		}
		return getitemSlow(fr, v, arg)
	default:
		return getitemSlow(fr, v, arg)
	}
	return attrAsItem(fr, v, arg)
}

func getitemSlow(fr *vframe, v, arg any) any {
	var x any
	if r := fr.try(func() { x = subscript(fr, v, arg) }, "TypeError", "LookupError"); r == nil {
		return x
	}
	return attrAsItem(fr, v, arg)
}

func attrAsItem(fr *vframe, v, arg any) any {
	if name, ok := asStr(arg); ok {
		if unsafeAttr(v, name) {
			return unsafeUndefined(fr, v, name)
		}
		if x, ok := attribute(fr, v, name); ok {
			if strings.HasPrefix(name, "_") {
				return unsafeUndefined(fr, v, name)
			}
			return x
		}
	}
	return noElement(fr, v, arg)
}

// undefinedHint suggests a key or an attribute that is spelled nearly the same.
func undefinedHint(u *Undefined) string {
	obj, attr := u.element()
	name, ok := attr.(string)
	if !ok {
		return ""
	}
	var names []string
	d, _ := obj.(*Dict)
	switch o := obj.(type) {
	case *namespaceValue:
		d = o.attrs
	case object:
		if f := o.Class().names; f != nil {
			names = f(o)
		}
	}
	if d != nil {
		for key := range d.all() {
			if k, ok := key.(string); ok {
				names = append(names, k)
			}
		}
	}
	for m := range methodsOf(obj) {
		names = append(names, m)
	}
	return suggest(name, names)
}

// generatorAttr is an attribute of a generator.
func generatorAttr(g *iterObj, name string) (any, bool) {
	method := func(f func(fr *vframe, args []any) any) (any, bool) {
		return &callable{name: name, kind: kindBuiltin, raw: func(fr *vframe, args []any, kw []kwArg) any {
			noKeywords("generator."+name, kw)
			return f(fr, args)
		}}, true
	}
	switch name {
	case "gi_running":
		return false, true
	case "gi_suspended":
		return g.hasStarted() && !g.ended(), true
	case "gi_yieldfrom":
		return nil, true
	case "close":
		return method(func(_ *vframe, args []any) any {
			if len(args) > 0 {
				raiseType("generator.close() takes no arguments (%d given)", len(args))
			}
			g.close()
			return nil
		})
	case "send":
		return method(func(fr *vframe, args []any) any {
			if len(args) != 1 {
				raiseType("generator.send() takes exactly one argument (%d given)", len(args))
			}
			if !g.hasStarted() && !g.ended() && args[0] != nil {
				raiseType("can't send non-None value to a just-started generator")
			}
			v, ok := g.next(fr)
			if !ok {
				raiseKind(KindRuntime, "StopIteration", "")
			}
			return v
		})
	case "throw":
		// Templates have no exceptions to throw.
		return method(func(_ *vframe, args []any) any {
			if len(args) == 0 {
				raiseType("throw expected at least 1 argument, got 0")
			}
			raiseType("exceptions must be classes or instances deriving from BaseException, not %s", typeName(args[0]))
			return nil
		})
	}
	return nil, false
}
