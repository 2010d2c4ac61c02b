package jinja

import (
	"fmt"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// str is str(v), what is printed.
func str(fr *vframe, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case *Undefined:
		if v.mode == Strict {
			raiseUndefined(v)
		}
		return ""
	case object:
		if c := v.Class(); c.text != nil {
			return c.text(v)
		}
	}
	return reprIn(fr, v)
}

// repr is repr(v) for messages, where no render is at hand.
func repr(v any) string { return reprIn(nil, v) }

// reprIn is repr(v), bounded by the limits of a render.
func reprIn(fr *vframe, v any) string {
	p := printer{fr: fr}
	p.repr(v, 0)
	s := p.b.String()
	if fr != nil {
		fr.alloc(len(s))
	}
	return s
}

type printer struct {
	fr   *vframe
	b    strings.Builder
	open []any // containers being printed, to see cycles
}

// maxReprDepth is where Python gives up on nested containers.
const maxReprDepth = 200

func (p *printer) check() {
	limit := 1 << 20
	if p.fr != nil {
		p.fr.step()
		limit = p.fr.limits.Memory
	}
	if p.b.Len() > limit {
		raiseLimit("the text of a value is longer than %s", byteSize(limit))
	}
}

func (p *printer) cyclic(v any) bool {
	for _, o := range p.open {
		if o == v {
			return true
		}
	}
	return false
}

func (p *printer) repr(v any, depth int) {
	p.check()
	if depth > maxReprDepth {
		raiseKind(KindLimit, "RecursionError", "maximum recursion depth exceeded while getting the repr of an object")
	}
	b := &p.b
	switch v := v.(type) {
	case nil:
		b.WriteString("None")
	case bool:
		if v {
			b.WriteString("True")
		} else {
			b.WriteString("False")
		}
	case int64:
		b.WriteString(strconv.FormatInt(v, 10))
	case *big.Int:
		if p.fr != nil {
			p.fr.work(min(v.BitLen(), 1<<14) >> 4)
		}
		b.WriteString(bigString(v))
	case float64:
		b.WriteString(floatRepr(v))
	case string:
		quote(b, v)
	case Markup:
		b.WriteString("Markup(")
		quote(b, string(v))
		b.WriteByte(')')
	case *List:
		if p.cyclic(v) {
			b.WriteString("[...]")
			return
		}
		p.open = append(p.open, v)
		b.WriteByte('[')
		p.items(v.Items, depth)
		b.WriteByte(']')
		p.open = p.open[:len(p.open)-1]
	case Tuple:
		b.WriteByte('(')
		p.items(v, depth)
		if len(v) == 1 {
			b.WriteByte(',')
		}
		b.WriteByte(')')
	case *groupTuple:
		p.repr(v.tuple(), depth)
	case *Dict:
		if p.cyclic(v) {
			b.WriteString("{...}")
			return
		}
		p.open = append(p.open, v)
		b.WriteByte('{')
		p.entries(v, depth)
		b.WriteByte('}')
		p.open = p.open[:len(p.open)-1]
	case *dictView:
		if p.cyclic(v.d) {
			b.WriteString("...")
			return
		}
		p.open = append(p.open, v.d)
		b.WriteString(v.kind.typeName() + "([")
		first := true
		for i := range v.d.ents {
			if v.d.ents[i].live {
				if !first {
					b.WriteString(", ")
				}
				first = false
				p.repr(v.at(i), depth+1)
			}
		}
		b.WriteString("])")
		p.open = p.open[:len(p.open)-1]
	default:
		p.object(v, depth)
	}
}

func (p *printer) items(list []any, depth int) {
	for i, item := range list {
		if i > 0 {
			p.b.WriteString(", ")
		}
		p.repr(item, depth+1)
	}
}

func (p *printer) entries(d *Dict, depth int) {
	first := true
	for i := range d.ents {
		e := &d.ents[i]
		if !e.live {
			continue
		}
		if !first {
			p.b.WriteString(", ")
		}
		first = false
		p.repr(e.key, depth+1)
		p.b.WriteString(": ")
		p.repr(e.val, depth+1)
	}
}

func (p *printer) object(v any, depth int) {
	b := &p.b
	switch v := v.(type) {
	case *Undefined:
		if v.mode == Strict {
			b.WriteString("Undefined")
			return
		}
		b.WriteString("Undefined")
	case *rangeValue:
		if v.step == 1 {
			fmt.Fprintf(b, "range(%d, %d)", v.start, v.stop)
		} else {
			fmt.Fprintf(b, "range(%d, %d, %d)", v.start, v.stop, v.step)
		}
	case *setValue:
		if v.d.n == 0 {
			b.WriteString("set()")
			return
		}
		b.WriteByte('{')
		p.items(v.d.Keys(), depth)
		b.WriteByte('}')
	case *namespaceValue:
		if p.cyclic(v) {
			raiseKind(KindLimit, "RecursionError", "maximum recursion depth exceeded while getting the repr of an object")
		}
		p.open = append(p.open, v)
		b.WriteString("<Namespace ")
		p.repr(v.attrs, depth+1)
		b.WriteByte('>')
		p.open = p.open[:len(p.open)-1]
	case *iterObj:
		if v.typeName == "generator" {
			b.WriteString("<generator object " + v.name + " at " + objectAddress(v) + ">")
		} else {
			b.WriteString("<" + v.typeName + " object at " + objectAddress(v) + ">")
		}
	case *callable:
		b.WriteString(v.repr())
	case bytesValue:
		bytesRepr(b, string(v))
	case *missingType:
		b.WriteString(v.name)
	case *opaqueValue:
		fmt.Fprintf(b, "<%T object>", v.v)
	case object:
		b.WriteString(v.Class().repr(v, p.fr))
	default:
		fmt.Fprintf(b, "<%T object at %s>", v, objectAddress(v))
	}
}

