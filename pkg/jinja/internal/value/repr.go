package value

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Str is str(v), which templates print.
func Str(fr *Frame, v any) string {
	switch v := v.(type) {
	case string:
		return v
	case Markup:
		return string(v)
	case int64:
		return strconv.FormatInt(v, 10)
	case *Undefined:
		if v.mode == Strict {
			RaiseUndefined(v)
		}
		fr.UseUndefined(v)
		return ""
	case Object:
		if c := v.Class(); c.Text != nil {
			return c.Text(v)
		}
	}
	return ReprIn(fr, v)
}

// Repr is repr(v), for messages.
func Repr(v any) string { return ReprIn(nil, v) }

// ReprIn is repr(v), counted against the limits of a render; fr may be nil.
func ReprIn(fr *Frame, v any) string {
	p := printer{fr: fr}
	p.repr(v, 0)
	s := p.b.String()
	if fr != nil {
		fr.Alloc(len(s))
	}
	return s
}

type printer struct {
	fr   *Frame
	b    strings.Builder
	open []any // the containers being printed, for cycles
}

// MaxReprDepth is the depth of nested containers at which Python raises an error.
const MaxReprDepth = 200

func (p *printer) check() {
	limit := 1 << 20
	if p.fr != nil {
		p.fr.Step()
		limit = p.fr.Limits.Memory
	}
	if p.b.Len() > limit {
		raise.Limit("the text of a value is longer than %s", ByteSize(limit))
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
	if depth > MaxReprDepth {
		raise.As(raise.KindLimit, "RecursionError", "maximum recursion depth exceeded while getting the repr of an object")
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
			p.fr.Work(min(v.BitLen(), 1<<14) >> 4)
		}
		b.WriteString(BigString(v))
	case float64:
		b.WriteString(pystr.FloatRepr(v))
	case string:
		pystr.WriteRepr(b, v)
	case Markup:
		b.WriteString("Markup(")
		pystr.WriteRepr(b, string(v))
		b.WriteByte(')')
	case *List:
		p.container(v, "[", "]", func() { p.items(v.Items, depth) })
	case Tuple:
		b.WriteByte('(')
		p.items(v, depth)
		if len(v) == 1 {
			b.WriteByte(',')
		}
		b.WriteByte(')')
	case *GroupTuple:
		p.repr(v.Tuple(), depth)
	case *Dict:
		p.container(v, "{", "}", func() { p.entries(v, depth) })
	case *DictView:
		p.view(v, depth)
	default:
		p.object(v, depth)
	}
}

// container prints a container, or dots if it contains itself.
func (p *printer) container(v any, begin, end string, content func()) {
	if p.cyclic(v) {
		p.b.WriteString(begin + "..." + end)
		return
	}
	p.open = append(p.open, v)
	p.b.WriteString(begin)
	content()
	p.b.WriteString(end)
	p.open = p.open[:len(p.open)-1]
}

func (p *printer) view(v *DictView, depth int) {
	if p.cyclic(v.Dict) {
		p.b.WriteString("...")
		return
	}
	p.container(v.Dict, v.Kind.typeName()+"([", "])", func() {
		first := true
		for i := range v.Dict.entries {
			if v.Dict.entries[i].live {
				if !first {
					p.b.WriteString(", ")
				}
				first = false
				p.repr(v.at(i), depth+1)
			}
		}
	})
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
	for i := range d.entries {
		e := &d.entries[i]
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
		if p.fr != nil {
			p.fr.UseUndefined(v)
		}
		b.WriteString("Undefined")
	case *Range:
		if v.Step == 1 {
			fmt.Fprintf(b, "range(%d, %d)", v.Start, v.Stop)
		} else {
			fmt.Fprintf(b, "range(%d, %d, %d)", v.Start, v.Stop, v.Step)
		}
	case *Set:
		if v.Members.n == 0 {
			b.WriteString("set()")
			return
		}
		b.WriteByte('{')
		p.items(v.Members.Keys(), depth)
		b.WriteByte('}')
	case *Namespace:
		if p.cyclic(v) {
			raise.As(raise.KindLimit, "RecursionError", "maximum recursion depth exceeded while getting the repr of an object")
		}
		p.open = append(p.open, v)
		b.WriteString("<Namespace ")
		p.repr(v.Attrs, depth+1)
		b.WriteByte('>')
		p.open = p.open[:len(p.open)-1]
	case *IterObject:
		if v.TypeName == "generator" {
			b.WriteString("<generator object " + v.name + " at " + ObjectAddress(v) + ">")
		} else {
			b.WriteString("<" + v.TypeName + " object at " + ObjectAddress(v) + ">")
		}
	case *Callable:
		b.WriteString(v.repr())
	case Bytes:
		pystr.WriteBytesRepr(b, string(v))
	case *Marker:
		b.WriteString(v.Name)
	case *opaqueValue:
		fmt.Fprintf(b, "<%T object>", v.v)
	case Object:
		b.WriteString(v.Class().Repr(v, p.fr))
	default:
		fmt.Fprintf(b, "<%T object at %s>", v, ObjectAddress(v))
	}
}

// ObjectAddress replaces Python's id(), which differs from run to run. Its length is
// that of a typical one.
func ObjectAddress(v any) string {
	digits := "0000000000" + strings.TrimPrefix(fmt.Sprintf("%p", v), "0x")
	return "0x7f" + digits[len(digits)-10:]
}
