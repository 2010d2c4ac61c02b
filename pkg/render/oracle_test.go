package render

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/config"
)

// checkout returns a work tree of openstack/kolla, from KOLLA_CHECKOUT, and the
// tool that renders it with Kolla's own Python, from KOLLA_ORACLE or shared/
// beside the repository.
func checkout(t testing.TB) (tree, oracle string) {
	t.Helper()
	tree = os.Getenv("KOLLA_CHECKOUT")
	if tree == "" {
		t.Skip("KOLLA_CHECKOUT does not name a checkout of openstack/kolla to compare with")
	}
	oracle = os.Getenv("KOLLA_ORACLE")
	if oracle == "" {
		oracle = filepath.Join("..", "..", "..", "shared", "tools", "kolla-oracle")
	}
	if _, err := os.Stat(oracle); err != nil {
		t.Skip("there is no kolla-oracle: set KOLLA_ORACLE")
	}
	return tree, oracle
}

// files has the inputs of the comparisons; @ in arguments stands for its
// directory.
const oracleFiles = `
-- one.j2 --
{% extends parent_template %}
{% set base_packages_append = ['one', 'two'] %}
{% set nova_base_packages_remove = ['iproute2', 'nope'] %}
{% set keystone_base_packages_override = ['only'] %}
{% set openstack_base_pip_packages_append = base_packages_append %}
{% block header %}
# header of {{ image_name }} on {{ base_distro }}
{{ super() }}
{% endblock %}
{% block nova_api_footer %}
RUN echo {{ users['nova'].uid }} {{ env.get('HOME') is string }}
{% endblock %}
-- two.j2 --
{% extends parent_template %}
{% block footer %}
RUN last
{%- for p in ['a', 'b'] %} \
  && {{ p }} {{ loop.index }}
{%- endfor %}
{% endblock %}
-- repos-deb.yaml --
deb:
  grafana:
    url: "https://mirror/grafana"
    suite: "x-{openstack_release_codename}"
    component: "main"
    gpg_key: "/etc/key.asc"
    trusted: yes
    arch: amd64
debian:
  mariadb: {url: "https://mirror/mariadb", suite: "a", component: "", gpg_key: "k"}
-- repos-rpm.yaml --
rocky:
  crb:
    name: mycrb
    baseurl: |
      https://mirror/crb
      https://mirror/crb2
    gpgkey: |
      file:///one
      file:///two
    gpgcheck: 1
    repo_gpgcheck: no
    file_group: rocky
  appstream: {name: a, metalink: "https://mirror/m", gpgkey: "k", gpgcheck: yes}
  baseos: {name: b, mirrorlist: "https://mirror/l", gpgkey: "k", gpgcheck: 0}
  extras: {name: e, baseurl: "https://mirror/e", gpgkey: "k"}
  highavailability: {name: h, baseurl: "https://mirror/h", gpgkey: "k"}
rpm:
  grafana: {name: g, baseurl: "https://mirror/g", gpgkey: "k"}
-- kolla-build.conf --
[DEFAULT]
maintainer = somebody <a@b>
rpm_setup_config = https://x/y.rpm, https://x/y.repo, local.repo
[nova-user]
uid = 1234
gid = 1235
group = novas
[extra-user]
uid = 5000
gid = 5001
group = extra
-- apt.conf --
[DEFAULT]
apt_sources_list = @/sources
apt_preferences = @/prefs
clean_package_cache = false
distro_package_manager = aptitude
-- sources --
deb x
-- prefs --
pin
-- patches/nova-base/series --
# none
one.patch
-- patches/nova-base/one.patch --
patch
-- more/extra/extra-api/Dockerfile.j2 --
FROM {{ namespace }}/{{ image_prefix }}base:{{ tag }}
{% import "macros.j2" as macros with context %}
{% block extra_api_header %}{% endblock %}
{{ macros.configure_user(name='nova', shell='/bin/bash') }}
{% set extra_api_packages = ['x'] %}
{{ macros.install_packages(extra_api_packages | customizable("packages")) }}
-- more/base/curlrc --
mine
`

