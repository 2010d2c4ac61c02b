package jinja

import (
	"context"
	"fmt"
	"runtime"
	"sort"
	"sync"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/resolve"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Template is a compiled template. It is safe for concurrent use. It is also a
// value of templates: `{% extends %}`, `{% include %}` and `{% import %}` take
// one, even of another environment.
type Template struct {
	env    *Environment
	name   string
	src    string
	tree   *syntax.Template
	root   *function
	blocks []*function
	reads  []string // names that its scopes look up in the context

	linesOnce sync.Once
	lines     []int // where its lines begin
}

// Render renders the template with the variables. Values may be nil, booleans,
// numbers, strings, [*List], [*Dict], [Tuple], [*Template], [Func], and Go maps
// and slices of them, which are converted (maps in the order of their keys). A
// *List or *Dict is used as it is: the template may change it, so one that two
// renders share must not be shared at the same time. The error is an [*Error];
// when the context ends first, it is one of KindCanceled that wraps the context's.
func (t *Template) Render(ctx context.Context, vars map[string]any) (text string, err error) {
	st := newState(t.env, &t.env.cfg.Limits, ctx.Err)
	defer recoverTo(&err, func() *state { return st })
	st.Check()
	scope := newContext(t.env, t, t.env.rootVars(st, vars))
	out := &buffer{st: st, b: make([]byte, 0, len(t.src)+len(t.src)/2+64)}
	t.root.call(st, scope, nil, out)
	return out.text(), nil
}

func newState(env *Environment, limits *Limits, interrupted func() error) *state {
	return &state{env: env, Thread: value.NewThread(limits, interrupted)}
}

// rootVars merges the globals and the variables of a render.
func (e *Environment) rootVars(st *state, vars map[string]any) map[string]any {
	all := make(map[string]any, len(e.globals)+len(vars))
	for k, v := range e.globals {
		if _, shared := v.(value.Shared); shared {
			v = st.shared(e, k, v)
		}
		all[k] = v
	}
	for k, v := range vars {
		switch v.(type) {
		case string, bool, nil, *List, *Dict, int64, *Template, *value.Callable, *value.Lazy:
			all[k] = v
		default:
			all[k] = &value.Lazy{Raw: v}
		}
	}
	return all
}

// state is what one render has.
type state struct {
	value.Thread
	env *Environment
	// modules are the templates imported without context.
	modules map[*Template]*module
	// globals are the environments' containers, as this render converted them.
	globals map[sharedKey]*value.Lazy
}

type sharedKey struct {
	env  *Environment
	name string
}

func (st *state) shared(e *Environment, name string, v any) *value.Lazy {
	key := sharedKey{e, name}
	if l := st.globals[key]; l != nil {
		return l
	}
	if st.globals == nil {
		st.globals = map[sharedKey]*value.Lazy{}
	}
	l := &value.Lazy{Raw: v}
	st.globals[key] = l
	return l
}

// buffer collects output.
type buffer struct {
	st *state
	b  []byte
	// bad is the failure to join something that is no text. It shows when the
	// output is complete, after whatever else goes wrong.
	bad *raise.Exception
}

// text is the complete output.
func (b *buffer) text() string {
	if b.bad != nil {
		panic(b.bad)
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

// function is compiled code with variables of its own: a template's root, a
// block, a macro, a caller, the body of a recursive loop, a loop's filter.
type function struct {
	tmpl     *Template
	what     string // for traces; empty when not worth a line
	name     string // of a block
	parent   *function
	slots    map[resolve.Ident]int
	nslots   int
	body     []stmt
	required bool // of a block
	loop     bool // the body of a recursive loop
	// yields says that an include without context makes Python take the function
	// for a generator, which shows in macros.
	yields bool
}

// pythonName is the qualified name that Jinja2's compiled code has for the function.
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

// slot returns the number of the identifier's variable, making it if need be.
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

// unbound marks a slot that was never written, Python's unbound local.
var unbound any = &value.Marker{Name: "unbound"}

// frame is one activation of a function.
type frame struct {
	value.Frame
	fn     *function
	parent *frame // the activation of the enclosing function
	st     *state
	ctx    *varContext
	out    *buffer
	// base is the output of the function itself, outside of set and filter blocks.
	base  *buffer
	pos   int // offset of what is being evaluated, for errors
	slots []any
	// loopVars and blockVars are what pass_context functions see of local sets.
	loopVars, blockVars map[string]any
	// extended is the parent template, in the activation of a root, and
	// extendedAt the offset of what named it.
	extended   *Template
	extendedAt int
}

func (fr *frame) UndefinedMode() UndefinedMode { return fr.fn.tmpl.env.cfg.Undefined }

func (fr *frame) Autoescape() bool { return fr.ctx.escape.autoescape }

func (fr *frame) Filters() map[string]*value.Callable { return fr.fn.tmpl.env.filters }

func (fr *frame) Tests() map[string]*value.Callable { return fr.fn.tmpl.env.tests }

// localContext is the context with the variables that the current loop and block have set.
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

// call runs a function that takes no arguments.
func (f *function) call(st *state, ctx *varContext, parent *frame, out *buffer) {
	fr := f.newFrame(st, ctx, parent, out)
	fr.push()
	fr.run(f.body)
	fr.pop()
}

// ctl is how a statement ended.
type ctl uint8

const (
	ctlNext ctl = iota
	ctlBreak
	ctlContinue
)

type (
	stmt func(*frame) ctl
	expr func(*frame) any
)

func (fr *frame) run(body []stmt) ctl {
	for _, s := range body {
		if c := s(fr); c != ctlNext {
			return c
		}
	}
	return ctlNext
}

// capture runs statements with an output of their own.
func (fr *frame) capture(body []stmt) (string, ctl) {
	saved := fr.out
	fr.out = &buffer{st: fr.st}
	c := fr.run(body)
	out := fr.out
	fr.out = saved
	if c != ctlNext {
		return "", c
	}
	text := out.text()
	fr.st.Alloc(len(text))
	return text, c
}

// recoverTo is deferred by every exported entry point: it turns a raised
// exception into an *Error with its place and chain.
func recoverTo(err *error, state func() *state) {
	p := recover()
	if p == nil {
		return
	}
	r, ok := p.(*raise.Exception)
	if !ok {
		// A bug of this package, or of a Go function that a template called: the
		// caller gets an error, not a crash.
		if e, isErr := p.(runtime.Error); isErr {
			r = &raise.Exception{Class: "RuntimeError", Kind: KindRuntime, Message: "internal error: " + e.Error(), Cause: e}
		} else {
			r = &raise.Exception{Class: "RuntimeError", Kind: KindRuntime, Message: fmt.Sprintf("panic: %v", p)}
		}
	}
	*err = toError(r, state())
}

// toError gives an exception its place and its chain of calls.
func toError(r *raise.Exception, st *state) *Error {
	if st == nil || len(st.Stack) == 0 {
		if r.Located != nil {
			return r.Located
		}
		return &Error{Kind: r.Kind, Class: r.Class, Message: r.Message, Hint: r.Hint, Cause: r.Cause}
	}
	frames := make([]Frame, 0, len(st.Stack))
	for i, v := range st.Stack {
		fr := frameOf(v)
		if i+1 < len(st.Stack) && frameOf(st.Stack[i+1]).fn.what == "" {
			continue
		}
		t := fr.fn.tmpl
		line, col := t.lineColumn(fr.pos)
		f := Frame{Template: t.name, Line: line, Column: col}
		if i+1 < len(st.Stack) {
			f.What = frameOf(st.Stack[i+1]).fn.what
		}
		frames = append(frames, f)
	}
	if r.Located != nil {
		e := *r.Located
		frames[len(frames)-1].What = "loading it"
		e.Trace = clipTrace(frames)
		return &e
	}
	top := frameOf(st.Stack[len(st.Stack)-1])
	e := &Error{Kind: r.Kind, Class: r.Class, Message: r.Message, Hint: r.Hint, Cause: r.Cause}
	if r.Undefined != nil {
		e.Hint = method.SuggestElement(r.Undefined.(*Undefined))
	}
	if r.UndefinedName != "" {
		e.Hint = raise.Suggest(r.UndefinedName, top.visibleNames())
	}
	raise.Locate(e, top.fn.tmpl.name, top.fn.tmpl.src, top.pos)
	e.Trace = clipTrace(frames[:len(frames)-1])
	return e
}

// visibleNames are the names that mean something in a frame.
func (fr *frame) visibleNames() []string {
	var names []string
	for name := range fr.ctx.all() {
		names = append(names, name)
	}
	for f := fr; f != nil; f = f.parent {
		for id, slot := range f.fn.slots {
			if v := f.slots[slot]; v != value.Missing && v != unbound {
				names = append(names, id.Name)
			}
		}
	}
	return names
}

// clipTrace shortens the chain of a runaway recursion.
func clipTrace(frames []Frame) []Frame {
	const head, tail = 8, 8
	n := len(frames) - head - tail
	if n <= 0 {
		return frames
	}
	out := append(frames[:head:head], frames[len(frames)-tail:]...)
	out[head].Omitted = n
	return out
}

// lineOf is the line of an offset, from 1.
func (t *Template) lineOf(pos int) int {
	t.linesOnce.Do(func() {
		t.lines = append(t.lines, 0)
		for i := range len(t.src) {
			if t.src[i] == '\n' {
				t.lines = append(t.lines, i+1)
			}
		}
	})
	return sort.SearchInts(t.lines, pos+1)
}

// LineColumn is the line and column of an offset, from 1.
func (t *Template) lineColumn(pos int) (line, col int) {
	pos = max(0, min(pos, len(t.src)))
	line = t.lineOf(pos)
	return line, utf8.RuneCountInString(t.src[t.lines[line-1]:pos]) + 1
}
