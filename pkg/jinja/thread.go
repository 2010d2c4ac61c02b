package jinja

import "math"

// thread is one render: its limits, what it has used of them, and its stack of frames.
type thread struct {
	limits *Limits
	stack  []*vframe
	depth  int
	steps  int
	memory int
	// nextLook is the number of steps at which the limit and the context are checked.
	nextLook int
	// interrupted is the Err of the render's context; nil if it has none.
	interrupted func() error
}

func newThread(limits *Limits, interrupted func() error) thread {
	return thread{limits: limits, interrupted: interrupted, nextLook: min(limits.Steps, checkInterval)}
}

// vframe is what operations on values know of the template code that runs them:
// the render it is part of, and the settings of its template.
type vframe struct {
	*thread
	code code
}

// code is template code as operations on values see it.
type code interface {
	undefinedMode() UndefinedMode
	autoescape() bool
	filters() map[string]*callable
	tests() map[string]*callable
	templateName() string
	// localContext is the context with the variables of the current loop and block.
	localContext(loop, block bool) variables
}

// variables are names with values; missing is the value of an unknown name.
type variables interface{ resolve(name string) any }

// step counts a unit of work.
func (t *thread) step() {
	if t.steps++; t.steps > t.nextLook {
		t.look()
	}
}

// work counts n units of work, before they are done.
func (t *thread) work(n int) {
	t.steps += n
	if t.steps > t.nextLook || n < 0 {
		if n < 0 {
			t.steps = math.MaxInt
		}
		t.look()
	}
}

// scan counts the work of going once through n bytes.
func (t *thread) scan(n int) {
	if n >= 64 {
		t.work(n >> 6)
	}
}

// look ends a render that has done too much, or that nobody waits for any more.
func (t *thread) look() {
	if t.steps > t.limits.Steps {
		raiseLimit("the template takes more than %d steps", t.limits.Steps)
	}
	t.nextLook = min(t.limits.Steps, t.steps+checkInterval)
	if t.interrupted != nil {
		if err := t.interrupted(); err != nil {
			panic(&raised{class: "Canceled", kind: KindCanceled, msg: "rendering was stopped: " + err.Error(), cause: err})
		}
	}
}

// alloc counts bytes that a value takes, before it is built.
func (t *thread) alloc(n int) {
	if n < 0 || n > t.limits.Memory-t.memory {
		raiseLimit("the template builds values of more than %s", byteSize(t.limits.Memory))
	}
	t.memory += n
	t.scan(n)
}

// allocN counts count values of size bytes each.
func (t *thread) allocN(count, size int) {
	if count > 0 && size > 0 && count > t.limits.Memory/size {
		t.alloc(t.limits.Memory + 1)
	}
	t.alloc(count * size)
}

// enter bounds recursion; every enter has its leave, except when an error ends the render.
func (t *thread) enter() {
	if t.depth++; t.depth > t.limits.Depth {
		raiseKind(KindLimit, "RecursionError", "maximum recursion depth exceeded (%d)", t.limits.Depth)
	}
}

// try runs f and returns the exception it raises, if that is of one of the classes.
func (t *thread) try(f func(), classes ...string) (caught *raised) {
	stack, depth := len(t.stack), t.depth
	defer func() {
		if p := recover(); p != nil {
			r, ok := p.(*raised)
			if !ok || !r.is(classes...) {
				panic(p)
			}
			t.stack, t.depth = t.stack[:stack], depth
			caught = r
		}
	}()
	f()
	return nil
}

func (t *thread) leave() { t.depth-- }
