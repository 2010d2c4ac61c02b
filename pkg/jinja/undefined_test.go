package jinja

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Values that do not exist are reported where the template names them, if they are used.
func TestUndefinedUses(t *testing.T) {
	const macros = "{% macro show(a, b) %}{{ a }}{{ b }}{% endmacro %}{% macro ask(a) %}{% if a %}x{% endif %}{% endmacro %}" +
		"{% macro words(l) %}{{ l | join(' ') }}{% endmacro %}"
	cases := []struct{ name, in, want string }{
		{"printed", "a\n{{ nope }}{{ v }}", "t:2:4 'nope' is undefined"},
		{"twice at one place", "{% for i in [1, 2] %}{{ nope }}{% endfor %}", "t:1:25 'nope' is undefined"},
		{"a similar name", "{% set packages = 1 %}{{ pakages }}",
			"t:1:26 'pakages' is undefined (did you mean \"packages\"?)"},
		{"an attribute", "{{ d.ky }}", "t:1:6 'd' has no attribute or item 'ky' (did you mean \"key\"?)"},
		{"an item", "{{ d['ky'] }}{{ list[7] }}", "t:1:5 'd' has no attribute or item 'ky' (did you mean \"key\"?)\nt:1:21 'list' has no attribute or item 7"},
		{"an item of a list", "{% set l = ['a',\n  nope] %}{{ l | join(' ') }}", "t:2:3 'nope' is undefined"},
		{"an item printed in its list", "{{ ['a', nope] }}", "t:1:10 'nope' is undefined"},
		{"an item of a macro's list", "{% import 'm' as m %}{{ m.words(['a', nope]) }}", "t:1:39 'nope' is undefined"},
		{"an argument", "{% import 'm' as m %}{{ m.show(nope, 'b') }}", "t:1:32 'nope' is undefined"},
		{"a default", "{{ nope | default(other) }}", "t:1:19 'other' is undefined"},
		{"a set value", "{% set x = nope %}{{ x }}", "t:1:12 'nope' is undefined"},
		{"compared", "{% if nope == 'a' %}{% endif %}{{ 'a' in other }}",
			"t:1:7 'nope' is undefined\nt:1:42 'other' is undefined"},
		{"iterated over", "{% for i in nope %}{% endfor %}", "t:1:13 'nope' is undefined"},
		{"joined", "{{ 'a' ~ nope }}{{ '%s' | format(other) }}", "t:1:10 'nope' is undefined\nt:1:34 'other' is undefined"},
		{"before an error", "{{ nope }}{{ 1 / 0 }}", "t:1:4 'nope' is undefined"},

		{"defined", "{{ nope is defined }}{{ nope is undefined }}{{ d.ky is defined }}", ""},
		{"with a default", "{{ nope | default('a') }}{{ nope | d }}{{ d.ky | d('x') }}", ""},
		{"conditions", "{% if nope %}{{ nope }}{% elif not other %}{% endif %}{{ nope or 'a' }}{{ 'a' if nope else 'b' }}{{ nope and nope.x }}", ""},
		{"length", "{% if nope | length > 0 %}{% endif %}", ""},
		{"an if without else", "{{ 'a' if false }}", ""},
		{"a parameter", "{% import 'm' as m %}{{ m.show('a') }}{{ m.ask(nope) }}", ""},
		{"set but not used", "{% set l = [nope] %}{{ [nope, 'a'] | select | join }}", ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			tpl, err := New(Config{Loader: Map{"t": c.in, "m": macros}}).Template("t")
			if err != nil {
				t.Fatal(err)
			}
			vars := map[string]any{"v": "v", "d": map[string]any{"key": 1}, "list": []any{1}}
			text, err := tpl.Render(t.Context(), vars)
			r, tracedErr := tpl.RenderPlaces(t.Context(), vars)
			if r.Text != text || (err == nil) != (tracedErr == nil) {
				t.Errorf("RenderPlaces returns %q, %v, Render %q, %v", r.Text, tracedErr, text, err)
			}
			var got []string
			for _, u := range r.Undefined {
				s := fmt.Sprintf("%s:%d:%d %s", u.Template, u.Line, u.Column, u.Message)
				if u.Hint != "" {
					s += " (" + u.Hint + ")"
				}
				got = append(got, s)
			}
			if s := strings.Join(got, "\n"); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// The names of a template include those in branches that are not taken.
func TestNames(t *testing.T) {
	env := New(Config{Loader: Map{}})
	tpl, err := env.Parse("t", `{% import 'm' as m %}{% from 'm' import a, b as c %}
{%- macro mac(p, q=used1) %}{{ p }}{{ varargs }}{% endmacro %}
{%- if false %}{{ used2 }}{% set s = used3.x %}{% endif %}
{%- for i, j in used4 if tested1 %}{{ loop.index }}{% endfor %}
{%- set ns = namespace(x=1) %}{% set ns.x = 2 %}
{{- tested2 | default(used5) }}{{ tested3 is defined }}{{ used6 if not tested4 }}
{%- if tested5 and tested6 %}{{ range(1) }}{% endif %}{{ tested7 or 'a' }}
{%- if used7 == 'a' %}{% endif %}{{ used8 | upper }}`)
	if err != nil {
		t.Fatal(err)
	}
	names := tpl.Names()
	var uses []string
	for _, u := range names.Uses {
		uses = append(uses, u.Name)
		if u.Name == "used8" && u.Filter.Name != "upper" {
			t.Errorf("%+v", u)
		}
	}
	uses = slices.DeleteFunc(uses, func(s string) bool { return names.Bound[s] || names.Tested[s] })
	slices.Sort(uses)
	if got, want := strings.Join(uses, " "), "used1 used2 used3 used4 used5 used6 used7 used8"; got != want {
		t.Errorf("uses %s\nwant %s", got, want)
	}
	for i := range 7 {
		if name := fmt.Sprintf("tested%d", i+1); !names.Tested[name] {
			t.Errorf("%s is not among the tested names", name)
		}
	}
	for _, name := range strings.Fields("m a b c mac p q s i j ns") {
		if !names.Bound[name] {
			t.Errorf("%s is not among the bound names", name)
		}
	}
}
