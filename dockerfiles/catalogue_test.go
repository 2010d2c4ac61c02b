package dockerfiles_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containerd/platforms"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/cli"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/facts"
	"github.com/kolla-build/kolla-build/pkg/graph"
	"github.com/kolla-build/kolla-build/pkg/render"
)

// target is a distribution, type and architecture that a test renders the tree for.
type target struct{ base, tag, arch, installType, override, release, repos string }

func (t target) String() string {
	s := strings.Join([]string{t.base, t.tag, t.arch, t.installType}, "-")
	if t.override != "" {
		s += "-" + strings.TrimSuffix(filepath.Base(t.override), ".j2")
	}
	if t.release != "" {
		s += "-" + t.release
	}
	return s
}

// targets returns all targets that the tree can be built for.
func targets() []target {
	var out []target
	master, _ := facts.LookupRelease(facts.Master)
	for _, d := range facts.Distros() {
		tags := []string{master.BaseTag(d.Name)}
		if d.Name == "debian" {
			tags = append(tags, "bookworm")
		}
		for _, tag := range tags {
			for _, arch := range []string{"x86_64", "aarch64"} {
				for _, installType := range []string{"binary", "source"} {
					out = append(out, target{base: d.Name, tag: tag, arch: arch, installType: installType})
				}
			}
		}
	}
	return out
}

