package method

import (
	"math/big"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// methodsOf returns the methods of a value's type.
func methodsOf(v any) Table {
	switch v.(type) {
	case string, value.Markup:
		return strMethods
	case *value.List:
		return listMethods
	case *value.Dict:
		return dictMethods
	case value.Tuple, *value.GroupTuple:
		return tupleMethods
	case int64, *big.Int, bool:
		return intMethods
	case float64:
		return floatMethods
	case *value.Range:
		return rangeMethods
	case value.Bytes:
		return bytesMethods
	case *value.Set:
		return setMethods
	case *value.DictView:
		return viewMethods
	}
	return nil
}

// Find returns the method that an attribute of a value is, or nil.
func Find(v any, attr string) *Method {
	if strings.HasPrefix(attr, "_") {
		return nil
	}
	if m := methodsOf(v)[attr]; m != nil {
		if attr == "unescape" || attr == "striptags" || attr == "escape" {
			if _, ok := v.(value.Markup); !ok {
				return nil
			}
		}
		return m
	}
	return nil
}

// Attribute is Python's getattr, within the limits of the sandbox.
func Attribute(fr *value.Frame, v any, attr string) (any, bool) {
	if m := Find(v, attr); m != nil {
		return &BoundMethod{v, attr, m}, true
	}
	switch o := v.(type) {
	case *value.Undefined:
		if o.Mode() == value.Chainable {
			return o, true
		}
		if strings.HasPrefix(attr, "__") {
			return nil, false
		}
		value.RaiseUndefined(o)
	case *value.Namespace:
		return o.Attrs.GetStr(attr)
	case value.Object:
		if f := o.Class().Attr; f != nil {
			return f(o, fr, attr)
		}
	case *value.GroupTuple:
		switch attr {
		case "grouper":
			return o.Grouper, true
		case "list":
			return o.List, true
		}
	case *value.Range:
		switch attr {
		case "start":
			return o.Start, true
		case "stop":
			return o.Stop, true
		case "step":
			return o.Step, true
		}
	case int64, *big.Int, bool, float64:
		return numberAttr(fr, v, attr)
	case *value.Callable:
		if m := dictMethods[attr]; m != nil && o.Kind == value.ClassObject && o.Name == "dict" {
			return dictClassMethod(m), true
		}
	case *value.IterObject:
		if o.IsGenerator() {
			return generatorAttr(o, attr)
		}
	case *value.DictView:
		if attr == "mapping" {
			return o.Dict, true
		}
	}
	return nil, false
}

// dictClassMethod returns a method of dict that is taken from the class.
func dictClassMethod(m *Method) *value.Callable {
	return &value.Callable{
		Name: m.Name,
		Kind: value.BuiltinFunction,
		Raw: func(fr *value.Frame, args []any, kw []value.Keyword) any {
			if m.Name == "fromkeys" {
				return m.Call(fr, nil, args, kw)
			}
			if len(args) == 0 {
				raise.Type("unbound method dict.%s() needs an argument", m.Name)
			}
			if _, ok := args[0].(*value.Dict); !ok {
				raise.Type("descriptor '%s' for 'dict' objects doesn't apply to a '%s' object", m.Name, value.TypeName(args[0]))
			}
			return m.Call(fr, args[0], args[1:], kw)
		},
	}
}

// numberAttr returns an attribute of a number that is not a method.
func numberAttr(fr *value.Frame, v any, attr string) (any, bool) {
	f, float := v.(float64)
	switch attr {
	case "real":
		if float {
			return f, true
		}
		return operator.Positive(fr, v), true
	case "imag":
		if float {
			return 0.0, true
		}
		return int64(0), true
	case "numerator":
		if !float {
			return operator.Positive(fr, v), true
		}
	case "denominator":
		if !float {
			return int64(1), true
		}
	}
	return nil, false
}

// UnsafeUndefined returns the value of an attribute that the sandbox refuses.
func UnsafeUndefined(fr *value.Frame, v any, attr string) any {
	return value.UnsafeElement(fr.Code.UndefinedMode(), v, attr)
}

// NoElement returns the value of an attribute or item that v lacks.
func NoElement(fr *value.Frame, v, name any) any {
	return value.UndefinedElement(fr.Code.UndefinedMode(), v, name)
}

// Getattr is `v.attr` in a template: an attribute, or else an item.
func Getattr(fr *value.Frame, v any, attr string) any {
	if Unsafe(v, attr) {
		return UnsafeUndefined(fr, v, attr)
	}
	if x, ok := Attribute(fr, v, attr); ok {
		if strings.HasPrefix(attr, "_") {
			return UnsafeUndefined(fr, v, attr)
		}
		return x
	}
	switch o := v.(type) {
	case *value.Dict:
		if x, ok := o.GetStr(attr); ok {
			return x
		}
	case *value.Undefined:
		value.RaiseUndefined(o)
	default:
		if c := value.Indexed(v); c != nil {
			if x, ok := c.Item(v, fr, attr); ok {
				return x
			}
		}
	}
	return NoElement(fr, v, attr)
}

// Getitem is `v[arg]` in a template: an item, or else an attribute.
func Getitem(fr *value.Frame, v, arg any) any {
	switch o := v.(type) {
	case *value.Dict:
		if s, ok := arg.(string); ok {
			if x, ok := o.GetStr(s); ok {
				return x
			}
			break
		}
		var x any
		var found bool
		if r := fr.Try(func() { x, found = o.Lookup(fr, arg) }, "TypeError"); r == nil && found {
			return x
		}
	case *value.List:
		if i, ok := arg.(int64); ok {
			if i < 0 {
				i += int64(len(o.Items))
			}
			if i >= 0 && i < int64(len(o.Items)) {
				return o.Items[i]
			}
			return NoElement(fr, v, arg)
		}
		return getitemSlow(fr, v, arg)
	default:
		return getitemSlow(fr, v, arg)
	}
	return attrAsItem(fr, v, arg)
}

func getitemSlow(fr *value.Frame, v, arg any) any {
	var x any
	if r := fr.Try(func() { x = value.Subscript(fr, v, arg) }, "TypeError", "LookupError"); r == nil {
		return x
	}
	return attrAsItem(fr, v, arg)
}

func attrAsItem(fr *value.Frame, v, arg any) any {
	if name, ok := value.AsStr(arg); ok {
		if Unsafe(v, name) {
			return UnsafeUndefined(fr, v, name)
		}
		if x, ok := Attribute(fr, v, name); ok {
			if strings.HasPrefix(name, "_") {
				return UnsafeUndefined(fr, v, name)
			}
			return x
		}
	}
	return NoElement(fr, v, arg)
}

// SuggestElement returns the hint for an undefined attribute or item, or "": an
// existing one with a similar name.
func SuggestElement(u *value.Undefined) string {
	obj, attr := u.Element()
	name, ok := attr.(string)
	if !ok {
		return ""
	}
	var names []string
	d, _ := obj.(*value.Dict)
	switch o := obj.(type) {
	case *value.Namespace:
		d = o.Attrs
	case value.Object:
		if f := o.Class().AttrNames; f != nil {
			names = f(o)
		}
	}
	if d != nil {
		for key := range d.All() {
			if k, ok := key.(string); ok {
				names = append(names, k)
			}
		}
	}
	for m := range methodsOf(obj) {
		names = append(names, m)
	}
	return raise.Suggest(name, names)
}
