package graph

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// tree makes images from lines "DIR/NAME FROM [NEED...]"; a FROM without a
// colon names an image of the tree.
func tree(lines ...string) []Image {
	ref := func(name string) string {
		if strings.ContainsAny(name, ":") {
			return name
		}
		return "localhost:4000/kolla/" + name + ":t"
	}
	var out []Image
	for _, l := range lines {
		f := strings.Fields(l)
		name := f[0][strings.LastIndexByte(f[0], '/')+1:]
		im := Image{Name: name, Reference: ref(name), File: f[0] + "/Dockerfile.j2", FromPlace: Place{Line: 1}}
		if len(f) > 1 {
			im.From = ref(f[1])
		}
		for i, need := range f[min(2, len(f)):] {
			im.Needs = append(im.Needs, Need{ref(need), Place{Line: i + 2}})
		}
		out = append(out, im)
	}
	return out
}

func names(images []*Image) string {
	var out []string
	for _, im := range images {
		out = append(out, im.Name)
	}
	return strings.Join(out, " ")
}

var small = tree(
	"nova/nova-api nova-base",
	"nova/nova-base openstack-base",
	"nova/nova-compute nova-base tools",
	"base debian:bookworm",
	"cron base",
	"openstack-base base",
	"tools base",
)

func mustNew(t testing.TB, images []Image, bases ...string) *Graph {
	t.Helper()
	g, err := New(images, bases...)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func TestRelations(t *testing.T) {
	g := mustNew(t, small)
	for _, c := range []struct{ what, got, want string }{
		{"images", names(g.Images()), "base cron nova-api nova-base nova-compute openstack-base tools"},
		{"order", names(g.Order()), "base cron openstack-base nova-base nova-api tools nova-compute"},
		{"children", names(g.Children("base")), "cron openstack-base tools"},
		{"children of a need", names(g.Children("tools")), ""},
		{"parents", names(g.Parents("nova-compute")), "nova-base tools"},
		{"ancestors", names(g.Ancestors("nova-compute")), "base openstack-base nova-base tools"},
		{"parent", g.Parent("nova-api").Name, "nova-base"},
		{"unknown", names(g.Children("nope")) + names(g.Ancestors("nope")) + names(g.Parents("nope")), ""},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, c.got, c.want)
		}
	}
	if g.Parent("base") != nil || g.Parent("nope") != nil || g.Image("nope") != nil || g.Len() != 7 {
		t.Error("a root or an unknown name has a parent")
	}
	// The order of the input does not matter.
	turned := slices.Clone(small)
	slices.Reverse(turned)
	if got := names(mustNew(t, turned).Order()); got != names(g.Order()) {
		t.Errorf("order depends on the input: %s", got)
	}
}

func TestNewErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		images []Image
		bases  []string
		want   string // "" for no error
	}{
		{"self", tree("a a"), nil, `a/Dockerfile.j2:1: image "a" depends on itself`},
		{"cycle", tree("root x:1", "b/x y", "a/y z", "c/z x", "c/tail z"), nil,
			"images depend on each other in a cycle: y (a/y/Dockerfile.j2:1) -> z (c/z/Dockerfile.j2:1) -> x (b/x/Dockerfile.j2:1) -> y"},
		{"two cycles", tree("a b", "b a", "c d", "d c"), nil,
			"images depend on each other in a cycle: a (a/Dockerfile.j2:1) -> b (b/Dockerfile.j2:1) -> a\n" +
				"images depend on each other in a cycle: c (c/Dockerfile.j2:1) -> d (d/Dockerfile.j2:1) -> c"},
		{"cycle by a need", tree("a x:1 b", "b a"), nil,
			"images depend on each other in a cycle: a (a/Dockerfile.j2:1) -> b (b/Dockerfile.j2:1) -> a"},
		{"missing", tree("openstack-base x:1", "keystone opnstack-base"), nil,
			`keystone/Dockerfile.j2:1: image "keystone" depends on localhost:4000/kolla/opnstack-base:t, which is not in the tree (did you mean localhost:4000/kolla/openstack-base:t?)`},
		{"missing need", tree("base x:1", "b base nothing-like-it"), nil,
			`b/Dockerfile.j2:2: image "b" depends on localhost:4000/kolla/nothing-like-it:t, which is not in the tree`},
		{"several missing", tree("base x:1", "b base1", "a base2"), nil,
			`a/Dockerfile.j2:1: image "a" depends on localhost:4000/kolla/base2:t, which is not in the tree (did you mean localhost:4000/kolla/base:t?)` + "\n" +
				`b/Dockerfile.j2:1: image "b" depends on localhost:4000/kolla/base1:t, which is not in the tree (did you mean localhost:4000/kolla/base:t?)`},
		{"a base in the namespace", tree("base localhost:4000/kolla/debian:t"),
			[]string{"localhost:4000/kolla/debian:t"}, ""},
		{"another tag in the namespace", tree("base localhost:4000/kolla/debian:bookworm"), nil, ""},
		{"by digest", tree("base localhost:4000/kolla/debian:t@sha256:00"), nil, ""},
		{"no FROM", tree("base"), nil, ""},
		{"duplicate", tree("b/x r:1", "a/x r:1"), nil,
			`two templates for the image "x": a/x/Dockerfile.j2 and b/x/Dockerfile.j2`},
		{"empty", nil, nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := ""
			g, err := New(c.images, c.bases...)
			if err == nil {
				var missing []error
				for _, im := range g.Images() {
					missing = append(missing, g.Missing(im.Name))
				}
				err = errors.Join(missing...)
			}
			if err != nil {
				got = err.Error()
			}
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
	_, err := New(tree("a b", "b a"))
	var cycle *CycleError
	if !errors.As(err, &cycle) || !slices.Equal(cycle.Files(), []string{"a/Dockerfile.j2", "b/Dockerfile.j2"}) {
		t.Errorf("not a CycleError with its files: %v", err)
	}
}

func TestSelect(t *testing.T) {
	g := mustNew(t, small)
	match := func(patterns ...string) func(string) bool {
		r, err := CompileRegexes(patterns, nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.Match
	}
	for _, c := range []struct {
		name                        string
		o                           SelectOptions
		matched, skipped, unbuildab string
	}{
		{"all", SelectOptions{}, "base cron nova-api nova-base nova-compute openstack-base tools", "", ""},
		{"no patterns", SelectOptions{Match: match()},
			"base cron nova-api nova-base nova-compute openstack-base tools", "", ""},
		{"ancestors", SelectOptions{Match: match("nova-api")}, "base nova-api nova-base openstack-base", "", ""},
		{"needs are ancestors", SelectOptions{Match: match("nova-c")},
			"base nova-base nova-compute openstack-base tools", "", ""},
		{"anywhere", SelectOptions{Match: match("ron$", "^tool")}, "base cron tools", "", ""},
		{"none", SelectOptions{Match: match("zzz")}, "", "", ""},
		{"unbuildable", SelectOptions{Unbuildable: map[string]string{"nova-base": "no packages"}},
			"base cron openstack-base tools", "", "nova-api nova-base nova-compute"},
		{"unbuildable need", SelectOptions{Match: match("nova"), Unbuildable: map[string]string{"tools": "no packages"}},
			"base nova-api nova-base openstack-base", "", "nova-compute tools"},
		{"skip parents", SelectOptions{SkipParents: true, Match: match("nova-api", "cron", "nova-base")},
			"cron nova-api", "base nova-base openstack-base", ""},
		{"skip existing", SelectOptions{Match: match("nova-api"),
			Exists: func(im *Image) bool { return im.Name == "base" || im.Name == "cron" }},
			"nova-api nova-base openstack-base", "base", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := g.Select(c.o)
			for _, x := range []struct {
				st   Status
				want string
			}{{Matched, c.matched}, {Skipped, c.skipped}, {Unbuildable, c.unbuildab}} {
				if got := names(s.With(x.st)); got != x.want {
					t.Errorf("%s: got %q, want %q", x.st, got, x.want)
				}
			}
			n := len(s.With(Matched)) + len(s.With(Skipped)) + len(s.With(Unbuildable)) + len(s.With(Unmatched))
			if n != g.Len() {
				t.Errorf("%d of %d images have a status", n, g.Len())
			}
		})
	}
	s := g.Select(SelectOptions{Match: match("nova-api")})
	if s.Status("cron") != Unmatched || s.Status("nope") != "" || s.Reason("base") != "needed by openstack-base" ||
		s.Reason("nova-api") != "its name matches" {
		t.Errorf("status or reason: %q %q %q", s.Status("cron"), s.Status("nope"), s.Reason("base"))
	}
	if got := names(s.Order()); got != "base openstack-base nova-base nova-api" {
		t.Errorf("order: %s", got)
	}
}

func TestWriters(t *testing.T) {
	g := mustNew(t, append(slices.Clone(small), tree("zé \U0001F40B:1", "subgraph cron")...))
	selection := g.Select(SelectOptions{Match: func(n string) bool { return n == "nova-base" || n == "cron" }})
	all := g.Select(SelectOptions{})
	none := g.Select(SelectOptions{Match: func(string) bool { return false }})
	for _, c := range []struct {
		name  string
		write func(*bytes.Buffer) error
		want  string
	}{
		{"list", func(b *bytes.Buffer) error { return selection.WriteList(b) },
			"1 : base\n2 : cron\n3 : nova-base\n4 : openstack-base\n"},
		{"list none", func(b *bytes.Buffer) error { return none.WriteList(b) }, ""},
		{"dependencies", func(b *bytes.Buffer) error { return selection.WriteDependencies(b) }, `{
  "base": [
    {
      "cron": []
    },
    {
      "openstack-base": [
        {
          "nova-base": []
        }
      ]
    }
  ]
}`},
		{"dependencies of two roots", func(b *bytes.Buffer) error {
			return g.Select(SelectOptions{Match: func(n string) bool { return n == "tools" || n == "zé" }}).WriteDependencies(b)
		}, "{\n  \"base\": [\n    \"tools\"\n  ],\n  \"z\\u00e9\": []\n}"},
		{"dependencies none", func(b *bytes.Buffer) error { return none.WriteDependencies(b) }, "Nothing matched!\n"},
		{"dot", func(b *bytes.Buffer) error { return selection.writeDot(b) },
			"// Container Images Dependency\ndigraph {\nrankdir=LR\tbase\n\tcron\n\tbase -> cron\n\t\"nova-base\"\n\t\"openstack-base\" -> \"nova-base\"\n\t\"openstack-base\"\n\tbase -> \"openstack-base\"\n}\n"},
		{"mermaid", func(b *bytes.Buffer) error { return selection.writeMermaid(b) },
			"flowchart LR\n  i0[\"base\"]\n  i1[\"cron\"]\n  i3[\"nova-base\"]\n  i5[\"openstack-base\"]\n  i0 --> i1\n  i5 --> i3\n  i0 --> i5\n"},
	} {
		var b bytes.Buffer
		if err := c.write(&b); err != nil || b.String() != c.want {
			t.Errorf("%s: %v\ngot\n%s\nwant\n%s", c.name, err, b.String(), c.want)
		}
	}
	var b bytes.Buffer
	if err := all.writeDot(&b); err != nil || !strings.Contains(b.String(), "\t\"subgraph\"\n\tcron -> \"subgraph\"\n") {
		t.Errorf("a keyword is not quoted: %v\n%s", err, b.String())
	}
}

// big makes n images: a root, a hundred bases, and the others under them.
func big(n int) []Image {
	lines := make([]string, 0, n)
	lines = append(lines, "base debian:1")
	for i := 1; i < n; i++ {
		parent := "base"
		if i > 100 {
			parent = fmt.Sprintf("image-%d", i%100+1+i/1000*100)
		}
		lines = append(lines, fmt.Sprintf("dir%d/image-%d %s", i%37, i, parent))
	}
	return tree(lines...)
}

func BenchmarkNewAndSelect10000(b *testing.B) {
	images := big(10000)
	r, err := CompileRegexes([]string{"image-99.*", "^base$", "7$"}, nil)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s := mustNew(b, images).Select(SelectOptions{Match: r.Match})
		if err := s.WriteDependencies(&bytes.Buffer{}); err != nil {
			b.Fatal(err)
		}
	}
}

