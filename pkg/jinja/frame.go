package jinja

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/resolve"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// buffer collects output.
type buffer struct {
	st *state
	b  []byte
	// joinError is raised when the output is complete: a value that is not a string was
	// printed where Jinja2 joins without conversion.
	joinError *raise.Exception
	// marks are the origins of the output, nil if they are not needed.
	marks *[]mark
}

// text returns the complete output.
func (b *buffer) text() string {
	if b.joinError != nil {
		panic(b.joinError)
	}
	return string(b.b)
}

func (b *buffer) write(s string) {
	if len(b.b)+len(s) > b.st.Limits.Output {
		raise.Limit("the output is longer than %s", value.ByteSize(b.st.Limits.Output))
	}
	b.st.Scan(len(s))
	b.b = append(b.b, s...)
}

// function is compiled code with its own variables: a template's root, a block, a
// macro, a caller, the body of a recursive loop, or a loop's filter.
type function struct {
	tmpl      *Template
	traceName string // in traces, "" if it is not shown
	name      string // of a block
	parent    *function
	slots     map[resolve.Ident]int
	nslots    int
	body      []stmt
	required  bool // of a block
	loop      bool // the body of a recursive loop
	// isGenerator reports that the function is a generator in Python, as it contains an
	// include without context. This is visible in macros.
	isGenerator bool
}

// pythonName is the qualified name of the function in Jinja2's compiled code.
func (f *function) pythonName() string {
	switch {
	case f.parent != nil && f.loop:
		return f.parent.pythonName() + ".<locals>.loop"
	case f.parent != nil:
		return f.parent.pythonName() + ".<locals>.macro"
	case f.name != "":
		return "block_" + f.name
	}
	return "root"
}

// slot returns the number of a variable's slot, and adds it if necessary.
func (f *function) slot(id resolve.Ident) int {
	if i, ok := f.slots[id]; ok {
		return i
	}
	if f.slots == nil {
		f.slots = map[resolve.Ident]int{}
	}
	f.slots[id] = f.nslots
	f.nslots++
	return f.nslots - 1
}

// unbound marks a slot that was never set, Python's unbound local.
var unbound any = &value.Marker{Name: "unbound"}

// frame is one activation of a function.
type frame struct {
	value.Frame
	fn     *function
	parent *frame // frame of the enclosing function
	st     *state
	ctx    *varContext
	out    *buffer
	// base is the output of the function itself, without set and filter blocks.
	base  *buffer
	pos   int // the offset being evaluated, for errors
	slots []any
	// loopVars and blockVars are the variables that the current loop and block have
	// set.
	loopVars, blockVars map[string]any
	// extended is the parent template, in the frame of a root, and extendedAt the
	// offset that named it.
	extended   *Template
	extendedAt int
}

func (fr *frame) UndefinedMode() UndefinedMode { return fr.fn.tmpl.env.cfg.Undefined }

func (fr *frame) Autoescape() bool { return fr.ctx.escape.autoescape }

func (fr *frame) Filters() map[string]*value.Callable { return fr.fn.tmpl.env.filters }

func (fr *frame) Tests() map[string]*value.Callable { return fr.fn.tmpl.env.tests }

// LocalContext returns the context with the variables that the current loop and block
// have set.
func (fr *frame) LocalContext(loop, block bool) value.Variables {
	ctx := fr.ctx
	if (loop || block) && len(fr.loopVars)+len(fr.blockVars) > 0 {
		fr.Work(fr.ctx.size() >> 3)
	}
	if loop && len(fr.loopVars) > 0 {
		ctx = ctx.derived(fr.loopVars)
	}
	if block && len(fr.blockVars) > 0 {
		ctx = ctx.derived(fr.blockVars)
	}
	return ctx
}

func (f *function) newFrame(st *state, ctx *varContext, parent *frame, out *buffer) *frame {
	fr := &frame{fn: f, parent: parent, st: st, ctx: ctx, out: out, base: out}
	fr.Frame = value.Frame{Thread: &st.Thread, Code: fr}
	if f.nslots > 0 {
		st.Work(f.nslots >> 5)
		fr.slots = make([]any, f.nslots)
		for i := range fr.slots {
			fr.slots[i] = unbound
		}
	}
	return fr
}

func (fr *frame) push() { fr.Push(&fr.Frame) }

func (fr *frame) pop() { fr.Pop() }

// call runs a function without arguments.
func (f *function) call(st *state, ctx *varContext, out *buffer) {
	fr := f.newFrame(st, ctx, nil, out)
	fr.push()
	fr.run(f.body)
	fr.pop()
}

// outcome describes how a statement ended.
type outcome uint8

const (
	outcomeNext outcome = iota
	outcomeBreak
	outcomeContinue
)

type (
	stmt func(*frame) outcome
	expr func(*frame) any
)

func (fr *frame) run(body []stmt) outcome {
	for _, s := range body {
		if c := s(fr); c != outcomeNext {
			return c
		}
	}
	return outcomeNext
}

// capture runs statements and returns their output.
func (fr *frame) capture(body []stmt) (string, outcome) {
	saved := fr.out
	fr.out = &buffer{st: fr.st}
	c := fr.run(body)
	out := fr.out
	fr.out = saved
	if c != outcomeNext {
		return "", c
	}
	text := out.text()
	fr.st.Alloc(len(text))
	return text, c
}
