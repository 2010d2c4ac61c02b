package jinja

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

// renderError renders a template from a string and returns its error.
func renderError(t *testing.T, cfg Config, src string) *Error {
	t.Helper()
	tmpl, err := New(cfg).Parse("t", src)
	if err == nil {
		var text string
		if text, err = tmpl.Render(context.Background(), nil); err == nil {
			t.Errorf("%s: no error, but %q", src, clip(text))
			return nil
		}
	}
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%s: not an *Error: %v", src, err)
	}
	return e
}

// TestLimits feeds templates that would take the process down.
func TestLimits(t *testing.T) {
	for _, src := range []string{
		"{{ 'a' * 10**9 }}",
		"{{ [0] * 10**9 }}",
		"{{ (9**9)**(9**9) }}",
		"{{ 10**300000 * 10**300000 }}",
		"{{ '%1000000000d' % 1 }}",
		"{{ '%*d' % (2000000000, 1) }}",
		"{{ '%.1000000000f' % 1.5 }}",
		"{{ '{:1000000000}'.format(1) }}",
		"{{ '{:.1000000000f}'.format(1.5) }}",
		"{{ 'x'.center(10**9) }}",
		"{{ 'x'|center(10**9) }}",
		"{{ 'x'.zfill(10**9) }}",
		"{{ 'x'.ljust(10**9, 'é') }}",
		"{{ '\\t'.expandtabs(10**9) }}",
		"{{ 'a\\nb'|indent(10**9) }}",
		"{{ [1, [2, [3]]]|tojson(10**9) }}",
		"{{ range(200000) }}",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"{% macro m(x) %}{% call m(x) %}{{ caller() }}{% endcall %}{% endmacro %}{{ m(1) }}",
		"{% include 't' %}",
		"{% import 'self' as s with context %}",
		"{% block a %}{{ self.a() }}{% endblock %}",
		"{% set l = [1] %}{% for x in l %}{% do l.append(x) %}{% endfor %}",
		"{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}",
		"{% for a in range(100000) %}{% for b in range(100000) %}" + strings.Repeat("x", 100) + "{% endfor %}{% endfor %}",
		"{% set ns = namespace(s='aaaaaaaaaa') %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"{% set ns = namespace(s=[1]) %}{% for i in range(100) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"{% set ns = namespace(s=2) %}{% for i in range(100) %}{% set ns.s = ns.s * ns.s %}{% endfor %}",
		"{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = ns.s|replace('a', 'aaaaaaaaaaaaaaaa') %}{% endfor %}",
		"{% set ns = namespace(s='a') %}{% for i in range(100) %}{% set ns.s = (ns.s ~ ns.s)|urlencode|e %}{% endfor %}",
		"{% set ns = namespace(s='<') %}{% for i in range(100) %}{% set ns.s = ns.s|tojson|e ~ ns.s %}{% endfor %}",
		"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
		"{% set ns = namespace(l=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|pprint }}",
		"{% set ns = namespace(l=[], m=[]) %}{% for i in range(1000) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"{% set ns = namespace(l=()) %}{% for i in range(1000) %}{% set ns.l = (ns.l,) %}{% endfor %}{{ {ns.l: 1} }}",
		"{% set a = [] %}{% set b = [] %}{% do a.append(b) %}{% do b.append(a) %}{{ a == b }}",
		"{% set a = [] %}{% do a.append(a) %}{% set b = [] %}{% do b.append(b) %}{{ a < b }}",
		"{% set d = {} %}{% for i in range(100000) %}{% for j in range(1000) %}{% do d.update({i * 1000 + j: 'xxxxxxxxxxxxxxxxxxxxxxxx'}) %}{% endfor %}{% endfor %}",
		"{% set l = range(90000)|list %}{% for x in l %}{% if -1 in l %}{% endif %}{% endfor %}",
		"{% set l = range(90000)|list %}{% for x in l %}{% set m = l|sort %}{% endfor %}",
		"{{ lipsum(10**6, min=10**5, max=10**6) }}",
		"{{ [[1]] * 100000 * 1000 }}",
		"{{ range(90000)|batch(10**9, 'x')|list }}",
		"{{ ('x' * 1000 ~ ' ') * 10**6 }}",
		"{{ ('%s' * 10**6) % (('x' * 1000,) * 10**6) }}",
		strings.Repeat("(", 10000) + "{{ " + strings.Repeat("(", 5000) + "1" + strings.Repeat(")", 5000) + " }}",
		"{{ " + strings.Repeat("-", 5000) + "1 }}",
		"{{ " + strings.Repeat("not ", 5000) + "1 }}",
		"{{ " + strings.Repeat("1 if 1 else ", 5000) + "1 }}",
		"{{ 1" + strings.Repeat(" + 1", 100000) + " }}",
		"{{ x" + strings.Repeat(".a", 100000) + " }}",
		"{{ x" + strings.Repeat("|e", 100000) + " }}",
		"{{ " + strings.Repeat("[", 5000) + strings.Repeat("]", 5000) + " }}",
		strings.Repeat("{% if 1 %}", 5000) + strings.Repeat("{% endif %}", 5000),
		strings.Repeat("{% for x in y %}", 5000) + strings.Repeat("{% endfor %}", 5000),
	} {
		start := time.Now()
		loader := Map{"t": src, "self": "{% import 'self' as s with context %}"}
		limits := Limits{Steps: 3_000_000, Memory: 64 << 20, Output: 8 << 20}
		e := renderError(t, Config{Loader: loader, Extensions: Extensions{Do: true}, Limits: limits}, src)
		if e != nil && e.Kind != KindLimit {
			t.Errorf("%s: error of kind %s: %v", clip(src), e.Kind, e)
		}
		if d := time.Since(start); d > 20*time.Second {
			t.Errorf("%s took %v", clip(src), d)
		} else if d > 2*time.Second {
			t.Logf("%.60s took %v", src, d)
		}
	}
}

// TestOwnLimits sets the limits low.
func TestOwnLimits(t *testing.T) {
	for name, c := range map[string]struct {
		limits Limits
		src    string
	}{
		"depth":  {Limits{Depth: 5}, "{% macro m(n) %}{{ m(n - 1) if n }}{% endmacro %}{{ m(6) }}"},
		"range":  {Limits{Range: 5}, "{{ range(6) }}"},
		"output": {Limits{Output: 5}, "123456"},
		"steps":  {Limits{Steps: 5}, "{% for i in range(6) %}{% endfor %}"},
		"memory": {Limits{Memory: 100}, "{{ x ~ 'x' * 60 }}{{ x ~ 'y' * 60 }}"},
	} {
		if e := renderError(t, Config{Limits: c.limits}, c.src); e != nil && e.Kind != KindLimit {
			t.Errorf("%s: error of kind %s: %v", name, e.Kind, e)
		}
	}
}
