package jinja

import (
	"errors"
	"strings"
	"testing"
)

// TestMessages compares the messages of common errors with the original's.
func TestMessages(t *testing.T) {
	o := startOracle(t)
	for _, src := range []string{
		"{{ 'a'|replace('a') }}", "{{ 'a'|replace }}", "{{ 'a'.replace('a') }}", "{{ 'a'|upper(2) }}",
		"{{ 'a'|upper(2, 3) }}", "{{ 1|default(1, 2, 3, 4) }}",
		"{{ 4 is divisibleby(0) }}", "{{ 4 is divisibleby }}", "{{ 5 % 0 }}", "{{ 5 // 0 }}", "{{ 5 / 0 }}",
		"{{ 5.0 % 0 }}", "{{ 5.0 // 0 }}", "{{ 0 ** -1 }}",
		"{{ '{}'.format() }}", "{{ '{1}'.format(0) }}", "{{ '{a}'.format() }}", "{{ '{:z}'.format(1) }}",
		"{{ '{:z}'.format('a') }}", "{{ '{:q}'.format(1) }}",
		"{{ '%d' % 'a' }}", "{{ '%s %s' % 1 }}", "{{ '%q' % 1 }}", "{{ 'a' + 1 }}", "{{ 1 + 'a' }}", "{{ [1] + 'a' }}",
		"{{ 1 < 'a' }}", "{{ 'a' in 1 }}", "{{ 1 in 'a' }}",
		"{{ nope.x }}", "{{ nope() }}", "{{ nope + 1 }}", "{{ d.x.y }}", "{{ none.x.y }}", "{{ [1].x.y }}",
		"{{ d['x']['y'] }}", "{{ 1() }}", "{{ 'a'.nope() }}",
		"{{ range(10**6) }}", "{{ [].pop() }}", "{{ [1].pop(5) }}", "{{ [1].remove(2) }}", "{{ {}.popitem() }}",
		"{{ {}.pop('a') }}", "{{ {[]: 1} }}", "{{ 'a'.index('b') }}",
		"{{ ''.__class__.x }}", "{{ 1|nosuch }}", "{{ 1 is nosuch }}", "{% if true %}{{ 1|nosuch }}{% endif %}",
		"{% for a, b in [1] %}{% endfor %}", "{% for a, b in [(1, 2, 3)] %}{% endfor %}",
		"{% for a, b in [(1,)] %}{% endfor %}", "{% for a in 1 %}{% endfor %}", "{{ 1|list }}", "{{ 1|length }}",
		"{{ 1|join }}", "{{ [1, 'a']|sort }}", "{{ 1|dictsort }}",
		"{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}", "{% macro m(a) %}{% endmacro %}{{ m(b=1) }}",
		"{% include ['nope', 'nopes'] %}", "{% extends nope %}",
		"{{ [1]|map|list }}", "{{ [1]|map('nosuch')|list }}", "{{ [1]|select('nosuch')|list }}", "{{ namespace(1) }}",
		"{{ dict(1) }}", "{{ cycler() }}",
	} {
		req := &request{Main: "main", Templates: map[string]string{"main": src}, vars: map[string]any{"d": NewDict()}}
		req.Vars = wire(req.vars)
		want := o.ask(t, req).Error
		env := New(req.Options.config(Map(req.Templates)))
		tmpl, err := env.Template("main")
		if err == nil {
			_, err = tmpl.Render(t.Context(), cloneVars(req.vars))
		}
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v, the original: %s", src, err, want)
			continue
		}
		_, words, _ := strings.Cut(want, ": ")
		if e.Message != words {
			t.Errorf("%s:\n  ours:     %s\n  original: %s", src, e.Message, words)
		}
	}
}

// TestRepeatedTrace checks that the steps of a long recursion are not all printed.
func TestRepeatedTrace(t *testing.T) {
	e := renderError(t, Config{}, "{% macro m() %}\n{{ m() }}\n{% endmacro %}{{ m() }}")
	if e == nil {
		return
	}
	text := e.Error()
	if !strings.Contains(text, "more like this") || strings.Count(text, "\n") > 8 {
		t.Errorf("%s", text)
	}
}

// TestHintsOfMistakes renders templates with mistakes that are often made, and compares the hints.
func TestHintsOfMistakes(t *testing.T) {
	for src, want := range map[string]string{
		`{% extends "parent" %}`:              "parent is a variable: write it without quotes",
		`{% extends "nosuch" %}`:              "",
		`{% set svc-packages = ["vim"] %}`:    "names of variables have underscores, not hyphens",
		`{% set svc_packages == ["vim"] %}`:   "= assigns a value; == compares values",
		`{% set svc_packages -%}x{% endif %}`: "`set` was opened at line 1, column 4",
	} {
		tmpl, err := New(Config{Loader: Map{"main": src}}).Template("main")
		if err == nil {
			_, err = tmpl.Render(t.Context(), map[string]any{"parent": tmpl})
		}
		var e *Error
		if !errors.As(err, &e) || e.Hint != want {
			t.Errorf("%s: %v, want the hint %q", src, err, want)
		}
	}
}
