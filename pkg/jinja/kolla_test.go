package jinja

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"sort"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/pkg/jinja/internal/value"
)

// kollaFuncs replace the functions of Kolla's renderer, as in oracle.py.
var kollaFuncs = map[string]any{
	"handle_repos": Func(func(c *Call) (any, error) {
		l, ok := c.Args[0].(*List)
		if !ok {
			return nil, errors.New("First argument should be a list of repositories")
		}
		image, _ := c.Lookup("image_name")
		names := make([]string, len(l.Items))
		for i, v := range l.Items {
			names[i] = fmt.Sprint(v)
		}
		return fmt.Sprintf("RUN repos %v %v %s", c.Args[1], image, strings.Join(names, " ")), nil
	}),
	"debian_package_install": Func(func(c *Call) (any, error) {
		clean := any(true)
		if len(c.Args) > 1 {
			clean = c.Args[1]
		} else if v, ok := c.Kwargs["clean_package_cache"]; ok {
			clean = v
		}
		var names []string
		for _, v := range c.Args[0].(*List).Items {
			names = append(names, fmt.Sprint(v))
		}
		return "install " + strings.Join(names, " ") + " clean=" + value.Repr(clean), nil
	}),
	"raise_error": Func(func(c *Call) (any, error) { return nil, fmt.Errorf("%v", c.Args[0]) }),
}

func kollaCustomizable(c *Call) (any, error) {
	if IsUndefined(c.Args[0]) {
		return c.Args[0], nil
	}
	image, _ := c.Lookup("image_name")
	prefix := strings.ReplaceAll(fmt.Sprint(image), "-", "_") + "_" + fmt.Sprint(c.Args[1]) + "_"
	if v, ok := c.Lookup(prefix + "override"); ok {
		return v, nil
	}
	l := c.Args[0].(*List)
	if v, ok := c.Lookup(prefix + "append"); ok {
		l.Items = append(l.Items, v.(*List).Items...)
	}
	if v, ok := c.Lookup(prefix + "remove"); ok {
		for _, gone := range v.(*List).Items {
			for i, item := range l.Items {
				if item == gone {
					l.Items = append(l.Items[:i:i], l.Items[i+1:]...)
					break
				}
			}
		}
	}
	return l, nil
}

func kollaConfig(loader Loader) Config {
	return Config{Loader: loader, Globals: kollaFuncs, Filters: map[string]Func{"customizable": kollaCustomizable}}
}

// kollaTree returns the template tree of a checkout of Kolla, from the environment.
func kollaTree(t testing.TB) string {
	t.Helper()
	tree := os.Getenv("KOLLA_TREE")
	if tree == "" {
		t.Skip("KOLLA_TREE is not set: no template tree of OpenStack Kolla to compare with")
	}
	return tree
}

