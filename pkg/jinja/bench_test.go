package jinja

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
)

// syntheticTree is a tree like Kolla's: children that extend a base, import macros and
// set lists of packages.
func syntheticTree(n int) (Map, []string) {
	tree := Map{
		"macros.j2": `{% macro install(packages, chain=False, clean=clean) -%}
{% if packages is defined and packages|length > 0 -%}
    {% if not chain -%} RUN {% endif -%}
    {%- if kind == 'rpm' -%}
        dnf -y install {{ packages | join(' ') }}
        {%- if clean %} \
    && dnf clean all{% endif -%}
    {%- elif kind == 'deb' -%}
        apt install {{ packages | join(' ') }}
    {%- endif %}
{%- endif %}
{%- endmacro %}
{% macro user(name, groups=None, shell=None) %}
{%- set user = users[name] %}
RUN usermod --append --groups kolla {{ name }} \
    {%- if groups %}
    && usermod --append --groups {{ groups }} {{ name }} \
    {%- endif %}
    && chown -R {{ user.uid }}:{{ user.gid }} /var/lib/{{ name }}
{% endmacro %}
`,
	}
	var names []string
	for i := range n {
		name := fmt.Sprintf("image%d/Dockerfile.j2", i)
		names = append(names, name)
		var pkgs strings.Builder
		for j := range 25 {
			fmt.Fprintf(&pkgs, "        'package-%d-%d',\n", i, j)
		}
		tree[name] = strings.NewReplacer("@PKGS@", pkgs.String(), "@I@", fmt.Sprint(i)).Replace(`FROM {{ namespace }}/{{ prefix }}parent:{{ tag }}
{% block labels %}
LABEL maintainer="{{ maintainer }}" name="{{ image_name }}" build-date="{{ build_date }}"
{% endblock %}

{% block header@I@ %}{% endblock %}

{% import "macros.j2" as macros with context %}

{{ macros.user(name='nova', groups='kolla') }}

{% if kind == 'rpm' %}
    {% set packages@I@ = [
@PKGS@    ] %}
{% elif kind == 'deb' %}
    {% set packages@I@ = [
@PKGS@    ] %}
    {% if arch == 'aarch64' %}
        {% set packages@I@ = packages@I@ + ['arm-only'] %}
    {% endif %}
{% endif %}

{{ macros.install(packages@I@ | unique | list) }}

{% for key in keys %}
{%- if loop.first %}RUN {% else %}    && {% endif -%}
    rpm --import {{ key }}
{%- if not loop.last %} \{% endif %}
{% endfor -%}

COPY extend_start.sh /usr/local/bin/kolla_extend_start
RUN chmod 755 /usr/local/bin/kolla_extend_start

{% block footer@I@ %}{% endblock %}
{% block footer %}{% endblock %}
USER {{ image_name }}
`)
	}
	return tree, names
}

func syntheticVars(kind string) map[string]any {
	users := NewDict()
	for _, name := range strings.Fields(kollaUsers) {
		u := NewDict()
		u.Set("uid", 42400)
		u.Set("gid", 42400)
		users.Set(name, u)
	}
	return map[string]any{
		"namespace": "ns", "prefix": "p-", "tag": "1", "maintainer": "M", "image_name": "img",
		"kind": kind, "arch": "aarch64",
		"users": users, "keys": NewList("a", "b", "c"), "clean": true,
	}
}

// BenchmarkSyntheticCold parses and renders 187 templates.
func BenchmarkSyntheticCold(b *testing.B) {
	tree, names := syntheticTree(187)
	vars := syntheticVars("deb")
	b.ReportAllocs()
	for b.Loop() {
		renderNames(b, New(Config{Loader: tree}), names, vars)
	}
}

// BenchmarkSyntheticWarm renders parsed templates for another distribution.
func BenchmarkSyntheticWarm(b *testing.B) {
	tree, names := syntheticTree(187)
	env := New(Config{Loader: tree})
	renderNames(b, env, names, syntheticVars("deb"))
	vars := syntheticVars("rpm")
	b.ReportAllocs()
	for b.Loop() {
		renderNames(b, env, names, vars)
	}
}

func renderNames(b *testing.B, env *Environment, names []string, vars map[string]any) {
	for _, name := range names {
		t, err := env.Template(name)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := t.Render(context.Background(), vars); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkKolla renders Kolla's own tree, at KOLLA_TREE.
func BenchmarkKolla(b *testing.B) {
	tree := kollaTree(b)
	names := kollaNames(b, tree)
	render := func(b *testing.B, env *Environment, vars map[string]any) {
		for name, a := range renderKolla(env, names, vars, "") {
			if a.Kind != "" && !strings.Contains(a.Error, "raise_error") &&
				!strings.Contains(a.Error, "Failed to find configuration") {
				b.Fatalf("%s: %s", name, a.Error)
			}
		}
	}
	b.Run("cold", func(b *testing.B) {
		vars := kollaVars("debian", "x86_64", "source")
		b.ReportAllocs()
		for b.Loop() {
			render(b, New(kollaConfig(FS(os.DirFS(tree)))), vars)
		}
	})
	b.Run("warm", func(b *testing.B) {
		env := New(kollaConfig(FS(os.DirFS(tree))))
		render(b, env, kollaVars("debian", "x86_64", "source"))
		vars := kollaVars("centos", "x86_64", "source")
		b.ReportAllocs()
		for b.Loop() {
			render(b, env, vars)
		}
	})
}
