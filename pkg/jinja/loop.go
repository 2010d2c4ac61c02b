package jinja

// loopContext is the `loop` of a for statement. It looks one item ahead only
// when asked to.
type loopContext struct {
	iterable any
	it       iterator
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

func (l *loopContext) next(fr *vframe) (any, bool) {
	v := l.after
	if v != missing {
		l.after = missing
	} else {
		var ok bool
		if v, ok = l.it.next(fr); !ok {
			return nil, false
		}
	}
	l.index0++
	l.before, l.current = l.current, v
	return v, true
}

func (l *loopContext) peek(fr *vframe) any {
	if l.after == missing {
		if v, ok := l.it.next(fr); ok {
			l.after = v
		}
	}
	return l.after
}

func (l *loopContext) len(fr *vframe) int64 {
	if l.hasLength {
		return l.length
	}
	if n, ok := tryLen(fr, l.iterable); ok {
		l.length = n
	} else {
		var rest []any
		for {
			v, ok := l.it.next(fr)
			if !ok {
				break
			}
			fr.step()
			fr.alloc(32)
			rest = append(rest, v)
		}
		l.it = &sliceIter{items: rest}
		l.length = int64(len(rest)) + l.index0 + 1
		if l.after != missing {
			l.length++
		}
	}
	l.hasLength = true
	return l.length
}

func (l *loopContext) attr(fr *vframe, name string) (any, bool) {
	switch name {
	case "index":
		return l.index0 + 1, true
	case "index0":
		return l.index0, true
	case "first":
		return l.index0 == 0, true
	case "last":
		return l.peek(fr) == missing, true
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
			return newUndefined(l.mode, "there is no previous item"), true
		}
		return l.before, true
	case "nextitem":
		if v := l.peek(fr); v != missing {
			return v, true
		}
		return newUndefined(l.mode, "there is no next item"), true
	case "cycle":
		return &callable{name: "cycle", kind: kindMethod, raw: l.cycle}, true
	case "changed":
		return &callable{name: "changed", kind: kindMethod, raw: l.changed}, true
	}
	return nil, false
}

func (l *loopContext) cycle(fr *vframe, args []any, kw []kwArg) any {
	noKeywords("cycle", kw)
	if len(args) == 0 {
		raiseType("no items for cycling given")
	}
	n := int64(len(args))
	return args[((l.index0%n)+n)%n]
}

func (l *loopContext) changed(fr *vframe, args []any, kw []kwArg) any {
	noKeywords("changed", kw)
	if l.hasChanged && equal(fr, l.lastChanged, Tuple(args)) {
		return false
	}
	l.hasChanged, l.lastChanged = true, Tuple(args)
	return true
}

func (l *loopContext) call(fr *vframe, args []any, kw []kwArg) any {
	a := bind(loopCallSpec, args, kw)
	if l.recurse == nil {
		raiseType("The loop must have the 'recursive' marker to be called recursively.")
	}
	return l.recurse(frameOf(fr), a[0], l.depth0+1)
}

var loopCallSpec = &callable{name: "__call__", params: []string{"iterable"}, req: 1}
