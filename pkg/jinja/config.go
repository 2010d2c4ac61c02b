package jinja

import (
	"maps"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/builtin"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Extensions are the statements of Jinja2 that are off unless asked for.
type Extensions struct {
	// Do is `{% do expression %}`.
	Do bool
	// LoopControls are `{% break %}` and `{% continue %}`.
	LoopControls bool
}

// Config is what an [Environment] is made of. The zero value is Jinja2's default
// with no loader.
type Config struct {
	// Loader finds templates by name; nil has none.
	Loader Loader
	// Filters and Tests are added to the built-in ones, or replace them.
	Filters, Tests map[string]Func
	// Globals are names that every template sees, imported ones too. Values are as for [Template.Render].
	Globals map[string]any
	// Undefined says what unknown names evaluate to.
	Undefined UndefinedMode
	// TrimBlocks removes the first newline after a block tag.
	TrimBlocks bool
	// LstripBlocks removes blanks between the start of a line and a block tag.
	LstripBlocks bool
	// KeepTrailingNewline keeps the last newline of a source, which is removed otherwise.
	KeepTrailingNewline bool
	// Autoescape escapes for HTML what is printed.
	Autoescape bool
	// Extensions switches statements on.
	Extensions Extensions
	// LineStatementPrefix and LineCommentPrefix switch line statements and comments on when not empty.
	LineStatementPrefix, LineCommentPrefix string
	// Limits bounds what one render may use.
	Limits Limits
}

// Environment holds the settings, filters, tests and globals that its templates
// share, and the templates compiled so far. It is safe for concurrent use.
type Environment struct {
	cfg     Config
	syntax  syntax.Options
	filters map[string]*value.Callable
	tests   map[string]*value.Callable
	globals map[string]any

	mu    sync.RWMutex
	cache map[string]*Template
}

// New makes an environment. The maps of the configuration are copied.
func New(cfg Config) *Environment {
	cfg.Limits = cfg.Limits.WithDefaults()
	e := &Environment{
		cfg: cfg,
		syntax: syntax.Options{
			TrimBlocks: cfg.TrimBlocks, LstripBlocks: cfg.LstripBlocks, KeepTrailingNewline: cfg.KeepTrailingNewline,
			LineStatementPrefix: cfg.LineStatementPrefix, LineCommentPrefix: cfg.LineCommentPrefix,
			Do: cfg.Extensions.Do, LoopControls: cfg.Extensions.LoopControls,
		},
		filters: builtin.Filters,
		tests:   builtin.Tests,
		globals: maps.Clone(builtin.Globals),
		cache:   map[string]*Template{},
	}
	if len(cfg.Filters) > 0 {
		e.filters = maps.Clone(e.filters)
		for name, f := range cfg.Filters {
			e.filters[name] = value.FromGo(name, f)
		}
	}
	if len(cfg.Tests) > 0 {
		e.tests = maps.Clone(e.tests)
		for name, f := range cfg.Tests {
			e.tests[name] = value.FromGo(name, f)
		}
	}
	for name, v := range cfg.Globals {
		if f, ok := value.AsFunc(v); ok {
			v = value.FromGo(name, f)
		}
		e.globals[name] = value.BoxGlobal(v)
	}
	return e
}

// Template returns the template of that name, loaded and compiled at its first
// use and kept. A missing one is an *Error of KindNotFound.
func (e *Environment) Template(name string) (*Template, error) {
	e.mu.RLock()
	t := e.cache[name]
	e.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	if e.cfg.Loader == nil {
		return nil, &Error{Kind: KindRuntime, Class: "TypeError", Message: "no loader for this environment specified"}
	}
	source, err := e.cfg.Loader.Load(name)
	if err != nil {
		return nil, loadError(name, err)
	}
	t, err = e.Parse(name, source)
	if err != nil {
		return nil, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if first := e.cache[name]; first != nil {
		return first, nil
	}
	e.cache[name] = t
	return t, nil
}

// Parse compiles a template from a string. The name is for errors alone: the
// result is not kept, and other templates do not find it.
func (e *Environment) Parse(name, source string) (t *Template, err error) {
	defer recoverTo(&err, func() *state { return nil })
	return compileTemplate(e, name, source), nil
}
