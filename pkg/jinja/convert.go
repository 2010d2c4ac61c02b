package jinja

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

// convertReflect handles the Go types that are not named in convert. It runs
// once for a value, when a render first looks at it.
func convertReflect(v any) any {
	rv := reflect.ValueOf(v)
	switch rv.Kind() {
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return rv.Int()
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return normBig(new(big.Int).SetUint64(rv.Uint()))
	case reflect.Float32, reflect.Float64:
		return rv.Float()
	case reflect.String:
		return rv.String()
	case reflect.Bool:
		return rv.Bool()
	case reflect.Slice, reflect.Array:
		l := &List{Items: make([]any, rv.Len())}
		for i := range l.Items {
			l.Items[i] = convert(rv.Index(i).Interface())
		}
		return l
	case reflect.Map:
		keys := rv.MapKeys()
		sort.Slice(keys, func(i, j int) bool {
			return fmt.Sprint(keys[i].Interface()) < fmt.Sprint(keys[j].Interface())
		})
		d := newDict(len(keys))
		for _, k := range keys {
			d.set(nil, convert(k.Interface()), convert(rv.MapIndex(k).Interface()))
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

// opaqueValue carries a Go value that templates can pass on but not look into.
type opaqueValue struct{ v any }
