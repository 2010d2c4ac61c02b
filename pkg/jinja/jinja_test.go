package jinja

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

func mustRender(t *testing.T, env *Environment, name string, vars map[string]any) string {
	t.Helper()
	tmpl, err := env.Template(name)
	if err != nil {
		t.Fatal(err)
	}
	text, err := tmpl.Render(context.Background(), vars)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestGoValues(t *testing.T) {
	type level int
	env := New(Config{Loader: Map{"t": "{{ v }}"}})
	shared := NewList(int64(1))
	dict := NewDict()
	dict.Set("z", 1)
	dict.Set("a", []any{"x", nil})
	for want, v := range map[string]any{
		"None": nil, "True": true, "3": 3, "4": uint8(4), "2.5": float32(2.5), "s": "s", "7": level(7),
		"[1, 'a', None]": []any{1, "a", nil}, "['a', 'b']": []string{"a",
			"b"}, "{'a': 1, 'b': [2]}": map[string]any{"b": []int{2}, "a": 1},
		"{'k': 'v'}": map[string]string{"k": "v"}, "(1, 'x')": Tuple{1,
			"x"}, "[1]": shared, "{'z': 1, 'a': ['x', None]}": dict,
		"{1: 'one', 2: 'two'}": map[int]string{2: "two", 1: "one"}, "<b>": Markup("<b>"), "18446744073709551615": ^uint64(0),
	} {
		if got := mustRender(t, env, "t", map[string]any{"v": v}); got != want {
			t.Errorf("%#v renders as %q, not %q", v, got, want)
		}
	}
}

// TestSharedMutation checks that a Go list given twice is one list, also for Go
// functions.
func TestSharedMutation(t *testing.T) {
	l := NewList()
	env := New(Config{
		Loader:     Map{"t": "{% do a.append(1) %}{{ push(b) }}{{ a }}{{ b }}{{ m.append(1) }}{{ m }}"},
		Extensions: Extensions{Do: true},
		Globals: map[string]any{"push": Func(func(c *Call) (any, error) {
			c.Args[0].(*List).Items = append(c.Args[0].(*List).Items, "go")
			return "", nil
		})},
	})
	if got := mustRender(t, env, "t", map[string]any{"a": l, "b": l,
		"m": []any{0}}); got != "[1, 'go'][1, 'go']None[0, 1]" {
		t.Error(got)
	}
}

// TestFuncs checks filters, tests and functions in Go, with keywords, context and
// errors.
func TestFuncs(t *testing.T) {
	boom := errors.New("boom")
	env := New(Config{
		Loader: Map{
			"ok":   "{{ 2|times(3) }} {{ 2|times(n=4) }} {{ 4 is big }} {{ f(1, k='v') }} {{ look('x') }} {{ [1, 2]|map('times', 2)|list }} {{ nope|times(1) }}",
			"fail": "a\n{{ 1 + f() }}",
			"base": "{% block b %}{{ look('top') }}{{ look('inner') }}{% endblock %}",
			"sub":  "{% extends 'base' %}{% set top = 'T' %}{% block b %}{% set inner = 1 %}{{ 'top'|look }}{{ 'inner'|look }}{{ look('inner') }}{{ super() }}{% endblock %}",
		},
		Filters: map[string]Func{
			"times": func(c *Call) (any, error) {
				if IsUndefined(c.Args[0]) {
					return c.Args[0], nil
				}
				n, ok := c.Kwargs["n"]
				if !ok {
					n = c.Args[1]
				}
				return c.Args[0].(int64) * n.(int64), nil
			},
			"look": look,
		},
		Tests: map[string]Func{"big": func(c *Call) (any, error) { return c.Args[0].(int64) > 3, nil }},
		Globals: map[string]any{
			"look": Func(look),
			"f": func(c *Call) (any, error) {
				if len(c.Args) == 0 {
					return nil, boom
				}
				return map[string]any{"k": c.Kwargs["k"]}, nil
			},
		},
	})
	if got, want := mustRender(t, env, "ok", map[string]any{"x": "X"}), "6 8 True {'k': 'v'} X [2, 4] "; got != want {
		t.Errorf("%q, not %q", got, want)
	}
	if got := mustRender(t, env, "sub", nil); got != "T-1T-" {
		t.Errorf("%q", got)
	}
	tmpl, _ := env.Template("fail")
	_, err := tmpl.Render(context.Background(), nil)
	var e *Error
	if !errors.Is(err, boom) || !errors.As(err, &e) || e.Line != 2 || e.Column != 8 || e.Kind != KindRuntime {
		t.Errorf("%v", err)
	}
}

func look(c *Call) (any, error) {
	if v, ok := c.Lookup(c.Args[0].(string)); ok {
		return v, nil
	}
	return "-", nil
}

// TestForeignParent checks that a parent template of another environment keeps the
// imports and filters of its own environment.
func TestForeignParent(t *testing.T) {
	tree := New(Config{
		Loader:  Map{"img": `{% import "macros" as m with context %}{{ m.hi() }}{{ names|own|join(",") }}{% block b %}base{% endblock %}{{ only() }}`, "macros": "{% macro hi() %}hi {{ who }}{% endmacro %}"},
		Filters: map[string]Func{"own": func(c *Call) (any, error) { return c.Args[0], nil }},
		Globals: map[string]any{"only": Func(func(*Call) (any, error) { return "!", nil })},
	})
	parent, err := tree.Template("img")
	if err != nil {
		t.Fatal(err)
	}
	over := New(Config{Loader: Map{"o": `{% extends parent_template %}{% set who = "me" %}{% block b %}[{{ super() }}]{% endblock %}`},
		Globals: map[string]any{"only": Func(func(*Call) (any, error) { return "?", nil })}})
	if got := mustRender(t, over, "o", map[string]any{"parent_template": parent,
		"names": []string{"a", "b"}}); got != "hi mea,b[base]?" {
		t.Errorf("%q", got)
	}
}

func TestErrorText(t *testing.T) {
	env := New(Config{Loader: Map{
		"main": "line one\n{% import 'lib' as lib %}\n  {{ lib.outer(pkg) }}\n",
		"lib":  "{% macro outer(p) %}{% include 'inc' %}{% endmacro %}",
		"inc":  "\t{{ p.nmae.x }}",
		"tag":  "{% if x %}\n{% for y in z %}\n{{ y }}\n{% endif %}\n",
		"filt": "{{ x|uper }}",
		"word": "{% inclde 'x' %}",
		"bad":  "{% include 'brokn' %}",
		"near": "{% set packages = 1 %}{{ pakages + 1 }}",
		"over": "{% extends 'base' %}\n{% set late = 1 %}\n{% block b %}{{ nosuch.x }}{% endblock %}",
		"base": "{% block b %}{% endblock %}",
		"kw":   "{% macro m(package) %}{% endmacro %}{{ m(pakage=1) }}",
	}})
	dict := NewDict()
	dict.Set("name", "n")
	for name, want := range map[string]string{
		"main": "inc:1:12: 'dict object' has no attribute 'nmae'\n    \t{{ p.nmae.x }}\n    \t          ^\n  in template 'inc', at lib:1:32\n  in macro 'outer', at main:3:10\n  hint: did you mean \"name\"?",
		"tag":  "tag:4:4: Encountered unknown tag 'endif'. You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for 'endfor' or 'else'. The innermost block that needs to be closed is 'for'.\n    {% endif %}\n       ^\n  hint: `for` was opened at line 2, column 4",
		"filt": "filt:1:6: No filter named 'uper'.\n    {{ x|uper }}\n         ^\n  hint: did you mean \"upper\"?",
		"word": "word:1:4: Encountered unknown tag 'inclde'.\n    {% inclde 'x' %}\n       ^\n  hint: did you mean \"include\"?",
		"bad":  "bad:1:12: template \"brokn\" not found\n    {% include 'brokn' %}\n               ^",
		"near": "near:1:34: 'pakages' is undefined\n    {% set packages = 1 %}{{ pakages + 1 }}\n                                     ^\n  hint: did you mean \"packages\"?",
		"over": "over:3:24: 'nosuch' is undefined\n    {% block b %}{{ nosuch.x }}{% endblock %}\n                           ^\n  in block 'b', at base:1:4\n  in template 'base', at over:1:12",
		"kw":   "kw:1:40: macro 'm' takes no keyword argument 'pakage'\n    {% macro m(package) %}{% endmacro %}{{ m(pakage=1) }}\n                                           ^\n  hint: did you mean \"package\"?",
	} {
		tmpl, err := env.Template(name)
		if err == nil {
			_, err = tmpl.Render(context.Background(), map[string]any{"pkg": dict})
		}
		if err == nil || err.Error() != want {
			t.Errorf("%s: error is\n%v\nnot\n%s", name, err, want)
		}
	}
}

func TestFSLoader(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("secret", "secret")
	write("root/a.j2", "A")
	write("root/sub/b.j2", "B")
	for link, target := range map[string]string{
		"root/out": "../secret", "root/abs": filepath.Join(dir,
			"secret"), "root/in": "sub/b.j2", "root/dir": "sub", "root/up": "sub/../../secret",
		"root/loop": "loop", "root/sub/back": "../a.j2",
	} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	for _, fsys := range []fs.FS{os.DirFS(filepath.Join(dir, "root"))} {
		l := FS(fsys)
		for name, want := range map[string]string{"a.j2": "A", "./sub//b.j2": "B", "in": "B",
			"dir/b.j2": "B", "sub/back": "A"} {
			if got, err := l.Load(name); got != want || err != nil {
				t.Errorf("%s: %q, %v", name, got, err)
			}
		}
		for _, name := range []string{"out", "abs", "up", "loop", "../secret", "sub/../../secret", "sub/../a.j2",
			"/etc/passwd", "", ".", "sub", "nope", "a.j2/x", "..", "a\\..\\b", "a.j2\x00"} {
			if got, err := l.Load(name); err == nil {
				t.Errorf("%q loads %q", name, got)
			} else if !errors.Is(err, fs.ErrNotExist) && name != "a.j2/x" {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
	if got, err := FS(fstest.MapFS{"x": {Data: []byte("m")}}).Load("x"); got != "m" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	_, err := New(Config{Loader: FS(os.DirFS(dir))}).Template("../secret")
	var e *Error
	if !errors.As(err, &e) || e.Kind != KindNotFound || !strings.Contains(e.Hint, "search path") {
		t.Errorf("%#v", err)
	}
}

// TestConcurrent renders the templates of one environment from many goroutines; run it
// with -race.
func TestConcurrent(t *testing.T) {
	tree, names := syntheticTree(10)
	tree["mod"] = "{% set ns = namespace(n=0) %}{% macro bump() %}{% set ns.n = ns.n + 1 %}{{ ns.n }}{% endmacro %}"
	tree["user"] = "{% import 'mod' as m %}{{ m.bump() }}{{ m.bump() }}{{ shared.append(1) or shared }}"
	env := New(Config{Loader: tree, Globals: map[string]any{"shared": []any{}}})
	want := map[string]string{}
	vars := syntheticVars("deb")
	for _, name := range names {
		want[name] = mustRender(t, New(Config{Loader: tree}), name, vars)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for _, name := range names {
				tmpl, err := env.Template(name)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := tmpl.Render(context.Background(), vars); got != want[name] || err != nil {
					t.Errorf("%s differs: %v", name, err)
				}
			}
			tmpl, err := env.Template("user")
			if err != nil {
				t.Error(err)
				return
			}
			if got, err := tmpl.Render(context.Background(), nil); got != "12[1]" || err != nil {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	wg.Wait()
	first, _ := env.Template("user")
	second, _ := env.Template("user")
	if first != second {
		t.Error("a template is compiled twice")
	}
}

func TestAnalyze(t *testing.T) {
	env := New(Config{Filters: map[string]Func{"customizable": look}, Globals: map[string]any{"repos": 1}})
	tmpl, err := env.Parse("t", `{% extends "base" %}{% import "macros.j2" as macros with context %}
{% set a, b = 1, x %}{% if y %}{% set c = 2 %}{% endif %}{% macro m(p) %}{{ p }}{{ q }}{% set z = 1 %}{% endmacro %}
{% block head %}{% include ["i1", "i2"] %}{{ pkgs | customizable("packages") | join(' ') }}{% set local = 1 %}{{ local }}{{ a is defined }}{% endblock %}
{% block foot %}{% include dyn %}{{ repos }}{% for v in range(3) %}{{ v }}{{ loop.index }}{% endfor %}{% endblock %}`)
	if err != nil {
		t.Fatal(err)
	}
	analysis := tmpl.Analyze()
	names := func(refs []Ref) string {
		var out []string
		for _, r := range refs {
			out = append(out, r.Name)
		}
		return strings.Join(out, " ")
	}
	for name, pair := range map[string][2]string{
		"blocks": {names(analysis.Blocks), "head foot"}, "extends": {names(analysis.Extends),
			"base"}, "includes": {names(analysis.Includes), "i1 i2"},
		"imports": {names(analysis.Imports), "macros.j2"}, "sets": {names(analysis.Sets),
			"a b c"}, "macros": {names(analysis.Macros), "m"},
		"reads": {names(analysis.Reads), "x y q pkgs a dyn"},
	} {
		if pair[0] != pair[1] {
			t.Errorf("%s: %q, not %q", name, pair[0], pair[1])
		}
	}
	if !analysis.Dynamic || len(analysis.Filters) != 2 || analysis.Filters[1].Name != "customizable" ||
		analysis.Filters[1].Args[0] != "packages" ||
		analysis.Filters[1].Line != 3 || analysis.Filters[0].Name != "join" {
		t.Errorf("filters: %+v", analysis.Filters)
	}
	if len(analysis.Tests) != 1 || analysis.Tests[0].Name != "defined" {
		t.Errorf("tests: %+v", analysis.Tests)
	}
}