// A chain as deep as the graph is large must neither overflow nor be quadratic.
func TestDeepChain(t *testing.T) {
	const n = 10000
	lines := []string{"i0 debian:1"}
	for i := 1; i < n; i++ {
		lines = append(lines, fmt.Sprintf("i%d i%d", i, i-1))
	}
	g := mustNew(t, tree(lines...))
	if got := len(g.Ancestors(fmt.Sprintf("i%d", n-1))); got != n-1 {
		t.Errorf("%d ancestors", got)
	}
	if got := g.Order()[n-1].Name; got != fmt.Sprintf("i%d", n-1) {
		t.Errorf("last of the order is %s", got)
	}
}

func TestSVG(t *testing.T) {
	g := mustNew(t, append(slices.Clone(small), tree("a&b base")...))
	for _, selection := range []*Selection{
		g.Select(SelectOptions{}),
		g.Select(SelectOptions{SkipParents: true}),
		g.Select(SelectOptions{Match: func(string) bool { return false }}),
	} {
		var b bytes.Buffer
		if err := selection.WriteDependencyGraph(&b, "x.SVG"); err != nil {
			t.Fatal(err)
		}
		var texts []string
		paths := 0
		for dec := xml.NewDecoder(&b); ; {
			tok, err := dec.Token()
			if err == io.EOF {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if start, ok := tok.(xml.StartElement); ok && start.Name.Local == "text" {
				var text string
				if err := dec.DecodeElement(&text, &start); err != nil {
					t.Fatal(err)
				}
				texts = append(texts, text)
			} else if ok && start.Name.Local == "path" {
				paths++
			}
		}
		want, edges := names(selection.With(Matched)), 0
		for _, im := range selection.With(Matched) {
			if p := g.Parent(im.Name); p != nil && selection.Status(p.Name) == Matched {
				edges++
			}
		}
		if got := strings.Join(texts, " "); got != want || paths != edges {
			t.Errorf("got %q with %d lines, want %q with %d", got, paths, want, edges)
		}
	}
	var b bytes.Buffer
	s := g.Select(SelectOptions{})
	if err := s.WriteDependencyGraph(&b, "x.mmd"); err != nil || !strings.HasPrefix(b.String(), "flowchart") {
		t.Error(err, b.String())
	}
	b.Reset()
	if err := s.WriteDependencyGraph(&b, "x.dot"); err != nil || !strings.HasPrefix(b.String(), "// ") {
		t.Error(err, b.String())
	}
}
