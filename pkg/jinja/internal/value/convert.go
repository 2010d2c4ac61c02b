package value

import (
	"fmt"
	"math/big"
	"reflect"
	"sort"
)

func isReflectContainer(v any) bool {
	switch v.(type) {
	case nil, string, bool, int, int64, float64, *Dict, *List, Tuple, Func:
		return false
	}
	k := reflect.TypeOf(v).Kind()
	return k == reflect.Map || k == reflect.Slice || k == reflect.Array
}

// convertReflect handles the Go types that Convert does not name.
func convertReflect(v any) any {
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return rv.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return NormInt(new(big.Int).SetUint64(rv.Uint()))
	case reflect.Float32, reflect.Float64:
		return rv.Float()
	case reflect.String:
		return rv.String()
	case reflect.Bool:
		return rv.Bool()
	case reflect.Slice, reflect.Array:
		l := &List{Items: make([]any, rv.Len())}
		for i := range l.Items {
			l.Items[i] = Convert(rv.Index(i).Interface())
		}
		return l
	case reflect.Map:
		keys := rv.MapKeys()
		sort.Slice(keys, func(i, j int) bool {
			return fmt.Sprint(keys[i].Interface()) < fmt.Sprint(keys[j].Interface())
		})
		d := NewDictSize(len(keys))
		for _, k := range keys {
			d.Put(nil, Convert(k.Interface()), Convert(rv.MapIndex(k).Interface()))
		}
		return d
	case reflect.Pointer, reflect.Interface:
		if rv.IsNil() {
			return nil
		}
	}
	if !rv.Comparable() {
		return &opaqueValue{v}
	}
	return v
}

// opaqueValue is a Go value that templates can pass on but not look into.
type opaqueValue struct{ v any }

// Lazy is a Go value that is converted when it is first used. All contexts of a render
// share it, so that all see the same value.
type Lazy struct {
	Raw  any
	val  any
	done bool
}

// Get returns the converted value.
func (l *Lazy) Get() any {
	if !l.done {
		l.val, l.done = Convert(l.Raw), true
	}
	return l.val
}

// Shared is a Go container in the globals, which each render converts for itself.
type Shared struct{ raw any }

// BoxGlobal prepares a global: containers are kept for each render to convert.
func BoxGlobal(v any) any {
	if isContainer(v) {
		return Shared{v}
	}
	return Convert(v)
}

func isContainer(v any) bool {
	switch v.(type) {
	case map[string]any, map[string]string, map[string][]string, map[string]map[string]any,
		[]any, []string, []map[string]any:
		return true
	}
	return isReflectContainer(v)
}

// Convert turns a Go value into a value of templates. Maps are read in the order of
// their keys. A Go value of an unknown type becomes an opaque object.
func Convert(v any) any {
	switch v := v.(type) {
	case nil, bool, int64, float64, string, Markup, *List, *Dict, *Undefined, *Callable, Object:
		return v
	case int:
		return int64(v)
	case Tuple:
		out := make(Tuple, len(v))
		for i := range v {
			out[i] = Convert(v[i])
		}
		return out
	case *big.Int:
		return NormInt(new(big.Int).Set(v))
	case []any:
		l := &List{Items: make([]any, len(v))}
		for i := range v {
			l.Items[i] = Convert(v[i])
		}
		return l
	case []string:
		l := &List{Items: make([]any, len(v))}
		for i := range v {
			l.Items[i] = v[i]
		}
		return l
	case map[string]any:
		return convertMap(v, Convert)
	case map[string]string:
		return convertMap(v, func(s string) any { return s })
	case Shared:
		return Convert(v.raw)
	}
	if f, ok := AsFunc(v); ok {
		return FromGo("function", f)
	}
	return convertReflect(v)
}

func convertMap[V any](m map[string]V, conv func(V) any) *Dict {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	d := NewDictSize(len(keys))
	for _, k := range keys {
		d.SetStr(k, conv(m[k]))
	}
	return d
}

// AsFunc returns v as a Func if it is a function with that signature.
func AsFunc(v any) (Func, bool) {
	switch f := v.(type) {
	case Func:
		return f, f != nil
	case func(*Call) (any, error):
		return f, f != nil
	}
	return nil, false
}
