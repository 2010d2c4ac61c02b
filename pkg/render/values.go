package render

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// text returns the content of a str.
func text(v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case jinja.Markup:
		return string(v), true
	}
	return "", false
}

func truth(v any) bool {
	switch v := v.(type) {
	case nil, *jinja.Undefined:
		return false
	case *jinja.List:
		return len(v.Items) > 0
	case jinja.Tuple:
		return len(v) > 0
	case *jinja.Dict:
		return v.Len() > 0
	}
	if s, ok := text(v); ok {
		return s != ""
	}
	return pyTrue(v)
}

// equal is Python's == for the values in lists of packages: strings of both kinds,
// numbers and booleans across types, and lists and tuples of those.
func equal(a, b any) bool {
	if as, ok := text(a); ok {
		bs, ok := text(b)
		return ok && as == bs
	}
	if an, ok := number(a); ok {
		bn, ok := number(b)
		return ok && an == bn
	}
	switch a := a.(type) {
	case *jinja.List:
		b, ok := b.(*jinja.List)
		return ok && slices.EqualFunc(a.Items, b.Items, equal)
	case jinja.Tuple:
		b, ok := b.(jinja.Tuple)
		return ok && slices.EqualFunc(a, b, equal)
	}
	return reflect.DeepEqual(a, b)
}

func number(v any) (float64, bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case int64:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// describeValue describes a value for a message.
func describeValue(v any) string {
	switch v := v.(type) {
	case nil:
		return "None"
	case *jinja.Undefined:
		return "something undefined (" + v.Message() + ")"
	case bool:
		return "the boolean " + pyStr(v)
	case int64, float64:
		return "the number " + pyStr(v)
	case *jinja.List:
		return "a list"
	case jinja.Tuple:
		return "a tuple"
	case *jinja.Dict:
		return "a dictionary"
	}
	if s, ok := text(v); ok {
		if len(s) > 40 {
			s = s[:40] + "…"
		}
		return fmt.Sprintf("the text %q", s)
	}
	return "something else"
}