func kollaNames(t testing.TB, tree string) []string {
	var names []string
	err := fs.WalkDir(os.DirFS(tree), ".", func(p string, d fs.DirEntry, err error) error {
		if err == nil && path.Base(p) == "Dockerfile.j2" {
			names = append(names, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	sort.Strings(names)
	return names
}

// kollaVars are the variables of Kolla's tool, of all branches.
func kollaVars(distro, arch, installType string) map[string]any {
	tag := map[string]string{"centos": "stream10", "rocky": "10", "debian": "trixie", "ubuntu": "noble"}[distro]
	packageType := "rpm"
	if distro == "debian" || distro == "ubuntu" {
		packageType = "deb"
	}
	users := map[string]any{}
	for i, name := range strings.Fields(kollaUsers) {
		users[name] = map[string]any{"uid": 42400 + i, "gid": 42400 + i, "group": name}
	}
	return map[string]any{
		"base_distro": distro, "base_image": distro, "base_distro_tag": tag, "base_arch": arch,
		"repos_yaml": "", "use_dumb_init": true, "base_package_type": packageType,
		"debian_arch": map[string]string{"x86_64": "amd64", "aarch64": "arm64"}[arch], "docker_healthchecks": true,
		"supported_distro_name": "Some Linux", "image_prefix": "", "namespace": "kolla",
		"openstack_release": "master", "openstack_release_codename": "Gazpacho", "openstack_branch": "master",
		"openstack_branch_slashed": "master", "tag": "22.0.0", "maintainer": "Kolla Project", "kolla_version": "22.0.0",
		"users": users, "distro_package_manager": "dnf", "rpm_setup": []string{"RUN echo one", "RUN echo two"},
		"clean_package_cache": true, "patches_path": "", "install_type": installType,
		"install_metatype": "mixed", "distro_python_version": "3.9", "image_name_prefix": "", "enable_unbuildable": false,
		"env": map[string]string{"http_proxy": "http://proxy:3128", "HOME": "/root"},
	}
}

const kollaUsers = `ansible aodh barbican bifrost blazar ceilometer ceph chrony cinder cloudkitty collectd congress cyborg designate ec2api
elasticsearch etcd fluentd freezer glance gnocchi grafana hacluster haproxy heat horizon influxdb ironic ironic-inspector
kafka karbor keystone kibana kolla kuryr letsencrypt libvirt logstash magnum manila masakari memcached mistral monasca mongodb murano
mysql neutron nova novajoin octavia odl opendaylight opensearch opensearch-dashboards openvswitch ovn panko placement
prometheus proxysql qdrouterd qemu qinling rabbitmq rally redis sahara searchlight senlin sensu skydive skyline solum stackalytics
storm swift tacker td-agent telegraf tempest trove valkey venus vitrage vmtp watcher zaqar zookeeper zun`

// kollaOverride is a user's override: blocks, and package lists with additions,
// removals and replacements.
const kollaOverride = `{% extends parent_template %}
{# an override of our own #}
{% set base_centos_packages_append = ['our-tool'] %}
{% set base_apt_packages_append = ['our-tool', 'other-tool'] %}
{% set base_apt_packages_remove = ['kmod', 'not-there'] %}
{% set keystone_base_packages_override = ['one', 'two'] %}
{% set nova_base_packages_append = [ 'x' ~ loop_not_there ] %}
{% set openstack_base_pip_packages_append = ['pip-thing'] %}
{% block base_header %}
RUN echo {{ image_name }} {{ base_distro }} {{ super() }}
{% endblock %}
{% block base_footer %}
RUN useradd {{ users | dictsort | length }}
{% endblock %}
{% block labels %}{{ super() }}LABEL ours="{{ tag }}"{% endblock %}
{% block keystone_base_footer %}
{%- for x in range(3) %}
RUN echo {{ loop.index }} {{ x }}
{%- endfor %}
{% endblock %}
`

// renderKolla renders the tree with this package.
func renderKolla(env *Environment, names []string, vars map[string]any, override string) map[string]answer {
	var over *Template
	texts := map[string]answer{}
	for _, name := range names {
		v := maps.Clone(vars)
		v["image_name"] = path.Base(path.Dir(name))
		t, err := env.Template(name)
		if err == nil && override != "" {
			if over == nil {
				over, err = New(kollaConfig(Map{"override.j2": override})).Template("override.j2")
			}
			v["parent_template"] = t
			t = over
		}
		text := ""
		if err == nil {
			text, err = t.Render(context.Background(), v)
		}
		if err != nil {
			var e *Error
			errors.As(err, &e)
			texts[name] = answer{Kind: string(e.Kind), Error: e.Error()}
			continue
		}
		texts[name] = answer{Text: text}
	}
	return texts
}

// TestKollaTree compares Kolla's own templates with the original, for each
// distribution, architecture and install type, with and without an override.
func TestKollaTree(t *testing.T) {
	compareTree(t, startOracle(t), kollaTree(t), []string{"x86_64", "aarch64"})
}

// TestKollaBranches does the same for older branches and tags of the git repository at
// KOLLA_GIT.
func TestKollaBranches(t *testing.T) {
	repo := os.Getenv("KOLLA_GIT")
	if repo == "" {
		t.Skip("KOLLA_GIT is not set: no git repository of OpenStack Kolla to take older trees from")
	}
	o := startOracle(t)
	refs := "stable/2026.1 stable/2025.2 stable/2025.1 2024.2-eol unmaintained/2024.1 yoga-eol wallaby-eol ussuri-eol"
	if s := os.Getenv("KOLLA_REFS"); s != "" {
		refs = s
	}
	for _, ref := range strings.Fields(refs) {
		t.Run(ref, func(t *testing.T) {
			dir := t.TempDir()
			cmd := exec.Command("sh", "-c",
				`git -C "$1" archive "$2" docker 2>/dev/null | tar -xC "$3" || git -C "$1" archive "$2" kolla/docker | tar -xC "$3"`, "sh",
				repo, ref, dir)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("unpacking %s: %v: %s", ref, err, out)
			}
			tree := path.Join(dir, "docker")
			if _, err := os.Stat(path.Join(tree, "macros.j2")); err != nil {
				tree = path.Join(dir, "kolla", "docker")
			}
			compareTree(t, o, tree, []string{"x86_64"})
		})
	}
}

func compareTree(t *testing.T, o *oracle, tree string, arches []string) {
	names := kollaNames(t, tree)
	if len(names) < 50 {
		t.Fatalf("only %d templates in %s", len(names), tree)
	}
	env := New(kollaConfig(FS(os.DirFS(tree))))
	rendered, differ, failed := 0, 0, map[string]int{}
	for _, distro := range []string{"centos", "rocky", "debian", "ubuntu"} {
		for _, arch := range arches {
			for _, installType := range []string{"source", "binary"} {
				for _, override := range []string{"", kollaOverride} {
					vars := kollaVars(distro, arch, installType)
					wired := map[string]any{}
					for k, v := range vars {
						wired[k] = wire(value.Convert(v))
					}
					want := o.ask(t, map[string]any{"tree": tree, "names": names, "vars": wired, "override": override}).Texts
					got := renderKolla(env, names, vars, override)
					for _, name := range names {
						w, g := want[name], got[name]
						rendered++
						if w.Kind != "" {
							failed[w.Error]++
						}
						if w.Kind == g.Kind && w.Text == g.Text {
							continue
						}
						t.Errorf("%s for %s %s %s (override: %v) differs:\nJinja2: %s %s\n%s\nours: %s %s\n%s",
							name, distro, arch, installType, override != "", w.Kind, w.Error, clip(w.Text), g.Kind, g.Error, clip(g.Text))
						if differ++; differ > 5 {
							t.FailNow()
						}
					}
				}
			}
		}
	}
	t.Logf("%d renders of %d templates are the same; errors, on both sides: %v", rendered, len(names), failed)
}

func clip(s string) string {
	if len(s) > 4000 {
		return s[:4000] + "…"
	}
	return s
}
