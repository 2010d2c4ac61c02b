package builtin

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// attrGetter returns a function that looks an attribute path, such as "address.city"
// or 0, up in an item. The path nil is the item itself.
func attrGetter(fr *value.Frame, attribute, defaultValue any, ignoreCase bool) func(any) any {
	parts := attributeParts(attribute)
	return func(v any) any {
		for _, part := range parts {
			v = method.Getitem(fr, v, part)
			if defaultValue != nil && value.IsUndefined(v) {
				v = defaultValue
			}
		}
		if ignoreCase {
			v = foldCase(v)
		}
		return v
	}
}

// attributeParts splits an attribute path.
func attributeParts(attribute any) []any {
	if attribute == nil {
		return nil
	}
	s, ok := value.AsStr(attribute)
	if !ok {
		return []any{attribute}
	}
	var parts []any
	for part := range strings.SplitSeq(s, ".") {
		if pystr.IsDecimal(part) {
			parts = append(parts, value.ParseInt(part, 10))
		} else {
			parts = append(parts, part)
		}
	}
	return parts
}

// multiGetter is attrGetter for several paths, separated by commas.
func multiGetter(fr *value.Frame, attribute any, ignoreCase bool) func(any) any {
	split := []any{attribute}
	if s, ok := value.AsStr(attribute); ok {
		split = split[:0]
		for part := range strings.SplitSeq(s, ",") {
			split = append(split, part)
		}
	}
	getters := make([]func(any) any, len(split))
	for i, attr := range split {
		getters[i] = attrGetter(fr, attr, nil, ignoreCase)
	}
	return func(v any) any {
		keys := make([]any, len(getters))
		for i, get := range getters {
			keys[i] = get(v)
		}
		return &value.List{Items: keys}
	}
}

// foldCase returns a string in lower case, other values as they are.
func foldCase(v any) any {
	if s, ok := value.AsStr(v); ok {
		return value.Like(v, pystr.Lower(s))
	}
	return v
}
