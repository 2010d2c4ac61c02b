package render

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
)

func TestMergeOverrides(t *testing.T) {
	dir := unpack(t, `
-- one.j2 --
{% extends parent_template %}
{% set a = 1 %}
-- two.j2 --
# first
   {% extends parent_template %} and more
{% set b = 2 %}
{% set c = 3 %}
-- three.j2 --
{%- extends "x" -%}
{% set d = 4 %}
`)
	o, err := mergeOverrides(t.Context(), []string{filepath.Join(dir, "one.j2"), filepath.Join(dir, "two.j2"),
		filepath.Join(dir, "three.j2")})
	if err != nil {
		t.Fatal(err)
	}
	want := "{% extends parent_template %}\n{% set a = 1 %}\n# first\n{% set b = 2 %}\n{% set c = 3 %}\n{% set d = 4 %}\n"
	if o.source != want || o.name != "one.j2" {
		t.Errorf("%s:\n%s", o.name, o.source)
	}
	for line, want := range map[int]string{1: "one.j2:1", 2: "one.j2:2", 3: "two.j2:1", 4: "two.j2:3",
		5: "two.j2:4", 6: "three.j2:2"} {
		file, n := o.origin(line)
		if got := filepath.Base(file) + ":" + string(rune('0'+n)); got != want {
			t.Errorf("line %d: got %s, want %s", line, got, want)
		}
	}
	if o, err := mergeOverrides(t.Context(), nil); o != nil || err != nil {
		t.Error(o, err)
	}
	if _, err := mergeOverrides(t.Context(), []string{"/no/such"}); err == nil ||
		!strings.Contains(err.Error(), "/no/such") {
		t.Error(err)
	}
}

func TestRPMSetup(t *testing.T) {
	got, err := rpmSetup(&config.Config{RPMSetupConfig: []string{"https://x/y.rpm", "local.rpm",
		"https://x/y.repo", "dir/z.repo", ""}})
	want := "RUN dnf -y install https://x/y.rpm|RUN dnf -y install local.rpm|RUN curl -L https://x/y.repo -o " +
		"/etc/yum.repos.d/y.repo|COPY dir/z.repo /etc/yum.repos.d/|"
	if err != nil || strings.Join(got, "|") != want {
		t.Errorf("%v\n%s", err, strings.Join(got, "|"))
	}
	if _, err := rpmSetup(&config.Config{RPMSetupConfig: []string{"x.deb"}}); err == nil ||
		!strings.Contains(err.Error(), `"x.deb" is neither`) {
		t.Error(err)
	}
}
