package render

import (
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func itoa(i int) string { return strconv.Itoa(i) }

func TestRenderFile(t *testing.T) {
	dir := unpack(t, `
-- one/a.j2 --
{% include 'b.j2' %}|{{ x }}|{{ l }}|{{ d }}
-- one/secret.j2 --
-> ../../../etc/passwd
-- one/out.j2 --
{% include 'secret.j2' %}
-- two/b.j2 --
two
-- two/a.j2 --
shadowed
-- parent.j2 --
[{% block b %}parent{% endblock %}]{{ ['p'] | customizable('l') }}
-- child.j2 --
{% extends parent_template %}{% set i_l_append = ['c'] %}{% block b %}child of {{ super() }}{% endblock %}
-- bad.j2 --
line
{{ nope.nope }}
-- vars.json --
{"x": 1.0, "l": [1, true, null, "é", 123456789012345678901234567890], "d": {"z": 1, "a": 2e3}}
-- vars.yaml --
x: yes
l: [1, ~, 'a', &a [b]]
d: {z: 1, a: *a}
-- repos.yaml --
x: 1
-- user.yaml --
debian: {mine: {url: u, suite: s, component: c, gpg_key: k}}
-- repos.j2 --
{{ handle_repos(['mine'], 'enable') | replace('/etc/apt/sources.list.d/mine.sources', 'F') }}
`)
	at := func(s string) string { return filepath.Join(dir, s) }
	for _, c := range []struct {
		name string
		o    FileOptions
		want string
	}{
		{"JSON", FileOptions{Template: "a.j2", Search: []string{at("one"), at("two")}, VarsFile: at("vars.json")},
			"two|1.0|[1, True, None, 'é', 123456789012345678901234567890]|{'z': 1, 'a': 2000.0}"},
		{"YAML", FileOptions{Template: "a.j2", Search: []string{at("one"), at("two")}, VarsFile: at("vars.yaml")},
			"two|True|[1, None, 'a', ['b']]|{'z': 1, 'a': ['b']}"},
		{"set over a file", FileOptions{Template: "a.j2", Search: []string{at("one"), at("two")}, VarsFile: at("vars.json"),
			Set: []string{"x=a=b", "l=", "d=1"}},
			"two|a=b||1"},
		{"a JSON value", FileOptions{Template: "a.j2", Search: []string{at("one"), at("two")},
			SetJSON: []string{`l=[1, {"a": null}]`, "d.a.b=2"}, Set: []string{"d.c=3"}},
			"two||[1, {'a': None}]|{'c': '3', 'a': {'b': 2}}"},
		{"no JSON", FileOptions{Template: at("two/b.j2"), SetJSON: []string{"x=a"}},
			"error: --set-json x:1: not valid JSON: "},
		{"an entry of a text", FileOptions{Template: at("two/b.j2"), Set: []string{"x=1", "x.y=2"}},
			`error: x.y: x is the text "1", not a mapping`},
		{"by path, its own directory is searched", FileOptions{Template: at("two/b.j2")}, "two"},
		{"by path, beside the search", FileOptions{Template: at("one/a.j2"), Search: []string{at("two")},
			Set: []string{"x=1"}}, "two|1||"},
		{"parent", FileOptions{Template: at("child.j2"), Parent: at("parent.j2"), Set: []string{"image_name=i"}},
			"[child of parent]['p', 'c']"},
		{"parent in the search", FileOptions{Template: "child.j2", Search: []string{dir}, Parent: "parent.j2",
			Set: []string{"image_name=i"}}, "[child of parent]['p', 'c']"},
		{"no parent", FileOptions{Template: at("child.j2")}, "error: "},
		{"user's repositories", FileOptions{Template: at("repos.j2"),
			Set: []string{"repos_yaml=" + at("user.yaml"), "base_distro=debian", "base_package_type=deb"}},
			"RUN echo 'Uris: u' >F && echo 'Components: c' >>F && echo 'Types: deb' >>F && echo 'Suites: s' >>F && echo 'Signed-By: /etc/kolla/apt-keys/k' >>F"},
		{"env", FileOptions{Template: at("bad.j2"), Set: []string{"nope=x"}, Env: map[string]string{"A": "b"}}, "line\n"},
		{"an error", FileOptions{Template: at("bad.j2")}, "error: bad.j2:2:"},
		{"no template", FileOptions{Template: "zz.j2", Search: []string{at("one"), at("two")}},
			"error: template zz.j2 is neither a file nor in D/one, D/two"},
		{"no directory", FileOptions{Template: at("no/zz.j2")}, "error: template D/no/zz.j2 is neither a file"},
		{"a link out", FileOptions{Template: "out.j2", Search: []string{at("one")}}, "error: "},
		{"a set without a value", FileOptions{Template: at("two/b.j2"), Set: []string{"x"}}, `error: "x" is not NAME=VALUE`},
		{"no mapping", FileOptions{Template: at("two/b.j2"), VarsFile: at("one/a.j2")},
			"error: D/one/a.j2:1: not valid YAML"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := RenderFile(t.Context(), c.o)
			if err != nil {
				got = "error: " + strings.ReplaceAll(err.Error(), dir, "D")
			}
			if isErr := strings.HasPrefix(c.want, "error: "); got != c.want && (!isErr || !strings.HasPrefix(got, c.want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestParseVarsErrors(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"v.json", "{\n\"a\": }", "v.json:2: not valid JSON: "},
		{"v.json", "{}\n{}", "v.json:2: not valid JSON: content after the value"},
		{"v.json", "{", "v.json:1: not valid JSON: unexpected end"},
		{"v.json", "[1]", "v.json: the file must contain a mapping of variables, not a list"},
		{"v", "- 1", "v: the file must contain a mapping of variables, not a list"},
		{"v", "a: [", "v:1: not valid YAML: "},
		{"v", "1: 2", "v: a variable cannot be named 1"},
		{"v", "a: &a [*a]", "v:1: "},
		{"v", strings.Repeat("[", 5000), "v"},
		{"v.json", strings.Repeat("[", 5000), "v.json:1: not valid JSON: "},
		{"v", "", ""}, {"v", "null", ""}, {"v.json", `{"a": "\u00e9"}`, ""},
	} {
		_, err := parseVars(c.name, []byte(c.in))
		switch {
		case err == nil && c.want != "":
			t.Errorf("%.20q: no error, want %s", c.in, c.want)
		case err != nil && (c.want == "" || !strings.HasPrefix(err.Error(), c.want)):
			t.Errorf("%.20q: got %v, want %s", c.in, err, c.want)
		}
	}
}

// FuzzParseVars checks that any file is read, or rejected with its name, within limits.
func FuzzParseVars(f *testing.F) {
	for _, s := range []string{`{"a": [1, 2.5, null]}`, "a: &a {b: 1}\nc: *a\n<<: *a\n", "a: &a [*a, *a]",
		"? [x]\n: y", "{\"a\": 1e999}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, name := range []string{"file", "file.json"} {
			if vars, err := parseVars(name, []byte(s)); err != nil && !strings.HasPrefix(err.Error(), "file") {
				t.Errorf("no place: %v", err)
			} else if err == nil && vars == nil {
				t.Error("neither variables nor an error")
			}
		}
	})
}
