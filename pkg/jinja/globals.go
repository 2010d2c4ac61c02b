package jinja

import (
	"math"
	"math/rand/v2"
	"strings"
)

var builtinGlobals = map[string]any{}

func init() {
	builtinGlobals["range"] = &callable{name: "safe_range", raw: rangeGlobal}
	builtinGlobals["dict"] = &callable{name: "dict", kind: kindClass, raw: func(fr *vframe, args []any, kw []kwArg) any {
		return dictGlobal(fr, args, kw)
	}}
	builtinGlobals["namespace"] = &callable{name: "jinja2.utils.Namespace", kind: kindClass, raw: func(fr *vframe, args []any, kw []kwArg) any {
		return &namespaceValue{dictGlobal(fr, args, kw)}
	}}
	builtinGlobals["cycler"] = &callable{name: "jinja2.utils.Cycler", kind: kindClass, raw: func(fr *vframe, args []any, kw []kwArg) any {
		noKeywords("Cycler.__init__", kw)
		if len(args) == 0 {
			raiseKind(KindRuntime, "RuntimeError", "at least one item has to be provided")
		}
		return &cyclerValue{items: args}
	}}
	joiner := spec("jinja2.utils.Joiner", "sep=None", func(fr *vframe, a []any) any { return &joinerValue{sep: opt(a[0], ", ")} })
	joiner.kind = kindClass
	builtinGlobals["joiner"] = joiner
	builtinGlobals["lipsum"] = spec("generate_lorem_ipsum", "n=5 html=True min=20 max=100", lipsum)
}

func rangeGlobal(fr *vframe, args []any, kw []kwArg) any {
	noKeywords("range", kw)
	if len(args) == 0 || len(args) > 3 {
		raiseType("range expected at least 1 argument, got %d", len(args))
	}
	var n [3]int64
	for i, v := range args {
		x, large, ok := asInt(v)
		if !ok {
			raiseType("'%s' object cannot be interpreted as an integer", typeName(v))
		}
		if large != nil {
			raiseKind(KindRuntime, "OverflowError", "Python int too large to convert to C ssize_t")
		}
		n[i] = x
	}
	r := &rangeValue{start: n[0], stop: n[1], step: n[2]}
	switch len(args) {
	case 1:
		r.start, r.stop, r.step = 0, n[0], 1
	case 2:
		r.step = 1
	}
	if r.step == 0 {
		raiseValue("range() arg 3 must not be zero")
	}
	if r.start < 0 && r.stop > math.MaxInt64+r.start || r.stop < 0 && r.start > math.MaxInt64+r.stop {
		raiseKind(KindRuntime, "OverflowError", "Python int too large to convert to C ssize_t")
	}
	if r.len() > int64(fr.limits.Range) {
		raiseKind(KindLimit, "OverflowError", "Range too big. The sandbox blocks ranges larger than MAX_RANGE (%d).", fr.limits.Range)
	}
	return r
}

func dictGlobal(fr *vframe, args []any, kw []kwArg) *Dict {
	if len(args) > 1 {
		raiseType("dict expected at most 1 argument, got %d", len(args))
	}
	fr.allocN(len(kw)+1, 64)
	d := newDict(0)
	updateDict(fr, d, args, kw)
	return d
}

// cyclerValue is cycler().
type cyclerValue struct {
	items []any
	pos   int
}

// joinerValue is joiner().
type joinerValue struct {
	sep  any
	used bool
}

var (
	cyclerClass, joinerClass class
	cyclerMethods            = methodTable{}
)

// Class describes the cycler as a value of templates.
func (*cyclerValue) Class() *class { return &cyclerClass }

// Class describes the joiner as a value of templates.
func (*joinerValue) Class() *class { return &joinerClass }

func init() {
	cyclerMethods.add("next", "", func(fr *vframe, recv any, _ []any) any {
		c := recv.(*cyclerValue)
		v := c.items[c.pos]
		c.pos = (c.pos + 1) % len(c.items)
		return v
	})
	cyclerMethods.add("reset", "", func(fr *vframe, recv any, _ []any) any {
		recv.(*cyclerValue).pos = 0
		return nil
	})
	for _, m := range cyclerMethods {
		m.bound = true
	}
	cyclerClass = class{
		name: "Cycler", module: "jinja2.utils",
		private: []string{"__dict__", "__module__", "__next__", "__weakref__"},
		names:   func(any) []string { return []string{"next", "reset"} },
		attr:    func(v any, _ *vframe, name string) (any, bool) { return v.(*cyclerValue).attr(name) },
		repr:    plainRepr,
	}
	joinerClass = class{
		name: "Joiner", module: "jinja2.utils",
		private: []string{"__call__", "__dict__", "__module__", "__weakref__"},
		attr:    func(v any, _ *vframe, name string) (any, bool) { return v.(*joinerValue).attr(name) },
		repr:    plainRepr,
		call: func(v any, _ *vframe, args []any, kw []kwArg) any {
			noKeywords("__call__", kw)
			if len(args) > 0 {
				raiseType("Joiner.__call__() takes 1 positional argument but %d were given", len(args)+1)
			}
			return v.(*joinerValue).call()
		},
	}
}

func (c *cyclerValue) attr(name string) (any, bool) {
	if m := cyclerMethods[name]; m != nil {
		return &boundMethod{c, name, m}, true
	}
	switch name {
	case "current":
		return c.items[c.pos], true
	case "items":
		return Tuple(c.items), true
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

// lipsum makes filler text; it is random, so that only its shape is like Jinja2's.
func lipsum(fr *vframe, a []any) any {
	n, low, high := intOr(a[0], 5), intOr(a[2], 20), intOr(a[3], 100)
	if n <= 0 {
		return lipsumText(nil, a[1])
	}
	if low >= high {
		raiseValue("empty range for randrange() (%d, %d, %d)", low, high, high-low)
	}
	fr.allocN(n, 12*max(high, 1))
	var paragraphs []string
	for range n {
		var words []string
		sentence := 0
		for i := range low + rand.IntN(high-low) {
			word := loremWords[rand.IntN(len(loremWords))]
			if sentence == 0 {
				word = capitalize(word)
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
	if !optTrue(html, true) {
		return strings.Join(paragraphs, "\n\n")
	}
	for i, p := range paragraphs {
		paragraphs[i] = "<p>" + p + "</p>"
	}
	return Markup(strings.Join(paragraphs, "\n"))
}
