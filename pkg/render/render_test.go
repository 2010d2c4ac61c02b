package render

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/jinja"
)

func TestFunctions(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"variables", "{{ base_distro }} {{ base_image }}:{{ base_distro_tag }} {{ base_arch }} {{ debian_arch }} {{ namespace }} {{ tag }} {{ image_name }} {{ kolla_version }} {{ supported_distro_name }}",
			"debian debian:bookworm x86_64 amd64 kolla t nova-api 1.2 Debian GNU/Linux 12 (bookworm)"},
		{"python's None and booleans", "{{ patches_path }} {{ use_dumb_init }} {{ docker_healthchecks }}", "None True False"},
		{"users", "{{ users['nova'].uid }} {{ users.nova.group }} {{ 'glance' in users }}", "42436 nova False"},
		{"env", "{{ env.HOME }} {{ env.get('X', 'none') }}", "/h none"},
		{"older releases", "{{ install_type }} {{ install_metatype }} {{ build_date | length }}", "binary rdo 8"},

		{"append", "{% set nova_api_packages_append = ['c'] %}{{ ['a', 'b'] | customizable('packages') | join(' ') }}",
			"a b c"},
		{"append changes the list itself", "{% set nova_api_p_append = ['c'] %}{% set l = ['a'] %}{% set x = l | customizable('p') %}{{ l }}", "['a', 'c']"},
		{"remove", "{% set nova_api_packages_remove = ['a', 'z'] %}{{ ['a', 'b', 'a'] | customizable('packages') | join(' ') }}", "b a"},
		{"append and remove", "{% set nova_api_p_append = ['c', 'd'] %}{% set nova_api_p_remove = ['c'] %}{{ ['a'] | customizable('p') }}", "['a', 'd']"},
		{"override wins", "{% set nova_api_p_override = ['z'] %}{% set nova_api_p_append = ['c'] %}{{ ['a'] | customizable('p') }}", "['z']"},
		{"override of a text", "{% set nova_api_p_override = 'text' %}{{ 'a' | customizable('p') }}", "text"},
		{"override of a list by nothing", "{% set nova_api_p_override = '' %}[{{ ['a'] | customizable('p') }}]", "[]"},
		{"override of a list by a text", "{% set nova_api_p_override = 'vim' %}{{ ['a'] | customizable('p') }}",
			`error: nova_api_p_override must be a list, not the string "vim": write ['vim']`},
		{"undefined stays undefined", "{% set nova_api_p_append = ['c'] %}[{{ nope | customizable('p') }}]", "[]"},
		{"another image's", "{% set nova_base_p_append = ['c'] %}{{ ['a'] | customizable('p') }}", "['a']"},
		{"by keyword", "{% set nova_api_p_append = ['c'] %}{{ ['a'] | customizable(call_type='p') }}", "['a', 'c']"},
		{"a tuple is appended", "{% set nova_api_p_append = ('c', 'd') %}{{ ['a'] | customizable('p') }}", "['a', 'c', 'd']"},
		{"not a list", "{% set nova_api_p_append = ['c'] %}{{ 'text' | customizable('p') }}",
			`error: applies to a list, not to the text "text"`},
		{"none among the items", "{% set nova_api_p_append = ['a', none] %}{{ ['a'] | customizable('p') }}",
			"error: nova_api_p_append has None among its items"},
		{"list among the items", "{% set nova_api_p_override = [['a']] %}{{ ['a'] | customizable('p') }}",
			"error: nova_api_p_override has a list among its items"},
		{"nothing to add", "{% set nova_api_p_append = 1 %}{{ ['a'] | customizable('p') }}",
			"error: nova_api_p_append must be a list, not the number 1"},

		{"packages", "{{ debian_package_install(['a', 'b']) }}",
			"apt-get --error-on=any update && apt-get -y install --no-install-recommends a b && apt-get clean && rm -rf /var/lib/apt/lists/*"},
		{"packages, the cache is kept", "{{ debian_package_install(['a'], clean_package_cache=False) }}",
			"apt-get --error-on=any update && apt-get -y install --no-install-recommends a"},
		{"packages by URL", "{{ debian_package_install(['http://x/y/z.deb', 'a'], False) }}",
			"apt-get --error-on=any update && apt-get -y install --no-install-recommends a && curl --location http://x/y/z.deb -o z.deb && dpkg -i z.deb && rm -rf z.deb"},
		{"no packages", "[{{ debian_package_install([]) }}]", "[]"},
		{"a text for packages", "{{ debian_package_install('curl') }}",
			`error: debian_package_install needs a list of packages, not the text "curl"`},
		{"a misspelt argument", "{{ debian_package_install(['a'], clean_pakage_cache=False) }}",
			`error: debian_package_install has no argument "clean_pakage_cache" (did you mean "clean_package_cache"?)`},

		{"raise_error", "a\n  {{ raise_error('stop: ' + image_name) }}",
			"error: nova/nova-api/Dockerfile.j2:2:6: stop: nova-api"},
		{"repositories", "{{ handle_repos(['grafana'], 'enable') }}",
			"RUN echo 'Uris: https://g' >/etc/apt/sources.list.d/grafana.sources"},
		{"repositories, nothing to do", "[{{ handle_repos(['debian'], 'enable') }}]", "[]"},
		{"repositories, in a text", "{{ handle_repos('grafana', 'enable') }}",
			`error: handle_repos needs a list of repositories, not the text "grafana"`},
		{"repositories, a wrong mode", "{{ handle_repos(['grafana'], 'enabled') }}",
			`error: handle_repos needs "enable" or "disable"`},
		{"missing repository", "{{ handle_repos(['grafna'], 'enable') }}", `error: nova/nova-api/Dockerfile.j2:1:`},
		{"a template chooses no file", "{% set repos_yaml = '/etc/passwd' %}{{ handle_repos(['grafana'], 'enable') }}",
			`error: repos_yaml is "/etc/passwd"`},

		{"a file outside", "{% include '../../etc/passwd' %}", `not found`},
		{"a syntax error", "a\n{% if x %}", "error: nova/nova-api/Dockerfile.j2:2:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := renderOne(t, c.in, nil)
			want, isErr := strings.CutPrefix(c.want, "error: ")
			if strings.HasPrefix(got, "error: ") != (isErr || c.want == "not found") || !strings.Contains(got, want) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestOverrides(t *testing.T) {
	dir := unpack(t, `
-- one.j2 --
{% extends parent_template %}
{% set nova_api_packages_append = ['extra'] %}
{% block nova_api_footer %}RUN one{% endblock %}
-- two.j2 --
{% extends parent_template %}
{% block header %}{{ super() }} and mine{% endblock %}
-- bad.j2 --
{% extends parent_template %}

{% block footer %}{{ 1 + nope.nope }}{% endblock %}
-- tree/macros.j2 --
{% macro install(p) %}RUN install {{ p | join(' ') }}{% endmacro %}
-- tree/nova/nova-api/Dockerfile.j2 --
FROM {{ namespace }}/base:{{ tag }}
{% block header %}# header{% endblock %}
{% import "macros.j2" as macros with context %}
{% set packages = ['a'] %}
{{ macros.install(packages | customizable("packages")) }}
{% block nova_api_footer %}{% endblock %}
{% block footer %}{% endblock %}
-- tree/base/Dockerfile.j2 --
FROM {{ base_image }}:{{ base_distro_tag }}
`)
	tree, err := openDirs(t, filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.Registry, c.ImageNamePrefix = "localhost:4000", "p-"
	c.TemplateOverride = []string{filepath.Join(dir, "one.j2"), filepath.Join(dir, "two.j2")}
	o := Options{Tree: tree, Config: c}
	out, err := Render(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := "FROM localhost:4000/kolla/base:t\n# header and mine\n\n\nRUN install a extra\nRUN one\n"
	d := out[1]
	if string(d.Content) != want {
		t.Errorf("got\n%q\nwant\n%q", d.Content, want)
	}
	if d.Name != "nova-api" || d.Reference != "localhost:4000/kolla/p-nova-api:t" ||
		d.From != "localhost:4000/kolla/base:t" || d.FromLine != 1 || d.Dir != "nova/nova-api" {
		t.Errorf("%+v", d)
	}
	if out[0].From != BaseReference(c) {
		t.Error(out[0].From)
	}

	c.TemplateOverride = append(c.TemplateOverride, filepath.Join(dir, "bad.j2"))
	_, err = Render(context.Background(), o)
	var je *jinja.Error
	if !errors.As(err, &je) || !strings.HasPrefix(err.Error(), filepath.Join(dir, "bad.j2")+":3:") {
		t.Errorf("an error in the third file is not placed there: %v", err)
	}
}

func TestRenderErrors(t *testing.T) {
	tree := mustOpen(t, `
-- macros.j2 --
{% macro broken() %}{{ nope.x }}{% endmacro %}
-- a/Dockerfile.j2 --
{% import "macros.j2" as m %}
{{ m.broken() }}
-- b/Dockerfile.j2 --
{% import "macros.j2" as m %}
{{ m.broken() }}
-- c/Dockerfile.j2 --
FROM x
{{ 'x' | nofilter }}
`)
	_, err := Render(context.Background(), Options{Tree: tree, Config: testConfig()})
	var all *Errors
	if !errors.As(err, &all) || len(all.Errs) != 2 || len(all.Also[0]) != 1 ||
		all.Also[0][0] != tree.displayPath("b/Dockerfile.j2") {
		t.Fatalf("%v", err)
	}
	var te *TemplateError
	if !errors.As(err, &te) || te.Template != "a/Dockerfile.j2" {
		t.Errorf("%v", te)
	}
	for _, want := range []string{"macros.j2:1:", "b/Dockerfile.j2)", "c/Dockerfile.j2:2:"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in\n%v", want, err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Render(ctx, Options{Tree: tree, Config: testConfig()}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for name, change := range map[string]func(*config.Config){
		"/no/such/repos":    func(c *config.Config) { c.ReposYAML = "/no/such/repos" },
		"/no/such/override": func(c *config.Config) { c.TemplateOverride = []string{"/no/such/override"} },
		"apt_sources_list":  func(c *config.Config) { c.AptSourcesList = "/no/such/list" },
		"x.deb":             func(c *config.Config) { c.RPMSetupConfig = []string{"x.deb"} },
	} {
		c := testConfig()
		change(c)
		if _, err := Render(context.Background(), Options{Tree: tree, Config: c}); err == nil ||
			!strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// contextTree has images with files, and files that options add to contexts.
const contextTree = `
-- tree/macros.j2 --
-- tree/base/Dockerfile.j2 --
FROM x
-- tree/base/sources.list --
old
-- tree/nova/nova-api/Dockerfile.j2 --
FROM base
-- tree/nova/nova-api/Dockerfile --
old
-- tree/nova/nova-api/start.sh --
start
-- tree/nova/nova-api/sub/x --
x
-- tree/other/Dockerfile.j2 --
FROM base
-- tree/other/file --
-- list --
new
-- prefs --
prefs
-- patches/nova-api/series --
a.patch
-- patches/nova-api/a.patch --
a
`

func TestContextAndWriteTree(t *testing.T) {
	dir := unpack(t, contextTree)
	if err := os.Chmod(filepath.Join(dir, "tree/nova/nova-api/start.sh"), 0o755); err != nil {
		t.Fatal(err)
	}
	tree, err := openDirs(t, filepath.Join(dir, "tree"))
	if err != nil {
		t.Fatal(err)
	}
	c := testConfig()
	c.AptSourcesList, c.AptPreferences, c.PatchesPath = filepath.Join(dir, "list"), filepath.Join(dir, "prefs"),
		filepath.Join(dir, "patches")
	o := Options{Tree: tree, Config: c}
	out, err := Render(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		"apt_preferences 644 prefs\npatches/\nsources.list 644 new\n",
		"patches/\npatches/a.patch 644 a\npatches/series 644 a.patch\nstart.sh 755 start\nsub/\nsub/x 644 x\n",
		"file 644 \npatches/\n",
	} {
		if got := listing(t, out[i].Context); got != want {
			t.Errorf("%s: got\n%swant\n%s", out[i].Name, got, want)
		}
	}

	work := t.TempDir()
	// Files of an earlier run do not change the result.
	victim := filepath.Join(t.TempDir(), "victim")
	for _, err := range []error{
		os.WriteFile(victim, []byte("v"), 0o644),
		os.MkdirAll(filepath.Join(work, "docker/base"), 0o755),
		os.MkdirAll(filepath.Join(work, "docker/other/left"), 0o755),
		os.Symlink(victim, filepath.Join(work, "docker/base/sources.list")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // a second time over the first
		written, err := WriteTree(work, o, out, func(name string) bool { return name != "other" })
		if err != nil || written != filepath.Join(work, "docker") {
			t.Fatal(written, err)
		}
	}
	if b, err := os.ReadFile(victim); err != nil || string(b) != "v" {
		t.Errorf("a symbolic link was followed: %s %v", b, err)
	}
	want := `base/Dockerfile 644 FROM x
base/Dockerfile.j2 644 FROM x
base/apt_preferences 644 prefs
base/patches/
base/sources.list 644 new
macros.j2 644
nova/nova-api/Dockerfile 644 FROM base
nova/nova-api/Dockerfile.j2 644 FROM base
nova/nova-api/patches/a.patch 644 a
nova/nova-api/patches/series 644 a.patch
nova/nova-api/start.sh 755 start
nova/nova-api/sub/x 644 x
`
	if got := leaves(t, filepath.Join(work, "docker")); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// leaves lists the files of a directory with their modes and contents, and the
// directories that are empty.
func leaves(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	var walk func(string)
	walk = func(rel string) {
		entries, err := os.ReadDir(filepath.Join(dir, rel))
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			fmt.Fprintf(&b, "%s/\n", rel)
		}
		for _, e := range entries {
			p := filepath.Join(rel, e.Name())
			if e.IsDir() {
				walk(p)
				continue
			}
			info, err := e.Info()
			if err != nil {
				t.Fatal(err)
			}
			content, err := os.ReadFile(filepath.Join(dir, p))
			if err != nil {
				t.Fatal(err)
			}
			b.WriteString(strings.TrimSpace(fmt.Sprintf("%s %o %s", p, info.Mode(), strings.TrimSpace(string(content)))) + "\n")
		}
	}
	walk(".")
	return b.String()
}

func TestInclude(t *testing.T) {
	const images = `
-- base/Dockerfile.j2 --
FROM \
  {{ base_image }}:{{ base_distro_tag }}
# a comment

RUN x
-- nova/nova-api/Dockerfile.j2 --
FROM kolla/base:t
RUN y
-- nova/nova-base/Dockerfile.j2 --
FROM kolla/base:t
`
	for _, c := range []struct{ name, more, want string }{
		{"templates that do not know the variables", "",
			"FROM \\\n  debian:bookworm\n# a comment\n\nENV head\nRUN x|FROM kolla/base:t\nRUN y\nRUN foot\n|FROM kolla/base:t\nRUN foot\n"},
		{"templates that do", "-- x/Dockerfile.j2 --\nFROM kolla/base:t\n{{ include_footer }}{{ include_header }}",
			"FROM \\\n  debian:bookworm\n# a comment\n\nRUN x|FROM kolla/base:t\nRUN y|FROM kolla/base:t|FROM kolla/base:t\nRUN foot\nENV head\n"},
	} {
		dir := unpack(t, "-- head --\nENV head\n-- foot --\nRUN foot")
		config := testConfig()
		config.IncludeHeader, config.IncludeFooter = filepath.Join(dir, "head"), filepath.Join(dir, "foot")
		out, err := Render(context.Background(), Options{Tree: mustOpen(t, images+c.more), Config: config})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, d := range out {
			got = append(got, string(d.Content))
		}
		if s := strings.Join(got, "|"); s != c.want {
			t.Errorf("%s:\ngot  %q\nwant %q", c.name, s, c.want)
		}
	}
}
