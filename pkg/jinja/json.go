package jinja

import (
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// tojson writes JSON as Python's json.dumps does with sorted keys, with what HTML
// would trip over escaped.
func tojson(fr *vframe, a []any) any {
	w := &jsonWriter{fr: fr}
	switch indent := opt(a[1], nil).(type) {
	case nil:
	case string:
		w.indent, w.pretty = indent, true
	case Markup:
		w.indent, w.pretty = string(indent), true
	default:
		v, ok := repeat(fr, " ", indent)
		if !ok {
			checkUndefined(indent, nil)
			raiseType("can't multiply sequence by non-int of type '%s'", typeName(indent))
		}
		w.indent, w.pretty = v.(string), true
	}
	w.value(a[0], 0)
	fr.alloc(w.b.Len())
	return Markup(jsonEscaper.Replace(w.b.String()))
}

var jsonEscaper = strings.NewReplacer("<", `\u003c`, ">", `\u003e`, "&", `\u0026`, "'", `\u0027`)

type jsonWriter struct {
	fr     *vframe
	b      strings.Builder
	indent string
	pretty bool
	open   []any
}

func (w *jsonWriter) newline(depth int) {
	if w.pretty {
		w.fr.alloc(depth * len(w.indent))
		w.b.WriteByte('\n')
		for range depth {
			w.b.WriteString(w.indent)
		}
	}
}

func (w *jsonWriter) push(v any) {
	if slices.Contains(w.open, v) {
		raiseValue("Circular reference detected")
	}
	if len(w.open) > maxReprDepth {
		raiseKind(KindLimit, "RecursionError", "maximum recursion depth exceeded while encoding a JSON object")
	}
	w.open = append(w.open, v)
}

func (w *jsonWriter) pop() { w.open = w.open[:len(w.open)-1] }

func (w *jsonWriter) value(v any, depth int) {
	w.fr.step()
	if w.b.Len() > w.fr.limits.Memory {
		w.fr.alloc(w.b.Len())
	}
	switch v := v.(type) {
	case nil:
		w.b.WriteString("null")
	case bool:
		fmt.Fprint(&w.b, v)
	case int64:
		fmt.Fprint(&w.b, v)
	case *big.Int:
		w.b.WriteString(bigString(v))
	case float64:
		w.b.WriteString(jsonFloat(v))
	case string:
		jsonString(&w.b, v)
	case Markup:
		jsonString(&w.b, string(v))
	case *List:
		w.push(v)
		w.list(v.Items, depth)
		w.pop()
	case Tuple:
		if len(w.open) > maxReprDepth {
			w.push(v)
		}
		w.open = append(w.open, nil)
		w.list(v, depth)
		w.pop()
	case *groupTuple:
		w.list(v.tuple(), depth)
	case *Dict:
		w.push(v)
		w.dict(v, depth)
		w.pop()
	default:
		raiseType("Object of type %s is not JSON serializable", typeName(v))
	}
}

func jsonFloat(f float64) string {
	switch s := floatRepr(f); s {
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

func (w *jsonWriter) dict(d *Dict, depth int) {
	if d.Len() == 0 {
		w.b.WriteString("{}")
		return
	}
	items := sortItems(w.fr, collect(w.fr, &dictView{d, viewItems}), nil, false)
	w.b.WriteByte('{')
	for i, item := range items {
		kv := item.(Tuple)
		w.comma(i, depth+1)
		switch k := kv[0].(type) {
		case string:
			jsonString(&w.b, k)
		case Markup:
			jsonString(&w.b, string(k))
		case float64:
			jsonString(&w.b, jsonFloat(k))
		case nil:
			jsonString(&w.b, "null")
		case bool:
			jsonString(&w.b, fmt.Sprint(k))
		case int64:
			jsonString(&w.b, fmt.Sprint(k))
		case *big.Int:
			jsonString(&w.b, bigString(k))
		default:
			raiseType("keys must be str, int, float, bool or None, not %s", typeName(k))
		}
		w.b.WriteString(": ")
		w.value(kv[1], depth+1)
	}
	w.newline(depth)
	w.b.WriteByte('}')
}

// jsonString writes a string in ASCII, as json.dumps does.
func jsonString(b *strings.Builder, s string) {
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\f':
			b.WriteString(`\f`)
		case r == '\b':
			b.WriteString(`\b`)
		case r >= ' ' && r < 0x7f:
			b.WriteRune(r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
	}
	b.WriteByte('"')
}