// objectAddress stands for Python's id(), which differs from run to run; it is as
// long as that mostly is.
func objectAddress(v any) string {
	digits := "0000000000" + strings.TrimPrefix(fmt.Sprintf("%p", v), "0x")
	return "0x7f" + digits[len(digits)-10:]
}

// bigString is the decimal text, which Python refuses for very big integers.
func bigString(b *big.Int) string {
	if b.BitLen() > 14285 {
		raiseValue("Exceeds the limit (%d digits) for integer string conversion", maxIntDigits)
	}
	s := b.String()
	if len(s) > maxIntDigits && len(strings.TrimPrefix(s, "-")) > maxIntDigits {
		raiseValue("Exceeds the limit (%d digits) for integer string conversion", maxIntDigits)
	}
	return s
}

// floatRepr is Python's shortest text of a float.
func floatRepr(f float64) string {
	switch {
	case math.IsNaN(f):
		return "nan"
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	if a := math.Abs(f); f != 0 && (a < 1e-4 || a >= 1e16) {
		s := strconv.FormatFloat(f, 'e', -1, 64)
		return s
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}

// strRepr is repr(s).
func strRepr(s string) string {
	var b strings.Builder
	quote(&b, s)
	return b.String()
}

// quote writes repr of a string.
func quote(b *strings.Builder, s string) {
	q := byte('\'')
	if strings.IndexByte(s, '\'') >= 0 && strings.IndexByte(s, '"') < 0 {
		q = '"'
	}
	b.WriteByte(q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x7f || isPrintable(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(b, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(b, `\u%04x`, r)
		default:
			fmt.Fprintf(b, `\U%08x`, r)
		}
	}
	b.WriteByte(q)
}

// isPrintable is str.isprintable for one character.
func isPrintable(r rune) bool {
	if r == ' ' {
		return true
	}
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.P, unicode.S)
}

// escapeString escapes text for HTML.
func escapeString(s string) string {
	if !strings.ContainsAny(s, `&<>'"`) {
		return s
	}
	return htmlEscaper.Replace(s)
}

var htmlEscaper = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "'", "&#39;", `"`, "&#34;")

// escape is markupsafe.escape: what is Markup, or has a form for HTML, stays.
func escape(fr *vframe, v any) Markup {
	s, ok := v.(string)
	if !ok {
		if text, ok := textOf(v); ok {
			return Markup(text)
		}
		s = str(fr, v)
	}
	fr.scan(len(s))
	if e := escapeString(s); len(e) != len(s) {
		fr.alloc(len(e))
		return Markup(e)
	}
	return Markup(s)
}

// markupOf is Markup(v): marked as safe, not escaped.
func markupOf(fr *vframe, v any) Markup { return Markup(str(fr, v)) }

// softStr is markupsafe.soft_str: text that stays Markup if it is.
func softStr(fr *vframe, v any) any {
	switch v.(type) {
	case string, Markup:
		return v
	}
	return str(fr, v)
}

// hasHTML says whether a value has a form for HTML.
func hasHTML(v any) bool {
	switch v := v.(type) {
	case Markup:
		return true
	case *Undefined:
		return v.mode == Chainable
	case object:
		return v.Class().text != nil
	}
	return false
}

// markupJoin joins the values of `~` where output is escaped.
func markupJoin(fr *vframe, vals []any) any {
	parts := make([]string, len(vals))
	markup := false
	for _, v := range vals {
		if _, ok := v.(Markup); ok {
			markup = true
		}
	}
	for i, v := range vals {
		if markup {
			parts[i] = string(escape(fr, softStr(fr, v)))
		} else {
			parts[i] = str(fr, v)
		}
	}
	s := joinStrings(fr, parts, "")
	if markup {
		return Markup(s)
	}
	return s
}

func joinStrings(fr *vframe, parts []string, sep string) string {
	n := 0
	for _, p := range parts {
		n += len(p) + len(sep)
	}
	fr.alloc(n)
	return strings.Join(parts, sep)
}

// runeLen is the number of characters.
func runeLen(s string) int { return utf8.RuneCountInString(s) }

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// like gives text the type of its source.
func like(v any, s string) any {
	if _, ok := v.(Markup); ok {
		return Markup(s)
	}
	return s
}
