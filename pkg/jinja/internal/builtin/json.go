package builtin

import (
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/kolla-build/kolla-build/internal/pyjson"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/operator"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// tojson is the filter tojson: json.dumps with sorted keys, and with characters escaped that
// are special in HTML.
func tojson(fr *value.Frame, a []any) any {
	w := &jsonWriter{fr: fr}
	switch indent := value.Or(a[1], nil).(type) {
	case nil:
	case string:
		w.indent, w.pretty = indent, true
	case value.Markup:
		w.indent, w.pretty = string(indent), true
	default:
		v, ok := operator.Repeat(fr, " ", indent)
		if !ok {
			value.CheckUndefined(indent, nil)
			raise.Type("can't multiply sequence by non-int of type '%s'", value.TypeName(indent))
		}
		w.indent, w.pretty = v.(string), true
	}
	w.value(a[0], 0)
	fr.Alloc(w.b.Len())
	return value.Markup(jsonEscaper.Replace(w.b.String()))
}

var jsonEscaper = strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`, "'", `\u0027`)

type jsonWriter struct {
	fr     *value.Frame
	b      strings.Builder
	indent string
	pretty bool
	open   []any
}

func (w *jsonWriter) newline(depth int) {
	if w.pretty {
		w.fr.Alloc(depth * len(w.indent))
		w.b.WriteByte('\n')
		for range depth {
			w.b.WriteString(w.indent)
		}
	}
}

func (w *jsonWriter) push(v any) {
	if slices.Contains(w.open, v) {
		raise.Value("Circular reference detected")
	}
	if len(w.open) > value.MaxReprDepth {
		raise.As(raise.KindLimit, "RecursionError", "maximum recursion depth exceeded while encoding a JSON object")
	}
	w.open = append(w.open, v)
}

func (w *jsonWriter) pop() { w.open = w.open[:len(w.open)-1] }

func (w *jsonWriter) value(v any, depth int) {
	w.fr.Step()
	if w.b.Len() > w.fr.Limits.Memory {
		w.fr.Alloc(w.b.Len())
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		fmt.Fprint(&w.b, v)
	case int64:
		fmt.Fprint(&w.b, v)
	case *big.Int:
		w.b.WriteString(value.BigString(v))
	case float64:
		w.b.WriteString(jsonFloat(v))
	case string:
		pyjson.Write(&w.b, v)
	case value.Markup:
		pyjson.Write(&w.b, string(v))
	case *value.List:
		w.push(v)
		w.list(v.Items, depth)
		w.pop()
	case value.Tuple:
		if len(w.open) > value.MaxReprDepth {
			w.push(v)
		}
		w.open = append(w.open, nil)
		w.list(v, depth)
		w.pop()
	case *value.GroupTuple:
		w.list(v.Tuple(), depth)
	case *value.Dict:
		w.push(v)
		w.dict(v, depth)
		w.pop()
	default:
		raise.Type("Object of type %s is not JSON serializable", value.TypeName(v))
	}
}

func jsonFloat(f float64) string {
	switch s := pystr.FloatRepr(f); s {
	case "nan":
		return "NaN"
	case "inf":
		return "Infinity"
	case "-inf":
		return "-Infinity"
	default:
		return s
	}
}

func (w *jsonWriter) comma(i, depth int) {
	if i > 0 {
		w.b.WriteByte(',')
		if !w.pretty {
			w.b.WriteByte(' ')
		}
	}
	w.newline(depth)
}

func (w *jsonWriter) list(items []any, depth int) {
	if len(items) == 0 {
		w.b.WriteString("[]")
		return
	}
	w.b.WriteByte('[')
	for i, v := range items {
		w.comma(i, depth+1)
		w.value(v, depth+1)
	}
	w.newline(depth)
	w.b.WriteByte(']')
}

func (w *jsonWriter) dict(d *value.Dict, depth int) {
	if d.Len() == 0 {
		w.b.WriteString("{}")
		return
	}
	items := value.SortItems(w.fr, value.Collect(w.fr, &value.DictView{Dict: d, Kind: value.ViewItems}), nil, false)
	w.b.WriteByte('{')
	for i, item := range items {
		kv := item.(value.Tuple)
		w.comma(i, depth+1)
		switch k := kv[0].(type) {
		case string:
			pyjson.Write(&w.b, k)
		case value.Markup:
			pyjson.Write(&w.b, string(k))
		case float64:
			pyjson.Write(&w.b, jsonFloat(k))
		case nil:
			pyjson.Write(&w.b, "null")
		case bool:
			pyjson.Write(&w.b, fmt.Sprint(k))
		case int64:
			pyjson.Write(&w.b, fmt.Sprint(k))
		case *big.Int:
			pyjson.Write(&w.b, value.BigString(k))
		default:
			raise.Type("keys must be str, int, float, bool or None, not %s", value.TypeName(k))
		}
		w.b.WriteString(": ")
		w.value(kv[1], depth+1)
	}
	w.newline(depth)
	w.b.WriteByte('}')
}