// Kolla's own tree renders byte for byte as its Python tool renders it.
func TestOracle(t *testing.T) {
	kolla, oracle := checkout(t)
	files := unpack(t, oracleFiles)
	conf := filepath.Join(files, "apt.conf")
	b, err := os.ReadFile(conf)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(conf, bytes.ReplaceAll(b, []byte("@"), []byte(files)), 0o644); err != nil {
		t.Fatal(err)
	}
	var cases []string
	for _, base := range []string{"debian", "ubuntu", "centos", "rocky"} {
		for _, arch := range []string{"x86_64", "aarch64"} {
			cases = append(cases, "-b "+base+" --base-arch "+arch)
			cases = append(cases, "-b "+base+" --base-arch "+arch+" --template-override @/one.j2 --template-override @/two.j2")
		}
	}
	cases = append(cases,
		"-b debian --repos-yaml @/repos-deb.yaml",
		"-b rocky --repos-yaml @/repos-rpm.yaml",
		"-b rocky --base-arch aarch64 --repos-yaml @/repos-rpm.yaml",
		"-b ubuntu --registry localhost:4000 -n some/where --image-name-prefix pre- --tag x1",
		"-b centos --config-file @/kolla-build.conf --nouse-dumb-init --nodocker-healthchecks",
		"-b debian --config-file @/apt.conf --config-file @/kolla-build.conf --patches-path @/patches",
		"-b rocky --openstack-release 2025.2 --openstack-release-codename Flamingo --base-image my/rocky",
		"-b ubuntu -D @/more --debian-arch arm64",
	)
	if testing.Short() {
		cases = cases[len(cases)-3:]
	}
	for _, args := range cases {
		t.Run(strings.ReplaceAll(args, "/", "_"), func(t *testing.T) {
			t.Parallel()
			args := append(strings.Fields(strings.ReplaceAll(args, "@", files)), "--enable-unbuildable")
			want := runOracle(t, oracle, kolla, args)
			got := renderKolla(t, kolla, args, versionOf(t, want))
			compareTrees(t, got, want)
		})
	}
}

func runOracle(t testing.TB, oracle, kolla string, args []string) string {
	t.Helper()
	out := t.TempDir()
	cmd := exec.Command(oracle, append([]string{kolla, out}, args...)...)
	cmd.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("kolla-oracle %v: %v\n%s", args, err, b)
	}
	return filepath.Join(out, "docker")
}

var versionLabel = regexp.MustCompile(`(?m)^LABEL kolla_version="(.*)"$`)

// versionOf finds the version that the Python tool rendered with: it is that of
// the checkout, which only the tool can tell.
func versionOf(t testing.TB, docker string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(docker, "base", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	m := versionLabel.FindSubmatch(b)
	if m == nil {
		t.Fatal("base has no label kolla_version")
	}
	return string(m[1])
}

// renderKolla does what the command line would.
func renderKolla(t testing.TB, kolla string, args []string, version string) string {
	t.Helper()
	c, err := config.Load(config.Input{Args: args, Dir: t.TempDir(), SystemFile: filepath.Join(t.TempDir(), "none"), HostArch: "x86_64"})
	if err != nil {
		t.Fatal(err)
	}
	tree, err := openDirs(t, append([]string{filepath.Join(kolla, "kolla", "docker")}, c.DockerDir...)...)
	if err != nil {
		t.Fatal(err)
	}
	env := map[string]string{}
	for _, kv := range os.Environ() {
		k, v, _ := strings.Cut(kv, "=")
		env[k] = v
	}
	o := Options{Tree: tree, Config: c, Env: env, Version: version}
	out, err := Render(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	written, err := WriteTree(t.TempDir(), o, out, nil)
	if err != nil {
		t.Fatal(err)
	}
	return written
}

// compareTrees compares names, modes and contents.
func compareTrees(t testing.TB, got, want string) {
	t.Helper()
	a, b := tree(t, got), tree(t, want)
	if len(b) < 500 {
		t.Fatalf("the Python tool wrote only %d files and directories", len(b))
	}
	shown := 0
	for p, w := range b {
		g, ok := a[p]
		if !ok {
			t.Errorf("%s is missing", p)
		} else if g != w && shown < 3 {
			shown++
			t.Errorf("%s differs at %s", p, difference(g, w))
		}
	}
	for p := range a {
		if _, ok := b[p]; !ok {
			t.Errorf("%s is too much", p)
		}
	}
}

func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if d.IsDir() {
			out[rel] = info.Mode().String()
			return nil
		}
		content, err := os.ReadFile(p)
		out[rel] = info.Mode().String() + "\n" + string(content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func difference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range w {
		if i >= len(g) {
			return "its end: missing " + w[i]
		}
		if g[i] != w[i] {
			return fmt.Sprintf("line %d\ngot  %s\nwant %s", i, g[i], w[i]) // the mode is line 0
		}
	}
	return "its end"
}
