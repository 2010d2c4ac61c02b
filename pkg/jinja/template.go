package jinja

import (
	"context"
	"sort"
	"sync"
	"unicode/utf8"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Template is a compiled template. It is safe for concurrent use. It is also a value
// of templates: extends, include and import accept one, even of another environment.
type Template struct {
	env    *Environment
	name   string
	src    string
	tree   *syntax.Template
	root   *function
	blocks []*function
	reads  []string // the names that its scopes look up in the context

	linesOnce sync.Once
	lines     []int // the offsets of its lines
}

// Render renders the template with variables. Values may be nil, booleans, numbers,
// strings, [*List], [*Dict], [Tuple], [*Template], [Func], and Go maps and slices of
// them, which are converted, maps in the order of their keys. A *List or *Dict is not
// copied and the template may modify it, so concurrent renders must not share one. The
// error is an [*Error]; if the context ends, it is of KindCanceled and wraps the
// context's error.
func (t *Template) Render(ctx context.Context, vars map[string]any) (text string, err error) {
	text, _, err = t.render(ctx, vars, nil)
	return text, err
}

// render renders the template, with the origins and the undefined values if marks is not nil.
func (t *Template) render(ctx context.Context, vars map[string]any, marks *[]mark) (
	text string, undefined []UndefinedUse, err error) {
	st := newState(t.env, &t.env.cfg.Limits, ctx.Err)
	defer recoverTo(&err, func() *state { return st })
	if marks != nil {
		collector := &undefinedUses{st: st}
		st.OnUndefined = collector.add
		defer func() { undefined = collector.uses }()
	}
	st.Check()
	scope := newContext(t.env, t, t.env.rootVars(st, vars))
	out := &buffer{st: st, marks: marks, b: make([]byte, 0, len(t.src)+len(t.src)/2+64)}
	t.root.call(st, scope, out)
	return out.text(), nil, nil
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

// state is the state of one render.
type state struct {
	value.Thread
	env *Environment
	// modules are the templates imported without context.
	modules map[*Template]*module
	// globals are the containers in the globals of environments, converted for this
	// render.
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

// lineOf returns the line of an offset, from 1.
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

// lineColumn returns the line and column of an offset, from 1.
func (t *Template) lineColumn(pos int) (line, col int) {
	pos = max(0, min(pos, len(t.src)))
	line = t.lineOf(pos)
	return line, utf8.RuneCountInString(t.src[t.lines[line-1]:pos]) + 1
}
