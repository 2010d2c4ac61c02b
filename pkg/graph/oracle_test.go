package graph_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// Images of Kolla's own tree are selected and listed as its Python tool does.
func TestOracle(t *testing.T) {
	kolla := os.Getenv("KOLLA_CHECKOUT")
	if kolla == "" {
		t.Skip("KOLLA_CHECKOUT does not name a checkout of openstack/kolla to compare with")
	}
	if err := exec.Command("/usr/bin/python3", "-c", "import oslo_config, jinja2, git, docker, pbr, yaml, requests, graphviz").Run(); err != nil {
		t.Skip("the modules that Kolla's Python tool needs are not installed; kolla-oracle installs them")
	}
	dir := t.TempDir()
	for i, args := range []string{
		"-b ubuntu ^nova-api$ glance",
		"-b debian",
		"-b centos --base-arch aarch64",
		"-b rocky nova",
		"-b debian --skip-parents neutron",
		"-b ubuntu -p main -p aux --image-name-prefix x-",
		"-b debian nothing-matches-this",
		"-b rocky -p default --enable-unbuildable",
		"-b debian -p infra",
		"-b centos ovsdpdk",
	} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			s := selectKolla(t, kolla, strings.Fields(args))
			var list, deps, dot bytes.Buffer
			for _, err := range []error{s.WriteList(&list), s.WriteDependencies(&deps), s.WriteDot(&dot)} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if got, want := sortedList(list.String()), sortedList(python(t, kolla, args+" --list-images")); got != want {
				t.Errorf("--list-images:\ngot  %s\nwant %s", got, want)
			}
			if i%2 == 1 {
				return // each run of the Python tool takes seconds
			}
			if got, want := sortedJSON(t, deps.String()), sortedJSON(t, python(t, kolla, args+" --list-dependencies")); got != want {
				t.Errorf("--list-dependencies:\ngot\n%s\nwant\n%s", got, want)
			}
			if i%4 == 2 {
				return
			}
			// The tool reads "$" in an argument as an option's name.
			file := filepath.Join(dir, strconv.Itoa(i))
			python(t, kolla, args+" --save-dependency "+file)
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if got, want := sortedDot(dot.String()), sortedDot(string(b)); got != want {
				t.Errorf("--save-dependency:\ngot\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func python(t *testing.T, kolla, args string) string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", append([]string{"tools/build.py", "-q"}, strings.Fields(args)...)...)
	cmd.Dir = kolla
	cmd.Env = append(os.Environ(), "PBR_VERSION=22.0.0", "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("build.py %s: %v", args, err)
	}
	return string(out)
}

func selectKolla(t *testing.T, kolla string, args []string) *graph.Selection {
	t.Helper()
	c, err := config.Load(config.Input{
		Args: args, Dir: t.TempDir(), SystemFile: filepath.Join(t.TempDir(), "none"), HostArch: "x86_64",
		Profiles: kollaProfiles(t, kolla),
	})
	if err != nil {
		t.Fatal(err)
	}
	layer, err := render.DirLayer(filepath.Join(kolla, "kolla", "docker"))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := render.OpenTree(render.TreeOptions{Layers: []render.Layer{layer}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	rendered, err := render.Render(context.Background(), render.Options{Tree: tree, Config: c})
	if err != nil {
		t.Fatal(err)
	}
	var images []graph.Image
	for _, d := range rendered {
		images = append(images, graph.Image{Name: d.Name, Reference: d.Reference, From: d.From, File: d.Template, Line: d.FromLine})
	}
	g, err := graph.New(images, render.BaseReference(c))
	if err != nil {
		t.Fatal(err)
	}
	patterns := c.Regex
	if len(patterns) == 0 {
		for _, p := range c.Profile {
			patterns = append(patterns, c.Profiles[p]...)
		}
	}
	r, err := graph.CompileRegexes(patterns, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := graph.SelectOptions{Match: r.Match, SkipParents: c.SkipParents, Unbuildable: map[string]bool{}}
	if !c.EnableUnbuildable {
		for _, n := range config.Unbuildable(c.Base, c.BaseArch, c.InstallType) {
			o.Unbuildable[n] = true
		}
	}
	return g.Select(o)
}

// kollaProfiles asks Kolla's own code for its profiles.
func kollaProfiles(t *testing.T, kolla string) map[string][]string {
	t.Helper()
	cmd := exec.Command("/usr/bin/python3", "-c", "import json\nfrom kolla.common import config\nprint(json.dumps({o.name: o.default for o in config._PROFILE_OPTS}))")
	cmd.Dir = kolla
	cmd.Env = append(os.Environ(), "PBR_VERSION=22.0.0", "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	profiles := map[string][]string{}
	if err := json.Unmarshal(out, &profiles); err != nil {
		t.Fatal(err)
	}
	return profiles
}

// The Python tool has images in the file system's order: what is compared is
// sorted first.

func sortedList(s string) string {
	var names []string
	for _, l := range strings.Split(strings.TrimSpace(s), "\n") {
		_, name, _ := strings.Cut(l, " : ")
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

func sortedJSON(t *testing.T, s string) string {
	t.Helper()
	if !strings.HasPrefix(s, "{") {
		return s
	}
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("%v:\n%s", err, s)
	}
	var sortAll func(any)
	sortAll = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for _, c := range v {
				sortAll(c)
			}
		case []any:
			for _, c := range v {
				sortAll(c)
			}
			sort.Slice(v, func(i, j int) bool { return marshal(v[i]) < marshal(v[j]) })
		}
	}
	sortAll(v)
	// The indentation is compared too: it is kept by counting lines.
	return marshal(v) + "\n" + strings.Repeat(".", strings.Count(s, "\n")) + "\n" + s[len(s)-3:]
}

func marshal(v any) string {
	b, err := json.MarshalIndent(v, "", " ")
	if err != nil {
		return err.Error()
	}
	return string(b)
}

func sortedDot(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "rankdir=LR\t", "rankdir=LR\n\t"), "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
