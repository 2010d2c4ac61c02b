package value

import (
	"math"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Thread is one render: its limits, what it has used of them, and its stack of frames.
type Thread struct {
	Limits *Limits
	Stack  []*Frame
	Depth  int
	Steps  int
	Memory int
	// nextLook is the number of steps at which the limit and the context are checked.
	NextLook int
	// interrupted is the Err of the render's context; nil if it has none.
	interrupted func() error
}

func NewThread(limits *Limits, interrupted func() error) Thread {
	return Thread{Limits: limits, interrupted: interrupted, NextLook: min(limits.Steps, checkInterval)}
}

// Frame is what operations on values know of the template code that runs them:
// the render it is part of, and the settings of its template.
type Frame struct {
	*Thread
	Code Code
}

// Code is template code as operations on values see it.
type Code interface {
	UndefinedMode() UndefinedMode
	Autoescape() bool
	Filters() map[string]*Callable
	Tests() map[string]*Callable
	TemplateName() string
	// localContext is the context with the variables of the current loop and block.
	LocalContext(loop, block bool) Variables
}

// Variables are names with values; missing is the value of an unknown name.
type Variables interface{ Resolve(name string) any }

// step counts a unit of work.
func (t *Thread) Step() {
	if t.Steps++; t.Steps > t.NextLook {
		t.Look()
	}
}

// work counts n units of work, before they are done.
func (t *Thread) Work(n int) {
	t.Steps += n
	if t.Steps > t.NextLook || n < 0 {
		if n < 0 {
			t.Steps = math.MaxInt
		}
		t.Look()
	}
}

// scan counts the work of going once through n bytes.
func (t *Thread) Scan(n int) {
	if n >= 64 {
		t.Work(n >> 6)
	}
}

// look ends a render that has done too much, or that nobody waits for any more.
func (t *Thread) Look() {
	if t.Steps > t.Limits.Steps {
		raise.Limit("the template takes more than %d steps", t.Limits.Steps)
	}
	t.NextLook = min(t.Limits.Steps, t.Steps+checkInterval)
	if t.interrupted != nil {
		if err := t.interrupted(); err != nil {
			panic(&raise.Exception{Class: "Canceled", Kind: raise.KindCanceled, Message: "rendering was stopped: " + err.Error(), Cause: err})
		}
	}
}

// alloc counts bytes that a value takes, before it is built.
func (t *Thread) Alloc(n int) {
	if n < 0 || n > t.Limits.Memory-t.Memory {
		raise.Limit("the template builds values of more than %s", ByteSize(t.Limits.Memory))
	}
	t.Memory += n
	t.Scan(n)
}

// allocN counts count values of size bytes each.
func (t *Thread) AllocN(count, size int) {
	if count > 0 && size > 0 && count > t.Limits.Memory/size {
		t.Alloc(t.Limits.Memory + 1)
	}
	t.Alloc(count * size)
}

// enter bounds recursion; every enter has its leave, except when an error ends the render.
func (t *Thread) enter() {
	if t.Depth++; t.Depth > t.Limits.Depth {
		raise.As(raise.KindLimit, "RecursionError", "maximum recursion depth exceeded (%d)", t.Limits.Depth)
	}
}

// try runs f and returns the exception it raises, if that is of one of the classes.
func (t *Thread) Try(f func(), classes ...string) (caught *raise.Exception) {
	stack, depth := len(t.Stack), t.Depth
	defer func() {
		if p := recover(); p != nil {
			r, ok := p.(*raise.Exception)
			if !ok || !r.Is(classes...) {
				panic(p)
			}
			t.Stack, t.Depth = t.Stack[:stack], depth
			caught = r
		}
	}()
	f()
	return nil
}

func (t *Thread) leave() { t.Depth-- }
