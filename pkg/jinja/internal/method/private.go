package method

import (
	"math/big"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// privateAttrs are the attributes with underscores that every Python object has; the
// sandbox refuses them. Other names with underscores are undefined.
var privateAttrs = []string{
	"__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__",
	"__getstate__", "__gt__", "__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__", "__new__",
	"__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
}

// typePrivates returns the further attributes with underscores of a value's type.
func typePrivates(v any) []string {
	switch v := v.(type) {
	case string, value.Markup:
		list := []string{"__add__", "__contains__", "__getitem__", "__getnewargs__", "__iter__", "__len__", "__mod__",
			"__mul__", "__rmod__", "__rmul__"}
		if _, ok := v.(value.Markup); ok {
			list = append(list, "__html__", "__html_format__", "__module__", "__radd__", "__slots__")
		}
		return list
	case *value.List:
		return []string{
			"__add__", "__class_getitem__", "__contains__", "__delitem__", "__getitem__", "__iadd__", "__imul__",
			"__iter__", "__len__", "__mul__", "__reversed__", "__rmul__", "__setitem__",
		}
	case value.Tuple, *value.GroupTuple:
		return []string{"__add__", "__class_getitem__", "__contains__", "__getitem__", "__getnewargs__", "__iter__",
			"__len__", "__mul__", "__rmul__"}
	case *value.Dict:
		return []string{
			"__class_getitem__", "__contains__", "__delitem__", "__getitem__", "__ior__",
			"__iter__", "__len__", "__or__", "__reversed__", "__ror__", "__setitem__",
		}
	case nil:
		return []string{"__bool__"}
	case int64, *big.Int, bool, float64:
		return []string{
			"__abs__", "__add__", "__bool__", "__ceil__", "__divmod__", "__float__", "__floor__", "__floordiv__",
			"__getnewargs__", "__int__", "__mod__", "__mul__", "__neg__", "__pos__", "__pow__", "__radd__", "__rdivmod__",
			"__rfloordiv__", "__rmod__", "__rmul__", "__round__", "__rpow__", "__rsub__", "__rtruediv__", "__sub__",
			"__truediv__", "__trunc__",
		}
	case *value.Callable:
		if v.Kind == value.ClassObject {
			return append([]string{"__base__", "__bases__", "__call__", "__mro__", "__name__", "__qualname__", "__subclasses__"},
				typePrivates(&value.Dict{})...)
		}
		return []string{
			"__call__", "__code__", "__closure__", "__defaults__", "__dict__", "__globals__",
			"__kwdefaults__", "__module__", "__name__", "__qualname__", "__self__",
		}
	case value.Object:
		return v.Class().Private
	case *value.Undefined:
		return []string{
			"_fail_with_undefined_error", "_undefined_exception", "_undefined_hint", "_undefined_message", "_undefined_name",
			"_undefined_obj", "__add__", "__aiter__", "__bool__", "__call__", "__complex__", "__div__", "__float__",
			"__floordiv__", "__getattr__", "__getitem__", "__int__", "__iter__", "__len__", "__mod__", "__module__", "__mul__",
			"__neg__", "__pos__", "__pow__", "__radd__", "__rdiv__", "__rfloordiv__", "__rmod__", "__rmul__", "__rpow__",
			"__rsub__", "__rtruediv__", "__slots__", "__sub__", "__truediv__",
		}
	case *value.IterObject:
		list := []string{"__iter__", "__next__"}
		if v.IsGenerator() {
			list = append(list, "__del__", "__name__", "__qualname__")
		}
		return list
	case *value.DictView, *value.Range, *value.Set:
		return []string{"__contains__", "__iter__", "__len__", "__reversed__"}
	}
	return nil
}

// Unsafe reports whether the sandbox refuses an attribute that exists in Python.
func Unsafe(v any, attr string) bool {
	if !strings.HasPrefix(attr, "_") {
		if it, ok := v.(*value.IterObject); ok && it.IsGenerator() {
			return attr == "gi_frame" || attr == "gi_code"
		}
		if f, ok := v.(*value.Callable); ok && f.Kind == value.ClassObject {
			return attr == "mro"
		}
		return false
	}
	if _, ok := v.(*value.Namespace); ok {
		return attr == "__class__" || attr == "_Namespace__attrs"
	}
	return slices.Contains(privateAttrs, attr) || slices.Contains(typePrivates(v), attr)
}
