package builtin

import (
	"math"
	"math/rand/v2"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/pystr"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Globals are the built-in globals by name.
var Globals = map[string]any{}

func init() {
	Globals["range"] = &value.Callable{Name: "safe_range", Raw: rangeGlobal}
	Globals["dict"] = &value.Callable{
		Name: "dict",
		Kind: value.ClassObject,
		Raw:  func(fr *value.Frame, args []any, kw []value.Keyword) any { return dictGlobal(fr, args, kw) },
	}
	Globals["namespace"] = &value.Callable{
		Name: "jinja2.utils.Namespace",
		Kind: value.ClassObject,
		Raw: func(fr *value.Frame, args []any, kw []value.Keyword) any {
			return &value.Namespace{Attrs: dictGlobal(fr, args, kw)}
		},
	}
	Globals["cycler"] = &value.Callable{
		Name: "jinja2.utils.Cycler",
		Kind: value.ClassObject,
		Raw: func(fr *value.Frame, args []any, kw []value.Keyword) any {
			value.RejectKeywords("Cycler.__init__", kw)
			if len(args) == 0 {
				raise.Named("RuntimeError", "at least one item has to be provided")
			}
			return &cyclerValue{items: args}
		},
	}
	joiner := value.NewFunction("jinja2.utils.Joiner", "sep=None",
		func(fr *value.Frame, a []any) any { return &joinerValue{sep: value.Or(a[0], ", ")} })
	joiner.Kind = value.ClassObject
	Globals["joiner"] = joiner
	Globals["lipsum"] = value.NewFunction("generate_lorem_ipsum", "n=5 html=True min=20 max=100", lipsum)
}

func rangeGlobal(fr *value.Frame, args []any, kw []value.Keyword) any {
	value.RejectKeywords("range", kw)
	if len(args) == 0 || len(args) > 3 {
		raise.Type("range expected at least 1 argument, got %d", len(args))
	}
	var n [3]int64
	for i, v := range args {
		x, large, ok := value.AsInt(v)
		if !ok {
			raise.Type("'%s' object cannot be interpreted as an integer", value.TypeName(v))
		}
		if large != nil {
			raise.Named("OverflowError", "Python int too large to convert to C ssize_t")
		}
		n[i] = x
	}
	r := &value.Range{Start: n[0], Stop: n[1], Step: n[2]}
	switch len(args) {
	case 1:
		r.Start, r.Stop, r.Step = 0, n[0], 1
	case 2:
		r.Step = 1
	}
	if r.Step == 0 {
		raise.Value("range() arg 3 must not be zero")
	}
	if r.Start < 0 && r.Stop > math.MaxInt64+r.Start || r.Stop < 0 && r.Start > math.MaxInt64+r.Stop {
		raise.Named("OverflowError", "Python int too large to convert to C ssize_t")
	}
	if r.Len() > int64(fr.Limits.Range) {
		raise.As(raise.KindLimit, "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).",
			fr.Limits.Range)
	}
	return r
}

func dictGlobal(fr *value.Frame, args []any, kw []value.Keyword) *value.Dict {
	if len(args) > 1 {
		raise.Type("dict expected at most 1 argument, got %d", len(args))
	}
	fr.AllocN(len(kw)+1, 64)
	d := value.NewDictSize(0)
	value.UpdateDict(fr, d, args, kw)
	return d
}

// cyclerValue is the result of cycler().
type cyclerValue struct {
	items []any
	pos   int
}

// joinerValue is the result of joiner().
type joinerValue struct {
	sep  any
	used bool
}

var (
	cyclerClass, joinerClass value.Class
	cyclerMethods            = method.Table{}
)

// Class describes the cycler as a value of templates.
func (*cyclerValue) Class() *value.Class { return &cyclerClass }

// Class describes the joiner as a value of templates.
func (*joinerValue) Class() *value.Class { return &joinerClass }

func init() {
	cyclerMethods.Add("next", "", func(fr *value.Frame, recv any, _ []any) any {
		c := recv.(*cyclerValue)
		v := c.items[c.pos]
		c.pos = (c.pos + 1) % len(c.items)
		return v
	})
	cyclerMethods.Add("reset", "", func(fr *value.Frame, recv any, _ []any) any {
		recv.(*cyclerValue).pos = 0
		return nil
	})
	for _, m := range cyclerMethods {
		m.Bound = true
	}
	cyclerClass = value.Class{
		Name: "Cycler", Module: "jinja2.utils",
		Private:   []string{"__dict__", "__module__", "__next__", "__weakref__"},
		AttrNames: func(any) []string { return []string{"next", "reset"} },
		Attr:      func(v any, _ *value.Frame, name string) (any, bool) { return v.(*cyclerValue).attr(name) },
		Repr:      value.PlainRepr,
	}
	joinerClass = value.Class{
		Name: "Joiner", Module: "jinja2.utils",
		Private: []string{"__call__", "__dict__", "__module__", "__weakref__"},
		Attr:    func(v any, _ *value.Frame, name string) (any, bool) { return v.(*joinerValue).attr(name) },
		Repr:    value.PlainRepr,
		Call: func(v any, _ *value.Frame, args []any, kw []value.Keyword) any {
			value.RejectKeywords("__call__", kw)
			if len(args) > 0 {
				raise.Type("Joiner.__call__() takes 1 positional argument but %d were given", len(args)+1)
			}
			return v.(*joinerValue).call()
		},
	}
}

func (c *cyclerValue) attr(name string) (any, bool) {
	if m := cyclerMethods[name]; m != nil {
		return &method.BoundMethod{Recv: c, Name: name, Method: m}, true
	}
	switch name {
	case "current":
		return c.items[c.pos], true
	case "items":
		return value.Tuple(c.items), true
	case "pos":
		return int64(c.pos), true
	}
	return nil, false
}

func (j *joinerValue) attr(name string) (any, bool) {
	switch name {
	case "sep":
		return j.sep, true
	case "used":
		return j.used, true
	}
	return nil, false
}

func (j *joinerValue) call() any {
	if !j.used {
		j.used = true
		return ""
	}
	return j.sep
}

var loremWords = strings.Fields(`lorem ipsum dolor sit amet consectetur adipiscing elit sed do eiusmod tempor
incididunt ut labore et dolore magna aliqua enim ad minim veniam quis nostrud exercitation ullamco laboris nisi
aliquip ex ea commodo consequat duis aute irure in reprehenderit voluptate velit esse cillum eu fugiat nulla
pariatur excepteur sint occaecat cupidatat non proident sunt culpa qui officia deserunt mollit anim id est laborum`)

// lipsum returns random filler text, with the structure of Jinja2's but other words.
func lipsum(fr *value.Frame, a []any) any {
	n, low, high := value.IntOr(a[0], 5), value.IntOr(a[2], 20), value.IntOr(a[3], 100)
	if n <= 0 {
		return lipsumText(nil, a[1])
	}
	if low >= high {
		raise.Value("empty range for randrange() (%d, %d, %d)", low, high, high-low)
	}
	fr.AllocN(n, 12*max(high, 1))
	var paragraphs []string
	for range n {
		var words []string
		sentence := 0
		for i := range low + rand.IntN(high-low) {
			word := loremWords[rand.IntN(len(loremWords))]
			if sentence == 0 {
				word = pystr.Capitalize(word)
				sentence = i + 4 + rand.IntN(10)
			} else if i >= sentence {
				word += "."
				sentence = 0
			}
			words = append(words, word)
		}
		paragraphs = append(paragraphs, strings.TrimSuffix(strings.Join(words, " "), ".")+".")
	}
	return lipsumText(paragraphs, a[1])
}

func lipsumText(paragraphs []string, html any) any {
	if !value.OrBool(html, true) {
		return strings.Join(paragraphs, "\n\n")
	}
	for i, p := range paragraphs {
		paragraphs[i] = "<p>" + p + "</p>"
	}
	return value.Markup(strings.Join(paragraphs, "\n"))
}
