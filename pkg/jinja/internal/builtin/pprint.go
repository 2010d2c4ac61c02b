package builtin

import (
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// pformat is pprint.pformat: values that do not fit into 80 columns are split into
// lines.
func pformat(fr *value.Frame, v any) string {
	p := &pretty{fr: fr}
	p.format(v, 0, 0, 1)
	fr.Alloc(p.b.Len())
	return p.b.String()
}

const prettyWidth = 80

type pretty struct {
	fr   *value.Frame
	b    strings.Builder
	open []any
}

// repr returns the text on one line, with the keys of dicts sorted.
func (p *pretty) repr(v any) string {
	s := value.ReprIn(p.fr, p.sorted(v, 0))
	return s
}

// sorted copies containers with sorted keys.
func (p *pretty) sorted(v any, depth int) any {
	p.fr.Step()
	if depth > value.MaxReprDepth {
		return v
	}
	for _, o := range p.open {
		if value.Identical(o, v) {
			return v
		}
	}
	switch v := v.(type) {
	case *value.List:
		p.open = append(p.open, v)
		l := &value.List{Items: make([]any, len(v.Items))}
		for i, item := range v.Items {
			l.Items[i] = p.sorted(item, depth+1)
		}
		p.open = p.open[:len(p.open)-1]
		return l
	case value.Tuple:
		t := make(value.Tuple, len(v))
		for i, item := range v {
			t[i] = p.sorted(item, depth+1)
		}
		return t
	case *value.Dict:
		p.open = append(p.open, v)
		d := value.NewDictSize(v.Len())
		for _, item := range p.items(v) {
			kv := item.(value.Tuple)
			d.Put(p.fr, kv[0], p.sorted(kv[1], depth+1))
		}
		p.open = p.open[:len(p.open)-1]
		return d
	}
	return v
}

// items returns the items of a dict in the order of their keys. Keys that cannot be
// compared are ordered by their types.
func (p *pretty) items(d *value.Dict) []any {
	p.fr.AllocN(d.Len(), 64)
	items := value.Collect(p.fr, &value.DictView{Dict: d, Kind: value.ViewItems})
	key := func(v any) any { return &safeKey{p.fr, v.(value.Tuple)[0]} }
	return sortSafe(p.fr, items, key)
}

// safeKey is a key that can be compared with any other.
type safeKey struct {
	fr *value.Frame
	v  any
}

func (k *safeKey) less(o *safeKey) bool {
	less := false
	if k.fr.Try(func() { less = value.Compare(k.fr, k.v, o.v, "<") }, "TypeError") != nil {
		return value.TypeName(k.v) < value.TypeName(o.v)
	}
	return less
}

// sortSafe sorts by keys that are safeKeys.
func sortSafe(fr *value.Frame, items []any, key func(any) any) []any {
	out := make([]any, 0, len(items))
	keys := make([]*safeKey, 0, len(items))
	for _, v := range items {
		k := key(v).(*safeKey)
		lo, hi := 0, len(keys)
		for lo < hi {
			mid := (lo + hi) / 2
			fr.Step()
			if k.less(keys[mid]) {
				hi = mid
			} else {
				lo = mid + 1
			}
		}
		out = append(out[:lo], append([]any{v}, out[lo:]...)...)
		keys = append(keys[:lo], append([]*safeKey{k}, keys[lo:]...)...)
	}
	return out
}

func (p *pretty) indent(n int) {
	p.fr.Alloc(n + 1)
	p.b.WriteByte('\n')
	p.b.WriteString(strings.Repeat(" ", n))
}

func (p *pretty) format(v any, indent, allowance, level int) {
	p.fr.Step()
	if level > value.MaxReprDepth {
		raise.As(raise.KindLimit, "RecursionError", "maximum recursion depth exceeded")
	}
	for _, o := range p.open {
		if value.Identical(o, v) {
			p.b.WriteString("<Recursion on " + value.TypeName(v) + " with id=" + value.ObjectAddress(v) + ">")
			return
		}
	}
	rep := p.repr(v)
	if pystr.Len(rep) <= prettyWidth-indent-allowance {
		p.b.WriteString(rep)
		return
	}
	switch v := v.(type) {
	case *value.List:
		p.open = append(p.open, v)
		p.b.WriteByte('[')
		p.list(v.Items, indent, allowance+1, level)
		p.b.WriteByte(']')
		p.open = p.open[:len(p.open)-1]
	case value.Tuple:
		p.b.WriteByte('(')
		end := ")"
		if len(v) == 1 {
			end = ",)"
		}
		p.list(v, indent, allowance+len(end), level)
		p.b.WriteString(end)
	case *value.Dict:
		p.open = append(p.open, v)
		p.b.WriteByte('{')
		p.dict(v, indent, allowance+1, level)
		p.b.WriteByte('}')
		p.open = p.open[:len(p.open)-1]
	case string:
		p.str(v, indent, allowance, level)
	case value.Bytes:
		p.bytes(v, rep, indent, allowance, level)
	default:
		p.b.WriteString(rep)
	}
}

func (p *pretty) list(items []any, indent, allowance, level int) {
	indent++
	for i, v := range items {
		if i > 0 {
			p.b.WriteByte(',')
			p.indent(indent)
		}
		a := 1
		if i == len(items)-1 {
			a = allowance
		}
		p.format(v, indent, a, level+1)
	}
}

func (p *pretty) dict(d *value.Dict, indent, allowance, level int) {
	indent++
	items := p.items(d)
	for i, item := range items {
		if i > 0 {
			p.b.WriteByte(',')
			p.indent(indent)
		}
		kv := item.(value.Tuple)
		rep := p.repr(kv[0])
		p.b.WriteString(rep + ": ")
		a := 1
		if i == len(items)-1 {
			a = allowance
		}
		p.format(kv[1], indent+pystr.Len(rep)+2, a, level+1)
	}
}

// str splits a long string at white space into adjacent literals.
func (p *pretty) str(s string, indent, allowance, level int) {
	if s == "" {
		p.b.WriteString("''")
		return
	}
	var chunks []string
	lines := pystr.SplitLines(s, true)
	if level == 1 {
		indent++
		allowance++
	}
	width1 := prettyWidth - indent
	width := width1
	rep := ""
	for i, line := range lines {
		rep = value.Repr(line)
		last := i == len(lines)-1
		if last {
			width1 -= allowance
		}
		if pystr.Len(rep) <= width1 {
			chunks = append(chunks, rep)
			continue
		}
		parts := pystr.WordsWithSpace(line)
		width2 := width
		cur := ""
		for j, part := range parts {
			if last && j == len(parts)-1 {
				width2 -= allowance
			}
			if pystr.Len(value.Repr(cur+part)) > width2 {
				if cur != "" {
					chunks = append(chunks, value.Repr(cur))
				}
				cur = part
			} else {
				cur += part
			}
		}
		if cur != "" {
			chunks = append(chunks, value.Repr(cur))
		}
	}
	if len(chunks) == 1 {
		p.b.WriteString(rep)
		return
	}
	if level == 1 {
		p.b.WriteByte('(')
	}
	for i, c := range chunks {
		if i > 0 {
			p.indent(indent)
		}
		p.b.WriteString(c)
	}
	if level == 1 {
		p.b.WriteByte(')')
	}
}

// bytes splits long bytes into adjacent literals, at multiples of four bytes.
func (p *pretty) bytes(v value.Bytes, rep string, indent, allowance, level int) {
	if len(v) <= 4 {
		p.b.WriteString(rep)
		return
	}
	if level == 1 {
		indent++
		allowance++
		p.b.WriteByte('(')
	}
	width := prettyWidth - indent
	first := true
	write := func(part value.Bytes) {
		if !first {
			p.indent(indent)
		}
		first = false
		p.b.WriteString(value.Repr(part))
	}
	cur := value.Bytes("")
	for i := 0; i < len(v); i += 4 {
		part := v[i:min(i+4, len(v))]
		if i == len(v)/4*4 {
			width -= allowance
		}
		if len(value.Repr(cur+part)) <= width {
			cur += part
			continue
		}
		if cur != "" {
			write(cur)
		}
		cur = part
	}
	if cur != "" {
		write(cur)
	}
	if level == 1 {
		p.b.WriteByte(')')
	}
}
