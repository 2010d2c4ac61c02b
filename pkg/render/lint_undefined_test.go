package render

import (
	"path/filepath"
	"strings"
	"testing"
)

const undefinedTree = `
-- macros.j2 --
{% macro install(p) %}{% if p is defined and p | length > 0 %}RUN install {{ p | join(' ') }}{% endif %}{% endmacro %}
-- base/Dockerfile.j2 --
FROM {{ base_image }}
{% import "macros.j2" as macros with context %}
{% block base_header %}{% endblock %}
{% set base_packages = ['a'] %}
{{ macros.install(base_packages | customizable("packages")) }}
{{ macros.install(base_pip_packages | customizable("pip_packages")) }}
{{ site_text | default('') }}
{% block base_footer %}{% endblock %}
`

// Values that do not exist are found where templates and overrides name them. Renders find those
// that are used; others, marked "warning", are names that no template sets.
func TestUndefined(t *testing.T) {
	cases := []struct{ name, override, want string }{
		{"none", "{% extends parent_template %}\n", ""},
		{"an item of an appended list", "{% extends parent_template %}\n{% set base_packages_append = ['a',\n  base_distor] %}\n",
			"o.j2:3:3: 'base_distor' is undefined: it is treated as empty (did you mean \"base_distro\"?)"},
		{"an item of a removed list", "{% extends parent_template %}\n{% set base_packages_remove = [nope] %}\n",
			"o.j2:2:32: 'nope' is undefined: it is treated as empty"},
		{"an item of a list that replaces another", "{% extends parent_template %}\n{% set base_packages_override = [users.nvoa] %}\n",
			"o.j2:2:40: 'users' has no attribute or item 'nvoa': it is treated as empty (did you mean \"nova\"?)"},
		{"a whole list", "{% extends parent_template %}\n{% set base_packages_append = nope %}\n",
			"o.j2:2:31: 'nope' is undefined: it is treated as empty"},
		{"in a block", "{% extends parent_template %}\n{% block base_footer %}\nRUN {{ nope }}\n{% endblock %}\n",
			"o.j2:3:8: 'nope' is undefined: it is treated as empty"},
		{"in a branch that is not taken", "{% extends parent_template %}\n{% block base_footer %}\n{% if base_distro == 'other' %}{{ nope }}{% endif %}\n{% endblock %}\n",
			"o.j2:3:35: warning: 'nope' is undefined: it is treated as empty"},
		{"an argument that a macro tests", "{% extends parent_template %}\n{% macro install(p) %}{% if p %}{{ p }}{% endif %}{% endmacro %}\n{% block base_footer %}\n{{ install(bsae_list | customizable('packages')) }}\n{% endblock %}\n",
			"o.j2:4:12: warning: 'bsae_list' is undefined: it is treated as empty"},
		{"the environment", "{% extends parent_template %}\n{% block base_footer %}\n{{ env.NOPE }}{{ env.HOME }}\n{% endblock %}\n",
			"o.j2:3:8: warning: 'env' has no attribute or item 'NOPE': it is treated as empty"},
		{"optional", "{% extends parent_template %}\n{% block base_footer %}\n{% if nope %}{{ nope }}{% endif %}{{ x | d('a') }}{{ y is defined }}{{ z or 'b' }}{{ site_text }}\n{% endblock %}\n",
			"o.j2:3:86: 'site_text' is undefined: it is treated as empty"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			dir := unpack(t, "-- o.j2 --\n"+c.override)
			override := strings.ReplaceAll(undefinedTree, "\n-- ", "\n-- tree/")
			tree, err := openDirs(t, filepath.Join(unpack(t, override), "tree"))
			if err != nil {
				t.Fatal(err)
			}
			cfg := testConfig()
			cfg.TemplateOverride = []string{filepath.Join(dir, "o.j2")}
			o := Options{Tree: tree, Config: cfg, Env: map[string]string{"HOME": "/root"}}
			files, err := Render(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			found := UndefinedNames(t.Context(), o)
			for _, f := range files {
				found = append(found, f.Undefined...)
			}
			var got []string
			for _, f := range SortFindings(found) {
				f.Source = ""
				got = append(got, strings.ReplaceAll(f.String(), dir+"/", ""))
			}
			if s := strings.Join(got, "\n"); s != c.want {
				t.Errorf("got  %s\nwant %s", s, c.want)
			}
		})
	}
}

// The undefined value that ends a render is one finding, not an error and a warning.
func TestUndefinedThatEndsARender(t *testing.T) {
	const message = "'x' is undefined"
	found := SortFindings([]Finding{
		{File: "a.j2", Line: 1, Column: 4, Message: message},
		{File: "a.j2", Line: 1, Column: 8, Message: undefinedMessage(message), Warning: true},
		{File: "a.j2", Line: 2, Message: undefinedMessage(message), Warning: true},
	})
	if len(found) != 2 || found[0].Warning || found[1].Line != 2 {
		t.Errorf("%+v", found)
	}
}
