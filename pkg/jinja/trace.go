package jinja

import (
	"fmt"
	"runtime"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/method"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// recoverTo is deferred by every exported function that can fail. It returns a raised
// exception as an *Error with its place and chain.
func recoverTo(err *error, state func() *state) {
	p := recover()
	if p == nil {
		return
	}
	r, ok := p.(*raise.Exception)
	if !ok {
		// A bug of this package, or of a Go function: an error, not a crash.
		if e, isErr := p.(runtime.Error); isErr {
			r = &raise.Exception{Class: "RuntimeError", Kind: KindRuntime, Message: "internal error: " + e.Error(), Cause: e}
		} else {
			r = &raise.Exception{Class: "RuntimeError", Kind: KindRuntime, Message: fmt.Sprintf("panic: %v", p)}
		}
	}
	*err = toError(r, state())
}

// toError returns the error of an exception, with its place and its chain of calls.
func toError(exception *raise.Exception, st *state) *Error {
	if st == nil || len(st.Stack) == 0 {
		if exception.Located != nil {
			return exception.Located
		}
		return &Error{
			Kind:    exception.Kind,
			Class:   exception.Class,
			Message: exception.Message,
			Hint:    exception.Hint,
			Cause:   exception.Cause,
		}
	}
	frames := make([]Frame, 0, len(st.Stack))
	for i, v := range st.Stack {
		fr := frameOf(v)
		if i+1 < len(st.Stack) && frameOf(st.Stack[i+1]).fn.traceName == "" {
			continue
		}
		t := fr.fn.tmpl
		line, col := t.lineColumn(fr.pos)
		f := Frame{Template: t.name, Line: line, Column: col}
		if i+1 < len(st.Stack) {
			f.What = frameOf(st.Stack[i+1]).fn.traceName
		}
		frames = append(frames, f)
	}
	if exception.Located != nil {
		e := *exception.Located
		frames[len(frames)-1].What = "loading it"
		e.Trace = clipTrace(frames)
		return &e
	}
	top := frameOf(st.Stack[len(st.Stack)-1])
	e := &Error{
		Kind:    exception.Kind,
		Class:   exception.Class,
		Message: exception.Message,
		Hint:    exception.Hint,
		Cause:   exception.Cause,
	}
	if exception.Undefined != nil {
		e.Hint = method.SuggestElement(exception.Undefined.(*Undefined))
	}
	if exception.UndefinedName != "" {
		e.Hint = raise.Suggest(exception.UndefinedName, top.visibleNames())
	}
	raise.Locate(e, top.fn.tmpl.name, top.fn.tmpl.src, top.pos)
	e.Trace = clipTrace(frames[:len(frames)-1])
	return e
}

// visibleNames returns the names that have values in a frame.
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

// clipTrace shortens the chain of a long recursion.
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
