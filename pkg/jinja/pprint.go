package jinja

import (
	"strings"
)

// pformat is pprint.pformat: what does not fit a line of 80 is broken up.
func pformat(fr *vframe, v any) string {
	p := &pretty{fr: fr}
	p.format(v, 0, 0, 1)
	fr.alloc(p.b.Len())
	return p.b.String()
}

const prettyWidth = 80

type pretty struct {
	fr   *vframe
	b    strings.Builder
	open []any
}

// repr is the text on one line, with the keys of dicts sorted.
func (p *pretty) repr(v any) string {
	s := reprIn(p.fr, p.sorted(v, 0))
	return s
}

// sorted copies containers with their keys sorted.
func (p *pretty) sorted(v any, depth int) any {
	p.fr.step()
	if depth > maxReprDepth {
		return v
	}
	for _, o := range p.open {
		if same(o, v) {
			return v
		}
	}
	switch v := v.(type) {
	case *List:
		p.open = append(p.open, v)
		l := &List{Items: make([]any, len(v.Items))}
		for i, item := range v.Items {
			l.Items[i] = p.sorted(item, depth+1)
		}
		p.open = p.open[:len(p.open)-1]
		return l
	case Tuple:
		t := make(Tuple, len(v))
		for i, item := range v {
			t[i] = p.sorted(item, depth+1)
		}
		return t
	case *Dict:
		p.open = append(p.open, v)
		d := newDict(v.Len())
		for _, item := range p.items(v) {
			kv := item.(Tuple)
			d.set(p.fr, kv[0], p.sorted(kv[1], depth+1))
		}
		p.open = p.open[:len(p.open)-1]
		return d
	}
	return v
}

// items are a dict's items in the order of their keys; keys without an order
// among them are ordered by their types.
func (p *pretty) items(d *Dict) []any {
	p.fr.allocN(d.Len(), 64)
	items := collect(p.fr, &dictView{d, viewItems})
	key := func(v any) any { return &safeKey{p.fr, v.(Tuple)[0]} }
	return sortSafe(p.fr, items, key)
}

type safeKey struct {
	fr *vframe
	v  any
}

func (k *safeKey) less(o *safeKey) bool {
	less := false
	if k.fr.try(func() { less = order(k.fr, k.v, o.v, "<") }, "TypeError") != nil {
		return typeName(k.v) < typeName(o.v)
	}
	return less
}

func sortSafe(fr *vframe, items []any, key func(any) any) []any {
	out := make([]any, 0, len(items))
	keys := make([]*safeKey, 0, len(items))
	for _, v := range items {
		k := key(v).(*safeKey)
		lo, hi := 0, len(keys)
		for lo < hi {
			mid := (lo + hi) / 2
			fr.step()
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
	p.fr.alloc(n + 1)
	p.b.WriteByte('\n')
	p.b.WriteString(strings.Repeat(" ", n))
}

func (p *pretty) format(v any, indent, allowance, level int) {
	p.fr.step()
	if level > maxReprDepth {
		raiseKind(KindLimit, "RecursionError", "maximum recursion depth exceeded")
	}
	for _, o := range p.open {
		if same(o, v) {
			p.b.WriteString("<Recursion on " + typeName(v) + " with id=" + objectAddress(v) + ">")
			return
		}
	}
	rep := p.repr(v)
	if runeLen(rep) <= prettyWidth-indent-allowance {
		p.b.WriteString(rep)
		return
	}
	switch v := v.(type) {
	case *List:
		p.open = append(p.open, v)
		p.b.WriteByte('[')
		p.list(v.Items, indent, allowance+1, level)
		p.b.WriteByte(']')
		p.open = p.open[:len(p.open)-1]
	case Tuple:
		p.b.WriteByte('(')
		end := ")"
		if len(v) == 1 {
			end = ",)"
		}
		p.list(v, indent, allowance+len(end), level)
		p.b.WriteString(end)
	case *Dict:
		p.open = append(p.open, v)
		p.b.WriteByte('{')
		p.dict(v, indent, allowance+1, level)
		p.b.WriteByte('}')
		p.open = p.open[:len(p.open)-1]
	case string:
		p.str(v, indent, allowance, level)
	case bytesValue:
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

func (p *pretty) dict(d *Dict, indent, allowance, level int) {
	indent++
	items := p.items(d)
	for i, item := range items {
		if i > 0 {
			p.b.WriteByte(',')
			p.indent(indent)
		}
		kv := item.(Tuple)
		rep := p.repr(kv[0])
		p.b.WriteString(rep + ": ")
		a := 1
		if i == len(items)-1 {
			a = allowance
		}
		p.format(kv[1], indent+runeLen(rep)+2, a, level+1)
	}
}

// str breaks a long string at white space into adjacent literals.
func (p *pretty) str(s string, indent, allowance, level int) {
	if s == "" {
		p.b.WriteString("''")
		return
	}
	var chunks []string
	lines := splitLines(s, true)
	if level == 1 {
		indent++
		allowance++
	}
	width1 := prettyWidth - indent
	width := width1
	rep := ""
	for i, line := range lines {
		rep = repr(line)
		last := i == len(lines)-1
		if last {
			width1 -= allowance
		}
		if runeLen(rep) <= width1 {
			chunks = append(chunks, rep)
			continue
		}
		parts := wordsWithSpace(line)
		width2 := width
		cur := ""
		for j, part := range parts {
			if last && j == len(parts)-1 {
				width2 -= allowance
			}
			if runeLen(repr(cur+part)) > width2 {
				if cur != "" {
					chunks = append(chunks, repr(cur))
				}
				cur = part
			} else {
				cur += part
			}
		}
		if cur != "" {
			chunks = append(chunks, repr(cur))
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

// bytes breaks long bytes into adjacent literals, four at a time.
func (p *pretty) bytes(v bytesValue, rep string, indent, allowance, level int) {
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
	write := func(part bytesValue) {
		if !first {
			p.indent(indent)
		}
		first = false
		p.b.WriteString(repr(part))
	}
	cur := bytesValue("")
	for i := 0; i < len(v); i += 4 {
		part := v[i:min(i+4, len(v))]
		if i == len(v)/4*4 {
			width -= allowance
		}
		if len(repr(cur+part)) <= width {
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

// wordsWithSpace cuts a text into words, each with the white space after it.
func wordsWithSpace(s string) []string {
	var parts []string
	start, space := 0, false
	for i, r := range s {
		if isSpace(r) {
			space = true
		} else if space {
			parts = append(parts, s[start:i])
			start, space = i, false
		}
	}
	return append(parts, s[start:])
}
