package render

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja"
)

// pythonCase is a template that both sides render.
type pythonCase struct {
	Template string            `json:"template"`
	Vars     map[string]string `json:"vars"`
}

// runPython renders the cases with Jinja2 and Kolla's own filters and methods.
// A result that is nil is an exception.
func runPython(t *testing.T, kolla string, cases []pythonCase) []*string {
	t.Helper()
	const script = `
import json, logging, sys
logging.disable(logging.CRITICAL)
sys.path.insert(0, '.')
import jinja2.sandbox
from kolla.template import filters, methods
env = jinja2.sandbox.SandboxedEnvironment()
env.filters['customizable'] = filters.customizable
for name in ('debian_package_install', 'handle_repos', 'raise_error'):
    env.globals[name] = getattr(methods, name)
out = []
for case in json.load(sys.stdin):
    try:
        out.append(env.from_string(case['template']).render(case['vars']))
    except Exception:
        out.append(None)
print(json.dumps(out))
`
	in, err := json.Marshal(cases)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/bin/python3", "-c", script)
	cmd.Dir = kolla
	cmd.Env = append(os.Environ(), "PBR_VERSION=22.0.0", "PYTHONDONTWRITEBYTECODE=1")
	cmd.Stdin = bytes.NewReader(in)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering with Python: %v", err)
	}
	var out []*string
	if err := json.Unmarshal(stdout, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// functionTemplates are templates that use the filter and the functions.
var functionTemplates = []string{
	"{% set i_p_append = ['c'] %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_append = ['c'] %}{% set l = ['a'] %}{% set m = l %}{{ l | customizable('p') }}{{ m }}{{ l | customizable('p') }}",
	"{% set i_p_append = {'k': 1} %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_append = nope %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_append = none %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_append = range(3) %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_append = ['x'] | map('upper') %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_append = [1.0, 2] %}{% set i_p_remove = [1, 2.0, 'a'] %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_remove = ['a', 'a'] %}{{ ['a', 'b', 'a', 'a'] | customizable('p') }}",
	"{% set i_p_remove = [['x']] %}{{ [['x'], ('x',), 'x'] | customizable('p') }}",
	"{% set i_p_append = [['y'], none] %}{{ [['x']] | customizable('p') }}",
	"{% set i_p_override = [['y'], none] %}{{ [['x'], ['z']] | customizable('p') }}",
	"{% set i_p_append = [['b', '2']] %}{% for name, version in [('a', '1')] | customizable('p') %}{{ name }}={{ version }} {% endfor %}",
	"{% set i_p_append = [['b', '2']] %}{% for name, version in [] | customizable('p') %}{{ name }}={{ version }} {% endfor %}",
	"{% set i_p_append = [none] %}{{ [none, 'a'] | customizable('p') }}",
	"{% set i_p_remove = {'a': 1} %}{{ ['a', 'b'] | customizable('p') }}",
	"{% set i_p_override = none %}{{ ['a'] | customizable('p') }}",
	"{% set i_p_override = nope %}[{{ ['a'] | customizable('p') }}]",
	"{% set i_p_append = ['c'] %}{{ 'text' | customizable('p') }}",
	"{{ 'text' | customizable('p') }}{{ none | customizable('p') }}",
	"{% set i_p_append = ['c'] %}{{ nope | customizable('p') | length }}",
	"{% set i_p_append = ['c'] %}{% for x in nope | customizable('p') %}x{% endfor %}",
	"{% macro m() %}{{ ['a'] | customizable('p') }}{% endmacro %}{% set i_p_append = ['c'] %}{{ m() }}",
	"{% block b %}{% set i_p_append = ['c'] %}{{ ['a'] | customizable('p') }}{% endblock %}",
	"{% if true %}{% set i_p_append = ['c'] %}{% endif %}{{ ['a'] | customizable('p') }}",
	"{{ ['a'] | customizable }}", "{{ ['a'] | customizable('p', 'q') }}", "{{ ['a'] | customizable(1) }}",
	"{{ debian_package_install(['a', 'http://x/b.deb', 'httpd', 'c']) }}",
	"{{ debian_package_install(('a', 'b'), clean_package_cache=0) }}",
	"{{ debian_package_install([], true) }}|{{ debian_package_install(nope) }}",
	"{{ debian_package_install(['a'] | map('upper')) }}",
	"{{ debian_package_install([1]) }}", "{{ debian_package_install() }}", "{{ debian_package_install(none) }}",
	"{{ debian_package_install(packages=['a'], clean_package_cache='') }}",
	"{{ raise_error('x') }}", "{{ raise_error() }}",
	"{{ handle_repos('x', 'enable') }}", "{{ handle_repos(['nope'], 'enable') }}",
	"{{ handle_repos(['debian', 'ceph'], 'enable') }}",
}

// handleReposCases enables and disables each repository of each platform, alone and with
// another one, with each of the users' files for the platform. The first of these is "".
func handleReposCases(repos *repoFile, users []string) (cases []pythonCase) {
	for _, distro := range []string{"debian", "ubuntu", "centos", "rocky"} {
		for _, arch := range []string{"x86_64", "aarch64"} {
			p := platform{packageType: "deb", distro: distro, arch: arch}
			if distro == "centos" || distro == "rocky" {
				p.packageType = "rpm"
			}
			names := slices.Sorted(maps.Keys(repos.merge(p)))
			for i, user := range users {
				if i > 0 && (i == 1) != (p.packageType == "deb") {
					continue
				}
				vars := map[string]string{"image_name": "i", "base_distro": distro, "base_package_type": p.packageType,
					"base_arch": arch, "repos_yaml": user, "openstack_release_codename": "Gazpacho"}
				for j, n := range names {
					for _, mode := range []string{"enable", "disable"} {
						cases = append(cases,
							pythonCase{fmt.Sprintf("{{ handle_repos(['%s'], '%s') }}", n, mode), vars},
							pythonCase{fmt.Sprintf("{{ handle_repos(['%s', '%s'], '%s') }}", names[(j+1)%len(names)], n, mode), vars})
					}
				}
			}
		}
	}
	return cases
}

// The filter and the functions give the results of Kolla's, and fail where they fail.
func TestFunctionsAsPython(t *testing.T) {
	kolla := checkout(t)
	def, err := os.ReadFile(filepath.Join(kolla, "kolla", "template", "repos.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := parseRepos("repos.yaml", def)
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := os.ReadFile(filepath.Join("..", "..", "testdata", "kolla", "command_lines.txt"))
	if err != nil {
		t.Fatal(err)
	}
	files := unpack(t, string(inputs))
	tree := &Tree{overrides: map[string]*repoFile{}, sets: map[repoKey]repoSet{}, repos: parsed}
	var cases []pythonCase
	for _, s := range functionTemplates {
		cases = append(cases, pythonCase{s,
			map[string]string{"image_name": "i", "base_distro": "rocky", "base_package_type": "rpm", "base_arch": "x86_64"}})
	}
	users := []string{"", filepath.Join(files, "repos-deb.yaml"), filepath.Join(files, "repos-rpm.yaml")}
	for _, user := range users[1:] {
		if _, err := tree.loadRepos(t.Context(), user); err != nil {
			t.Fatal(err)
		}
	}
	cases = append(cases, handleReposCases(parsed, users)...)
	env := newEnvironment(tree, jinja.Map{})
	for i, want := range runPython(t, kolla, cases) {
		c := cases[i]
		vars := map[string]any{}
		for k, v := range c.Vars {
			vars[k] = v
		}
		tpl, err := env.Parse("t", c.Template)
		got := ""
		if err == nil {
			got, err = tpl.Render(context.Background(), vars)
		}
		switch {
		case err != nil && want != nil:
			t.Errorf("%s %v: Python renders it\n%v\n%s", c.Template, c.Vars, err, *want)
		case err == nil && want == nil:
			t.Errorf("%s %v: Python refuses it: %s", c.Template, c.Vars, got)
		case err == nil && got != strings.TrimSuffix(*want, " && "):
			// We do not leave the "&&" that upstream leaves after a list's end.
			t.Errorf("%s %v:\ngot  %s\nwant %s", c.Template, c.Vars, got, *want)
		}
	}
	if len(cases) < 500 {
		t.Errorf("only %d cases: is repos.yaml still where it was?", len(cases))
	}
}
