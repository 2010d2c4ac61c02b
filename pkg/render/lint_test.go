package render

import (
	"path/filepath"
	"strings"
	"testing"
)

const lintTree = `
-- macros.j2 --
{% macro install(p) %}{{ p | join(' ') }}{% endmacro %}
-- base/Dockerfile.j2 --
{# FROM nothing #}
FROM {{ base_image }}
{% import "macros.j2" as macros with context %}
{% block base_header %}{% endblock %}
{{ macros.install(base_packages | customizable("packages")) }}
{% block footer %}{% endblock %}
-- nova/nova-api/Dockerfile.j2 --
FROM base
{% block nova_api_header %}{% endblock %}
{% include 'nova/common.j2' %}
{{ site_append }}
-- nova/common.j2 --
{{ x | customizable('pip_packages') }}
-- open/Dockerfile.j2 --
FROM base
{% for k in ['a', 'b'] %}{{ x | customizable(k) }}{% endfor %}
`

func TestLint(t *testing.T) {
	for _, c := range []struct{ name, tree, override, want string }{
		{"fine", "", `{% extends parent_template %}
{% set base_packages_append = ['x'] %}
{% set nova_api_pip_packages_remove, site_append = ['x'], 1 %}
{% set open_whatever_override = [] %}
{% set mine_append = [1] %}
{% set open_b_append = mine_append %}
{% set block_append %}text{% endset %}
{{ '' if block_append }}
{% block footer %}{% raw %}{% block no %}{% endraw %}RUN x{% endblock %}
`, ""},
		{"wrong names", "", `{% extends parent_template %}
{% block fotter %}x{% endblock %}
{% block zzz %}x{% endblock %}
{% set base_pacakges_append = ['x'] %}
{% set nova_api_packages_append = ['x'] %}
`, `override.j2:2:1: no template has a block "fotter": it is never shown (did you mean "footer"?)
override.j2:3:1: no template has a block "zzz": it is never shown
override.j2:4:1: no template reads base_pacakges_append (did you mean "base_packages_append"?)
override.j2:5:1: no template reads nova_api_packages_append (did you mean "nova_api_pip_packages_append"?)`},
		{"no extends", "", "{% block footer %}x{% endblock %}\n", "override.j2:1:: the override has no {% extends parent_template %}"},
		{"text outside", "", "{% extends parent_template %}\n\n\n  RUN x\n{% block footer %}y{% endblock %}\nRUN z\n",
			"override.j2:4:: text outside of a block is never shown (put it between {% block … %} and {% endblock %})"},
		{"override that does not compile", "", "{% extends parent_template %}\n{% block footer %}{{ x | nofilter }}{% endblock %}\n", "override.j2:2:"},
		{"templates that do not compile", "-- bad/Dockerfile.j2 --\nFROM x\n{{ x | custmizable('y') }}\n-- worse/Dockerfile.j2 --\nFROM y\n{% if %}\n", "", "bad/Dockerfile.j2:2:\nworse/Dockerfile.j2:2:"},
		{"a test that is not there", "-- bad/Dockerfile.j2 --\nFROM x\n{{ x is notest }}\n", "", "bad/Dockerfile.j2:2:"},
		{"no FROM", "-- bad/Dockerfile.j2 --\nRUN x\n-- good/Dockerfile.j2 --\n{% include 'inc.j2' %}\n-- inc.j2 --\nFROM x\n-- unknown/Dockerfile.j2 --\n{% include image_name %}\n-- made/Dockerfile.j2 --\n{{ 'FROM x' }}\n", "",
			"bad/Dockerfile.j2:1:: the template has no FROM (begin it with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := unpack(t, lintTree+c.tree)
			tree, err := openDirs(t, dir)
			if err != nil {
				t.Fatal(err)
			}
			var overrides []string
			if c.override != "" {
				overrides = []string{filepath.Join(unpack(t, "-- override.j2 --\n"+c.override), "override.j2")}
			}
			found, err := Lint(tree, overrides)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, f := range found {
				if f.File == "" {
					t.Errorf("no file: %s", f)
				}
				s := strings.ReplaceAll(f.String(), dir+"/", "")
				if len(overrides) > 0 {
					s = strings.ReplaceAll(s, filepath.Dir(overrides[0])+"/", "")
				}
				got = append(got, s)
			}
			want := strings.Split(c.want, "\n")
			if c.want == "" {
				want = nil
			}
			if len(got) != len(want) {
				t.Fatalf("got\n%s\nwant\n%s", strings.Join(got, "\n"), c.want)
			}
			for i := range want {
				// "::" stands for a finding without a column.
				if !strings.HasPrefix(got[i], strings.Replace(want[i], "::", ":", 1)) {
					t.Errorf("got  %s\nwant %s", got[i], want[i])
				}
			}
		})
	}
}

func TestScanTemplate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a{{ b }}c", "'a'1 {{b}}1:2 'c'1"},
		{"{%- set x = '%}' -%}\n{#- {{ no }} -#} {{ {'a': {'b': 1}} }}", "{%set x = '%}'%}1:1 '\n'1 ' '2 {{{'a': {'b': 1}}}}2:18"},
		{"{% raw %}{{ x }}{% endraw %}{{ y", "{%raw%}1:1 '{{ x }}'1 {{y}}1:29"},
		{"é{{ x }}", "'é'1 {{x}}1:2"},
		{"{", "'{'1"}, {"", ""}, {"{{", "{{}}1:1"}, {"{# x", ""},
	} {
		var got []string
		for _, p := range scanTemplate(c.in) {
			switch {
			case p.tag == nil:
				got = append(got, "'"+p.data+"'"+itoa(p.line))
			case p.tag.statement:
				got = append(got, "{%"+p.tag.text+"%}"+itoa(p.tag.line)+":"+itoa(p.tag.column))
			default:
				got = append(got, "{{"+p.tag.text+"}}"+itoa(p.tag.line)+":"+itoa(p.tag.column))
			}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%q: got %s, want %s", c.in, s, c.want)
		}
	}
}

// FuzzScanTemplate checks that a scan ends and that its places are in the file.
func FuzzScanTemplate(f *testing.F) {
	for _, s := range []string{"a{{ b }}", "{% raw %}{{", "{% set x = \"", "{#", "{{ '\\", "{{ } }}", "{%-", "{%}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		lines := 1 + strings.Count(s, "\n")
		for _, p := range scanTemplate(s) {
			if p.line < 1 || p.line > lines || (p.tag == nil && p.data == "") {
				t.Errorf("%+v of %d lines", p, lines)
			}
		}
		scanUses(s)
	})
}
