package value

import (
	"math"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
)

// Thread is one render: its limits, their use so far, and its stack of frames.
type Thread struct {
	Limits *Limits
	Stack  []*Frame
	// OnUndefined, if set, is called for each undefined value that the render uses.
	OnUndefined func(*Undefined)

	depth  int
	steps  int
	memory int
	// nextCheck is the number of steps at which the limit and the context are checked.
	nextCheck int
	// interrupted returns the error of the render's context; nil if it has none.
	interrupted func() error
}

// NewThread returns a thread. interrupted may be nil.
func NewThread(limits *Limits, interrupted func() error) Thread {
	return Thread{Limits: limits, interrupted: interrupted, nextCheck: min(limits.Steps, checkInterval)}
}

// Frame gives operations on values access to the template code that runs them: the
// render, and the settings of the template.
type Frame struct {
	*Thread
	Code Code
}

// Code is template code that runs.
type Code interface {
	// UndefinedMode is the mode of new undefined values.
	UndefinedMode() UndefinedMode
	// Autoescape reports whether output is escaped for HTML.
	Autoescape() bool
	// Filters and Tests return what the template's environment has.
	Filters() map[string]*Callable
	Tests() map[string]*Callable
	// LocalContext returns the variables of the context, with those that the current
	// loop or block has set if asked for.
	LocalContext(loop, block bool) Variables
}

// Variables are names with values. Resolve returns Missing for an unknown name.
type Variables interface{ Resolve(name string) any }

// Step counts one step.
func (t *Thread) Step() {
	if t.steps++; t.steps > t.nextCheck {
		t.Check()
	}
}

// Work counts n steps, before they are done.
func (t *Thread) Work(n int) {
	t.steps += n
	if t.steps > t.nextCheck || n < 0 {
		if n < 0 {
			t.steps = math.MaxInt
		}
		t.Check()
	}
}

// Scan counts the work of reading n bytes.
func (t *Thread) Scan(n int) {
	if n >= 64 {
		t.Work(n >> 6)
	}
}

// Check ends a render that has used up its steps or whose context has ended.
func (t *Thread) Check() {
	if t.steps > t.Limits.Steps {
		raise.Limit("the template takes more than %d steps", t.Limits.Steps)
	}
	t.nextCheck = min(t.Limits.Steps, t.steps+checkInterval)
	if t.interrupted != nil {
		if err := t.interrupted(); err != nil {
			panic(&raise.Exception{
				Class:   "Canceled",
				Kind:    raise.KindCanceled,
				Message: "rendering was stopped: " + err.Error(),
				Cause:   err,
			})
		}
	}
}

// Alloc counts the n bytes of a value, before it is built.
func (t *Thread) Alloc(n int) {
	if n < 0 || n > t.Limits.Memory-t.memory {
		raise.Limit("the template builds values of more than %s", ByteSize(t.Limits.Memory))
	}
	t.memory += n
	t.Scan(n)
}

// AllocN counts count values of size bytes each.
func (t *Thread) AllocN(count, size int) {
	if count > 0 && size > 0 && count > t.Limits.Memory/size {
		t.Alloc(t.Limits.Memory + 1)
	}
	t.Alloc(count * size)
}

// Push adds a frame to the stack. An error leaves the stack as it is, so that the
// place of the error can be read off it.
func (t *Thread) Push(fr *Frame) {
	t.Step()
	if len(t.Stack)+t.depth >= t.Limits.Depth {
		t.raiseDepth()
	}
	t.Stack = append(t.Stack, fr)
}

// Pop removes the frame that Push added last.
func (t *Thread) Pop() { t.Stack = t.Stack[:len(t.Stack)-1] }

// Reset clears the used limits and the stack. The context is no longer checked.
func (t *Thread) Reset() {
	t.steps, t.nextCheck, t.memory, t.depth, t.Stack = 0, t.Limits.Steps, 0, 0, nil
}

func (t *Thread) raiseDepth() {
	raise.As(raise.KindLimit, "RecursionError", "maximum recursion depth exceeded (%d)", t.Limits.Depth)
}

// enter bounds recursion. Each enter has a leave, unless an error ends the render.
func (t *Thread) enter() {
	if t.depth++; t.depth > t.Limits.Depth {
		t.raiseDepth()
	}
}

// Try runs f and returns the exception that it raises, if that is of one of the
// classes. Other exceptions are raised again.
func (t *Thread) Try(f func(), classes ...string) (caught *raise.Exception) {
	stack, depth := len(t.Stack), t.depth
	defer func() {
		if p := recover(); p != nil {
			r, ok := p.(*raise.Exception)
			if !ok || !r.Is(classes...) {
				panic(p)
			}
			t.Stack, t.depth = t.Stack[:stack], depth
			caught = r
		}
	}()
	f()
	return nil
}

func (t *Thread) leave() { t.depth-- }