// renderLayer renders all images of a tree of templates.
func renderLayer(t *testing.T, to target, layer render.Layer) (*config.Config, []render.Dockerfile) {
	t.Helper()
	dir := t.TempDir()
	args := []string{"--base", to.base, "--base-tag", to.tag, "--base-arch", to.arch, "--type", to.installType}
	if to.release != "" {
		args = append(args, "--openstack-release", to.release)
	}
	if to.override != "" {
		args = append(args, "--template-override", to.override)
	}
	if to.repos != "" {
		args = append(args, "--repos-yaml", to.repos)
	}
	cfg, err := cli.Load(cli.Input{Args: args, Dir: dir, SystemFile: filepath.Join(dir, "none"), HostArch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	repos, err := fs.ReadFile(dockerfiles.Tree(), "repos.yaml")
	if err != nil {
		t.Fatal(err)
	}
	tree, err := render.OpenTree(render.TreeOptions{Layers: []render.Layer{layer}, Repos: repos, ReposName: "repos.yaml"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	files, err := render.Render(context.Background(), render.Options{Tree: tree, Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	return cfg, files
}

// renderTree renders all images for t that are not marked as unbuildable,
// parents first.
func renderTree(t *testing.T, to target) (*config.Config, []render.Dockerfile) {
	t.Helper()
	cfg, files := renderLayer(t, to, render.Layer{Name: "the built-in templates", FS: dockerfiles.Tree()})
	byName := map[string]render.Dockerfile{}
	var images []graph.Image
	for _, f := range files {
		byName[f.Name] = f
		im := graph.Image{Name: f.Name, Reference: f.Reference, File: f.Template, From: f.From}
		for _, n := range f.Needs {
			im.Needs = append(im.Needs, graph.Need{Reference: n.Reference, Place: graph.Place{Line: n.Line}})
		}
		images = append(images, im)
	}
	g, err := graph.New(images)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if err := g.Missing(f.Name); err != nil {
			t.Fatal(err)
		}
	}
	var out []render.Dockerfile
	for _, im := range g.Select(graph.SelectOptions{Unbuildable: facts.Unbuildable(cfg.Target())}).Order() {
		out = append(out, byName[im.Name])
	}
	return cfg, out
}

// Every image renders for every target unless it is marked as unbuildable, and
// BuildKit's frontend accepts the result.
func TestEveryImageConvertsToLLB(t *testing.T) {
	all := targets()
	if testing.Short() {
		all = []target{{base: "debian", tag: "trixie", arch: "x86_64", installType: "binary"},
			{base: "rocky", tag: "10", arch: "x86_64", installType: "source"}}
	}
	all = append(all, target{base: "debian", tag: "trixie", arch: "x86_64", installType: "source",
		override: withoutPyPI(t)})
	for _, to := range all {
		t.Run(to.String(), func(t *testing.T) {
			t.Parallel()
			cfg, files := renderTree(t, to)
			convert(t, cfg, to, files)
		})
	}
}

// The same holds for the releases before master, each with the base images of its
// distributions. Only base and openstack-base name the release, so that their descendants
// are converted where they differ from master's.
func TestEveryReleaseConvertsToLLB(t *testing.T) {
	testenv.Slow(t)
	releases := []string{"2026.1", "2025.2", "2025.1", "2024.2", "2024.1"}
	if testing.Short() {
		releases = []string{"2025.1"}
	}
	type key struct{ arch, name, content string }
	converted := map[key]bool{}
	for i, release := range releases {
		data, ok := facts.LookupRelease(release)
		if !ok {
			t.Fatalf("no data of release %s", release)
		}
		for j, d := range facts.Distros() {
			// Each distribution with both types and both architectures, in turn.
			for _, to := range []target{{arch: "x86_64", installType: "binary"}, {arch: "aarch64", installType: "source"}} {
				if (i+j)%2 == 1 {
					to.arch = map[string]string{"x86_64": "aarch64", "aarch64": "x86_64"}[to.arch]
				}
				to.base, to.tag, to.release = d.Name, data.BaseTag(d.Name), release
				t.Run(to.String(), func(t *testing.T) {
					cfg, files := renderTree(t, to)
					if len(files) < 100 {
						t.Errorf("%d images", len(files))
					}
					convert(t, cfg, to, slices.DeleteFunc(files, func(f render.Dockerfile) bool {
						content := string(f.Content)
						if _, tag, ok := strings.Cut(f.Reference, ":"); ok {
							content = strings.ReplaceAll(content, ":"+tag, ":any")
						}
						k := key{to.arch, f.Name, content}
						seen := converted[k]
						converted[k] = true
						return seen
					}))
				})
			}
		}
	}
}

// A deployment of a release keeps the versions of databases that its kolla-ansible knows.
func TestVersionsOfReleases(t *testing.T) {
	for release, want := range map[string][2]string{
		"2025.1": {"mariadb-server/10.11/", "opensearch/2.x/"}, "2025.2": {"mariadb-server/11.4/", "opensearch/3.x/"},
	} {
		for _, base := range []string{"ubuntu", "rocky"} {
			data, _ := facts.LookupRelease(release)
			_, files := renderTree(t, target{base: base, tag: data.BaseTag(base), arch: "x86_64",
				installType: "source", release: release})
			for i, name := range []string{"mariadb-base", "opensearch"} {
				j := slices.IndexFunc(files, func(f render.Dockerfile) bool { return f.Name == name })
				if j < 0 || !strings.Contains(string(files[j].Content), want[i]) {
					t.Errorf("%s of %s on %s has no repository %s", name, release, base, want[i])
				}
			}
		}
	}
}

// withoutPyPI returns the path of the override that README.md describes.
func withoutPyPI(t *testing.T) string {
	t.Helper()
	name, err := filepath.Abs("../examples/without-pypi.j2")
	if err != nil {
		t.Fatal(err)
	}
	return name
}

func convert(t *testing.T, cfg *config.Config, to target, files []render.Dockerfile) {
	platform := platforms.MustParse(map[string]string{"x86_64": "linux/amd64", "aarch64": "linux/arm64"}[to.arch])
	conv := buildkit.NewConverter(buildkit.ConvertOptions{Platform: platform, ForKeys: true,
		External: func(context.Context, string) (buildkit.External, error) {
			return buildkit.External{Digest: digest.FromString("base"),
				Config: fmt.Appendf(nil, `{"os":"linux","architecture":%q,"config":{"Env":["PATH=/usr/bin"]}}`,
					platform.Architecture)}, nil
		}})
	for _, f := range files {
		d := buildkit.Dockerfile{Name: f.Name, Reference: f.Reference, Path: f.Template, Content: f.Content}
		for _, c := range f.Context {
			cf := buildkit.ContextFile{Path: c.Path, Mode: c.Mode}
			if !c.IsDir() {
				var err error
				if cf.Data, err = c.Read(); err != nil {
					t.Fatal(err)
				}
			}
			d.Context = append(d.Context, cf)
		}
		for _, archive := range []string{f.Name + "-archive", "plugins-archive", "additions-archive"} {
			if !bytes.Contains(f.Content, []byte(archive)) {
				continue
			}
			if _, ok := cfg.Sources[f.Name]; !ok && archive == f.Name+"-archive" {
				t.Errorf("%s: sources.conf has no [%s]", f.Template, f.Name)
			}
			d.Context = append(d.Context, buildkit.ContextFile{Path: archive, Mode: 0o644})
		}
		if _, err := conv.Convert(context.Background(), d); err != nil {
			t.Errorf("%s: %v\n%s", f.Template, err, f.Content)
		}
	}
}

// Shows the images of the catalogue that the tree does not have yet.
func TestCatalogue(t *testing.T) {
	data, err := os.ReadFile("testdata/required.txt")
	if err != nil {
		t.Fatal(err)
	}
	required := strings.Fields(string(data))
	if len(required) != 294 || !slices.IsSorted(required) {
		t.Fatalf("testdata/required.txt has %d names, sorted: %v", len(required), slices.IsSorted(required))
	}
	var have []string
	for _, im := range imageNames(t) {
		have = append(have, im)
		if !slices.Contains(required, im) {
			t.Errorf("%s is not in testdata/required.txt", im)
		}
	}
	missing := slices.DeleteFunc(slices.Clone(required), func(name string) bool { return slices.Contains(have, name) })
	t.Logf("%d of %d images; %d are missing: %s", len(have), len(required), len(missing), strings.Join(missing, " "))
}

// Images of RabbitMQ never have the cookie of the package, whatever an override installs, and an
// empty list of packages leaves out the step.
func TestRabbitMQWithoutCookie(t *testing.T) {
	for name, text := range map[string]string{
		"packages": "{% set rabbitmq_packages_override = [] %}{% set rabbitmq_4_1_packages_override = [] %}",
		"block":    "{% block rabbitmq_install %}RUN apt-get install mine{% endblock %}",
	} {
		override := filepath.Join(t.TempDir(), "override.j2")
		if err := os.WriteFile(override, []byte("{% extends parent_template %}"+text), 0o644); err != nil {
			t.Fatal(err)
		}
		_, files := renderTree(t, target{base: "debian", tag: "bookworm", arch: "x86_64",
			installType: "binary", override: override})
		seen := 0
		for _, f := range files {
			if f.Name != "rabbitmq" && f.Name != "rabbitmq-4-1" {
				continue
			}
			seen++
			got := strings.Join(strings.Fields(strings.ReplaceAll(string(f.Content), "\\\n", "")), " ")
			if !strings.Contains(got, "RUN rm -rf /var/lib/rabbitmq/* /var/lib/rabbitmq/.erlang.cookie && mkdir") {
				t.Errorf("%s: %s keeps the cookie:\n%s", name, f.Name, got)
			}
			if strings.Count(got, ".erlang.cookie") != 1 || strings.Contains(got, "mine") != (name == "block") {
				t.Errorf("%s: %s has the step of the template:\n%s", name, f.Name, got)
			}
		}
		if seen == 0 {
			t.Error("there is no image of RabbitMQ")
		}
	}
}

// Users' overrides rely on names of blocks and variables, and on their order.
// This renders all images with an override that sets all of them.
func TestOverridesReachEveryImage(t *testing.T) {
	testenv.Slow(t)
	block := func(image string) string { return strings.ReplaceAll(image, "-", "_") }
	var b strings.Builder
	b.WriteString("{% extends parent_template %}\n{% block labels %}\nLABEL test=labels\n{% endblock %}\n{% block footer " +
		"%}\nLABEL test=footer\n{% endblock %}\n")
	for _, image := range imageNames(t) {
		fmt.Fprintf(&b, "{%% set %s_packages_append = ['added-to-%s', 'removed'] %%}\n{%% set %[1]s_packages_remove = "+
			"['removed'] %%}\n", block(image), image)
		fmt.Fprintf(&b, "{%% set %s_pip_packages_append = ['pip-for-%s'] %%}\n", block(image), image)
		for _, part := range []string{"header", "footer"} {
			fmt.Fprintf(&b, "{%% block %s_%s %%}\nLABEL test=%s_%s\n{%% endblock %%}\n", block(image), part, image, part)
		}
	}
	override := filepath.Join(t.TempDir(), "override.j2")
	if err := os.WriteFile(override, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, to := range []target{
		{"debian", "bookworm", "x86_64", "binary", override, "", ""}, {"debian", "trixie", "x86_64", "source", override, "",
			""}, {"rocky", "10", "x86_64", "source", override, "", ""},
		{"ubuntu", "22.04", "x86_64", "source", override, "2024.1", ""}, // has images that master does not have
	} {
		_, files := renderTree(t, to)
		for _, f := range files {
			want := []string{"labels", f.Name + "_header", f.Name + "_footer"}
			if f.Name != "base" && !strings.HasSuffix(f.Name, "-base") {
				want = append(want, "footer")
			}
			var got []string
			for line := range strings.Lines(string(f.Content)) {
				if value, ok := strings.CutPrefix(strings.TrimSpace(line), "LABEL test="); ok {
					got = append(got, value)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s for %v shows the blocks %v, not %v", f.Template, to, got, want)
			}
			// base has lists by distribution.
			if f.Name != "base" && !bytes.Contains(f.Content, []byte("added-to-"+f.Name)) {
				t.Errorf("%s for %v does not read %s_packages_append", f.Template, to, block(f.Name))
			}
			if bytes.Contains(f.Content, []byte(" removed")) {
				t.Errorf("%s for %v does not read %s_packages_remove", f.Template, to, block(f.Name))
			}
			if bytes.Contains(f.Content, []byte("kolla_wheels build")) && !bytes.Contains(f.Content, []byte("pip-for-"+f.Name)) {
				t.Errorf("%s for %v does not read %s_pip_packages_append", f.Template, to, block(f.Name))
			}
		}
	}
}
