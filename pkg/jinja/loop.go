package jinja

import (
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/raise"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// loopContext is the `loop` of a for statement. It reads one item ahead only when a
// template needs it.
type loopContext struct {
	iterable any
	it       value.Iterator
	index0   int64
	recurse  loopFunc
	depth0   int
	mode     UndefinedMode

	length              int64
	hasLength           bool
	after, current      any
	before, lastChanged any
	hasChanged          bool
}

func (l *loopContext) Next(fr *value.Frame) (any, bool) {
	v := l.after
	if v != value.Missing {
		l.after = value.Missing
	} else {
		var ok bool
		if v, ok = l.it.Next(fr); !ok {
			return nil, false
		}
	}
	l.index0++
	l.before, l.current = l.current, v
	return v, true
}

func (l *loopContext) peek(fr *value.Frame) any {
	if l.after == value.Missing {
		if v, ok := l.it.Next(fr); ok {
			l.after = v
		}
	}
	return l.after
}

func (l *loopContext) len(fr *value.Frame) int64 {
	if l.hasLength {
		return l.length
	}
	if n, ok := value.TryLength(fr, l.iterable); ok {
		l.length = n
	} else {
		var rest []any
		for {
			v, ok := l.it.Next(fr)
			if !ok {
				break
			}
			fr.Step()
			fr.Alloc(32)
			rest = append(rest, v)
		}
		l.it = &value.SliceIter{Items: rest}
		l.length = int64(len(rest)) + l.index0 + 1
		if l.after != value.Missing {
			l.length++
		}
	}
	l.hasLength = true
	return l.length
}

func (l *loopContext) attr(fr *value.Frame, name string) (any, bool) {
	switch name {
	case "index":
		return l.index0 + 1, true
	case "index0":
		return l.index0, true
	case "first":
		return l.index0 == 0, true
	case "last":
		return l.peek(fr) == value.Missing, true
	case "length":
		return l.len(fr), true
	case "revindex":
		return l.len(fr) - l.index0, true
	case "revindex0":
		return l.len(fr) - l.index0 - 1, true
	case "depth":
		return int64(l.depth0 + 1), true
	case "depth0":
		return int64(l.depth0), true
	case "previtem":
		if l.index0 == 0 {
			return value.NewUndefined(l.mode, "there is no previous item"), true
		}
		return l.before, true
	case "nextitem":
		if v := l.peek(fr); v != value.Missing {
			return v, true
		}
		return value.NewUndefined(l.mode, "there is no next item"), true
	case "cycle":
		return &value.Callable{Name: "cycle", Kind: value.BoundFunction, Raw: l.cycle}, true
	case "changed":
		return &value.Callable{Name: "changed", Kind: value.BoundFunction, Raw: l.changed}, true
	}
	return nil, false
}

func (l *loopContext) cycle(fr *value.Frame, args []any, kw []value.Keyword) any {
	value.RejectKeywords("cycle", kw)
	if len(args) == 0 {
		raise.Type("no items for cycling given")
	}
	n := int64(len(args))
	return args[((l.index0%n)+n)%n]
}

func (l *loopContext) changed(fr *value.Frame, args []any, kw []value.Keyword) any {
	value.RejectKeywords("changed", kw)
	if l.hasChanged && value.Equal(fr, l.lastChanged, Tuple(args)) {
		return false
	}
	l.hasChanged, l.lastChanged = true, Tuple(args)
	return true
}

func (l *loopContext) call(fr *value.Frame, args []any, kw []value.Keyword) any {
	a := value.Bind(loopCallSpec, args, kw)
	if l.recurse == nil {
		raise.Type("The loop must have the 'recursive' marker to be called recursively.")
	}
	return l.recurse(frameOf(fr), a[0], l.depth0+1)
}

var loopCallSpec = &value.Callable{Name: "__call__", Params: []string{"iterable"}, Required: 1}
