package jinja

import (
	"maps"
	"sync"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/builtin"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/syntax"
	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// Extensions are the statements of Jinja2 that are disabled by default.
type Extensions struct {
	// Do is `{% do expression %}`.
	Do bool
	// LoopControls are `{% break %}` and `{% continue %}`.
	LoopControls bool
}

// Config has the settings of an [Environment]. The zero value is Jinja2's default,
// with no loader.
type Config struct {
	// Loader finds templates by name. It may be nil.
	Loader Loader
	// Filters and Tests are added to the built-in ones and replace those of the same
	// name.
	Filters, Tests map[string]Func
	// Globals are names that all templates see, also imported ones. Values are as for
	// [Template.Render].
	Globals map[string]any
	// Undefined is the mode of unknown names.
	Undefined UndefinedMode
	// TrimBlocks removes the first newline after a block tag.
	TrimBlocks bool
	// LstripBlocks removes blanks between the start of a line and a block tag.
	LstripBlocks bool
	// KeepTrailingNewline keeps the last newline of a source, which otherwise is
	// removed.
	KeepTrailingNewline bool
	// Autoescape escapes output for HTML.
	Autoescape bool
	// Extensions enables statements.
	Extensions Extensions
	// LineStatementPrefix and LineCommentPrefix enable line statements and comments
	// unless they are empty.
	LineStatementPrefix, LineCommentPrefix string
	// Limits bound the resources of one render.
	Limits Limits
}

// Environment holds the shared state of its templates: settings, filters, tests,
// globals, and the compiled templates. It is safe for concurrent use.
type Environment struct {
	cfg     Config
	syntax  syntax.Options
	filters map[string]*value.Callable
	tests   map[string]*value.Callable
	globals map[string]any

	mu    sync.RWMutex
	cache map[string]*Template
}

// New returns an environment. It copies the maps of the configuration.
func New(cfg Config) *Environment {
	cfg.Limits = cfg.Limits.WithDefaults()
	env := &Environment{
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
		env.filters = maps.Clone(env.filters)
		for name, f := range cfg.Filters {
			env.filters[name] = value.FromGo(name, f)
		}
	}
	if len(cfg.Tests) > 0 {
		env.tests = maps.Clone(env.tests)
		for name, f := range cfg.Tests {
			env.tests[name] = value.FromGo(name, f)
		}
	}
	for name, v := range cfg.Globals {
		if f, ok := value.AsFunc(v); ok {
			v = value.FromGo(name, f)
		}
		env.globals[name] = value.BoxGlobal(v)
	}
	return env
}

// Template returns a template by its name. It is loaded and compiled at the first use.
// If the loader does not have it, the error is an *Error of KindNotFound.
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

// Forget frees a compiled template, which the next use compiles again. Running renders
// are not affected.
func (e *Environment) Forget(name string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.cache, name)
}

// Parse compiles a template from a string. The name is for errors; the environment
// does not keep the template.
func (e *Environment) Parse(name, source string) (t *Template, err error) {
	defer recoverTo(&err, func() *state { return nil })
	return compileTemplate(e, name, source), nil
}
