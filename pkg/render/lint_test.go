package render

import (
	"os"
	"path/filepath"
	"slices"
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

func manyFilters(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(" | zzz" + itoa(i))
	}
	return b.String()
}

// lintCases are files of a tree beside lintTree, an override, and the beginnings of the findings.
var lintCases = []struct{ name, tree, override, want string }{
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
`, `override.j2:2:1: no template has a block "fotter": it is not rendered (did you mean "footer"?)
override.j2:3:1: no template has a block "zzz": it is not rendered
override.j2:4:1: no template reads base_pacakges_append (did you mean "base_packages_append"?)
override.j2:5:1: no template reads nova_api_packages_append (did you mean "nova_api_pip_packages_append"?)`},
	{"no extends", "", "{% block footer %}x{% endblock %}\n",
		"override.j2:1:: the override has no {% extends parent_template %}"},
	{"text outside", "", "{% extends parent_template %}\n\n\n  RUN x\n{% block footer %}y{% endblock %}\nRUN z\n",
		"override.j2:4:: text outside of a block is not rendered (put it between {% block … %} and {% endblock %})"},
	{"override that does not compile", "", "{% extends parent_template %}\n{% block footer %}{{ x | nofilter }}{% endblock %}\n", "override.j2:2:"},
	{"templates that do not compile", "-- bad/Dockerfile.j2 --\nFROM x\n{{ x | custmizable('y') }}\n-- worse/Dockerfile.j2 --\nFROM y\n{% if %}\n", "", "bad/Dockerfile.j2:2:\nworse/Dockerfile.j2:2:"},
	{"a test that is not there", "-- bad/Dockerfile.j2 --\nFROM x\n{{ x is notest }}\n", "", "bad/Dockerfile.j2:2:"},
	{"names in branches", "-- bad/Dockerfile.j2 --\nFROM x\n{% if a %}{{ x | uper }}{% elif b is dfined %}{{ c | custmizable('y') }}{% endif %}\n{{ a if b else c | nofilter }}\n", "",
		`bad/Dockerfile.j2:2:18: No filter named 'uper'. (did you mean "upper"?)
bad/Dockerfile.j2:2:38: No test named 'dfined'. (did you mean "defined"?)
bad/Dockerfile.j2:2:54: No filter named 'custmizable'. (did you mean "customizable"?)
bad/Dockerfile.j2:3:20: No filter named 'nofilter'.`},
	{"names in a branch of an override", "", "{% extends parent_template %}\n{% block footer %}{% if a %}{{ x | uper }}{% endif %}{% endblock %}\n", "override.j2:2:36: No filter named 'uper'."},
	{"several names that do not compile, and a block",
		"-- bad/Dockerfile.j2 --\nFROM x\n{{ x | one | two is three }}\n{% block bad_footer %}{% endblock %}\n",
		"{% extends parent_template %}\n{% block bad_footer %}x{% endblock %}\n",
		"bad/Dockerfile.j2:2:8: No filter named 'one'.\nbad/Dockerfile.j2:2:14: No filter named 'two'.\nbad/Dockerfile.j2:2:21: No test named 'three'."},
	{"names passed to filters", "-- bad/Dockerfile.j2 --\nFROM x\n{{ x | map('uper') | select('dfined') | selectattr('a', '==', 1) | rejectattr('a', 'nodd') | map(attribute='a') | list }}\n", "",
		"bad/Dockerfile.j2:2:8: No filter named 'uper'.\nbad/Dockerfile.j2:2:22: No test named 'dfined'.\nbad/Dockerfile.j2:2:68: No test named 'nodd'."},
	{"names that the template asks for", "-- good/Dockerfile.j2 --\nFROM x\n{% if 'uper' is filter %}{{ x | uper }}{% endif %}\n", "", ""},
	{"a template that does not parse keeps overrides out of trouble", "-- bad/Dockerfile.j2 --\nFROM x\n{% block bad_footer %}{% endblock %}\n{{ y | customizable('packages') }}\n{% if %}\n", `{% extends parent_template %}
{% set bad_packages_append = [] %}
{% block bad_footer %}x{% endblock %}
{% block fotter %}x{% endblock %}
`, "bad/Dockerfile.j2:4:\noverride.j2:4:1: no template has a block \"fotter\": it is not rendered (did you mean \"footer\"?)"},
	{"customizable in an override", "", "{% extends parent_template %}\n{% set nova_api_mine_append = [1] %}\n{% block footer %}{{ [] | customizable('mine') }}{% set x | indent(width=2) %}text{% endset %}{% endblock %}\n", ""},
	{"sets in a branch and several in one", "", "{% extends parent_template %}\n{% if x %}{% set nova_api_zzz_append, y = [], 1 %}{% endif %}\n{% set z | indent(width=2) %}text{% endset %}\n", "override.j2:2:11: no template reads nova_api_zzz_append"},
	{"no FROM", "-- bad/Dockerfile.j2 --\nRUN x\n-- good/Dockerfile.j2 --\n{% include 'inc.j2' %}\n-- inc.j2 --\nFROM x\n-- unknown/Dockerfile.j2 --\n{% include image_name %}\n-- made/Dockerfile.j2 --\n{{ 'FROM x' }}\n", "",
		"bad/Dockerfile.j2:1:: the template has no FROM (begin it with"},
	{"a tag of several lines", "", "{% extends parent_template %}\n{% set\n  base_zzz_append = [] %}\n",
		"override.j2:3:3: no template reads base_zzz_append"},
	{"more unknown names than the limit", "-- bad/Dockerfile.j2 --\nFROM x\n{{ x" + manyFilters(150) + " }}\n", "",
		"bad/Dockerfile.j2:2:"},
}

func TestLint(t *testing.T) {
	for _, c := range lintCases {
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
			found, err := Lint(t.Context(), tree, overrides)
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
				// "::" means a finding without a column.
				if !strings.HasPrefix(got[i], strings.Replace(want[i], "::", ":", 1)) {
					t.Errorf("got  %s\nwant %s", got[i], want[i])
				}
			}
		})
	}
}

// TestLintShowsTheLine checks the locations of findings in merged overrides.
func TestLintShowsTheLine(t *testing.T) {
	tree := mustOpen(t, lintTree)
	dir := unpack(t, `
-- one.j2 --
{% extends parent_template %}
{% block footer %}x{% endblock %}
-- two.j2 --
{% extends parent_template %}
# a heading
not one
  {% block fotter %}{{ x | uper }}{% endblock %}
`)
	two := filepath.Join(dir, "two.j2")
	found, err := Lint(t.Context(), tree, []string{filepath.Join(dir, "one.j2"), two})
	if err != nil {
		t.Fatal(err)
	}
	line := "  {% block fotter %}{{ x | uper }}{% endblock %}"
	want := []Finding{
		{File: two, Line: 3, Message: "text outside of a block is not rendered",
			Hint: "put it between {% block … %} and {% endblock %}", Source: "not one"},
		{File: two, Line: 4, Column: 3, Message: `no template has a block "fotter": it is not rendered`,
			Hint: `did you mean "footer"?`, Source: line},
		{File: two, Line: 4, Column: 28, Message: "No filter named 'uper'.", Hint: `did you mean "upper"?`, Source: line},
	}
	if !slices.Equal(found, want) {
		t.Errorf("got\n%+v\nwant\n%+v", found, want)
	}
}

// TestLintOrdinaryOverrides checks overrides as editors and sites write them (field case
// 16): headings between blocks, and byte order marks, also in the second of two files,
// whose extends is removed when they are merged.
func TestLintOrdinaryOverrides(t *testing.T) {
	dir := unpack(t, "-- tree/svc/Dockerfile.j2 --\nFROM a\n{% block svc_footer %}{% endblock %}\n"+
		"-- tree/marked/Dockerfile.j2 --\n\ufeff# c\nFROM a\n"+
		"-- o.j2 --\n{% extends parent_template %}\n\n# My service\n{% block svc_footer %}\nLABEL c=d\n{% endblock %}\n   # the end\n"+
		"-- bom.j2 --\n\ufeff{% extends parent_template %}\n")
	tree, err := openDirs(t, filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	mark := func(file string) Finding {
		return Finding{File: file, Line: 1, Message: "a byte order mark, which is rendered as text",
			Hint:       "save the file as UTF-8 without it",
			Everywhere: true}
	}
	o, bom := filepath.Join(dir, "o.j2"), filepath.Join(dir, "bom.j2")
	for _, tt := range []struct{ files, marked []string }{{[]string{o}, nil}, {[]string{bom}, []string{bom}},
		{[]string{o, bom}, []string{bom}}} {
		found, err := Lint(t.Context(), tree, tt.files)
		if err != nil {
			t.Fatal(err)
		}
		want := []Finding{mark(filepath.Join(dir, "tree", "marked", "Dockerfile.j2"))}
		for _, file := range tt.marked {
			want = append([]Finding{mark(file)}, want...)
		}
		if !slices.Equal(found, want) {
			t.Errorf("%v: got\n%+v\nwant\n%+v", tt.files, found, want)
		}
	}
}

// TestLintIsSilent checks trees without mistakes: the built-in images, and OpenStack Kolla's own at KOLLA_CHECKOUT.
func TestLintIsSilent(t *testing.T) {
	dirs := []string{filepath.Join("..", "..", "dockerfiles")}
	if checkout := os.Getenv("KOLLA_CHECKOUT"); checkout != "" {
		docker := filepath.Join(checkout, "kolla", "docker")
		if _, err := os.Stat(docker); err != nil {
			docker = filepath.Join(checkout, "docker") // where it was once
		}
		dirs = append(dirs, docker)
	}
	for _, dir := range dirs {
		tree, err := openDirs(t, dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := Lint(t.Context(), tree, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range found {
			t.Error(f)
		}
		if len(tree.Images()) == 0 {
			t.Errorf("%s has no images", dir)
		}
	}
}

func TestScanTemplate(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"a{{ b }}c", "'a'1 {{b}}1:2 'c'1"},
		{"{%- set x = '%}' -%}\n{#- {{ no }} -#} {{ {'a': {'b': 1}} }}",
			"{%set x = '%}'%}1:1 '\n'1 ' '2 {{{'a': {'b': 1}}}}2:18"},
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

// FuzzAnalyze checks that the analysis of a template ends and that findings have
// locations in it.
func FuzzAnalyze(f *testing.F) {
	for _, s := range []string{"{{ x | a | b is c }}", "{% set x_append = 1 %}", "{% if %}", "{{ x | map('a }}') }}",
		"{% block b %}{% endblock %}\n{% block b %}", "{% include ['', 'a'] %}"} {
		f.Add(s)
	}
	tree := &Tree{}
	tree.env = newEnvironment(tree, treeLoader{tree})
	f.Fuzz(func(t *testing.T, s string) {
		l := &linter{tree: tree}
		a := l.analyze(s, func(line int) (string, int) { return "f", line })
		l.checkText(a)
		for _, b := range a.Blocks {
			if c := a.column(b); c < 1 || c > b.Column {
				t.Errorf("block %+v in column %d", b, c)
			}
		}
		for _, found := range l.found {
			if found.Line < 0 || found.Line > 1+strings.Count(toLines(s), "\n") {
				t.Errorf("%+v", found)
			}
		}
	})
}

// toLines converts line ends as reading a file does.
func toLines(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}

// FuzzScanTemplate checks that a scan ends and that its locations are in the file.
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
	})
}
