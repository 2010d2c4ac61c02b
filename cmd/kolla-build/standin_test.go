package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/standin"
)

// TestStandin runs `kolla-build -b ubuntu nova zun` and `kolla-build --profile
// containers --push` where Ubuntu's mirror, PyPI and the source archives are not
// reachable: on a base image that identifies as Ubuntu, with everything that our
// templates download served by this test. Templates, BuildKit, apt, dpkg, Python, pip,
// git and the registry are real, and only users' means direct them to the test:
// kolla-build.conf and --base-image.
func TestStandin(t *testing.T) {
	if testing.Short() {
		t.Skip("builds real images: minutes")
	}
	w := newStandinWorld(t)
	t.Run("ubuntu", w.testUbuntu)
	t.Run("rocky", w.testRocky)
	// Only the differences of the other rpm distributions.
	t.Run("centos", func(t *testing.T) { w.testRPM(t, "centos", "stream10", "^base$", "^memcached$") })
	t.Run("oraclelinux", func(t *testing.T) { w.testRPM(t, "oraclelinux", "10", "^base$", "^memcached$") })
}

func (w *standinWorld) testUbuntu(t *testing.T) {
	w.makeUbuntu(t)
	// The command line, with only the addresses of the stand-ins added.
	summary := filepath.Join(w.dir, "summary.json")
	line := append([]string{"-b", "ubuntu", "nova", "zun"}, w.options(summary)...)
	runBuild(t, line, exitOK)
	want := imagesOfTree(t, "nova", "zun")
	s := readSummary(t, summary)
	s.check(t, want, false)
	s.pushed(t, false)

	out := runBuild(t, append([]string{"--buildkitd", "/bin/false"}, without(line, "--buildkitd", w.buildkitd)...), exitOK)
	if !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second run does not say that there is nothing to do:\n%s", out)
	}
	s = readSummary(t, summary)
	s.check(t, want, true)

	// The other command line: a user's profile, pushed to the registry of
	// kolla-build.conf. Images that were built above are not built again.
	runBuild(t, append([]string{"--profile", "containers", "--push"}, w.options(summary)...), exitOK)
	containers := imagesOfTree(t, "zun", "magnum", "heat")
	s = readSummary(t, summary)
	s.check(t, containers, false)
	s.pushed(t, true)
	for _, im := range s.Built {
		if kept := slices.Contains(want, im.Name); im.Unchanged != kept {
			t.Errorf("%s: unchanged is %v, want %v", im.Name, im.Unchanged, kept)
		}
	}
	for _, image := range containers {
		w.checkConfig(t, w.pull(t, "kolla/"+image+":t"), image, "ubuntu")
	}

	// Pushing images that are built needs no builder.
	push := append([]string{"-b", "ubuntu", "nova", "--push"}, w.options(summary)...)
	runBuild(t, append([]string{"--buildkitd", "/bin/false"}, without(push, "--buildkitd", w.buildkitd)...), exitOK)
	s = readSummary(t, summary)
	s.pushed(t, true)
	w.checkNova(t)
	w.checkContainers(t)
	if missing := w.missing(); len(missing) > 0 {
		t.Errorf("the builds requested unexpected files: %q", missing)
	}
	w.checkFailures(t)
}

// testRPM does the same with dnf and rpm. Images that cannot be built there are
// skipped and reported.
func (w *standinWorld) testRPM(t *testing.T, distro, tag string, regexes ...string) {
	t.Helper()
	w.makeRPM(t, distro, tag, regexes)
	summary := filepath.Join(w.dir, distro+".json")
	runBuild(t, append(append(w.options(summary), "-b", distro, "--base-image", w.registry+"/standin/"+distro, "--push"),
		regexes...), exitOK)
	s := readSummary(t, summary)
	want := imagesOfTree(t, regexes...)
	for _, im := range s.Unbuildable {
		want = slices.DeleteFunc(want, func(name string) bool { return name == im.Name })
	}
	s.check(t, want, false)
	s.pushed(t, true)
	for _, image := range want {
		w.checkConfig(t, w.pull(t, "kolla/"+image+":t"), image, distro)
	}
}

func (w *standinWorld) testRocky(t *testing.T) {
	w.testRPM(t, "rocky", "10", "^memcached$", "^keystone", "nova", "zun", "magnum", "heat")
	const venv = "var/lib/kolla/venv/"
	keystone := w.pull(t, "kolla/keystone:t")
	inImage(t, keystone, venv+"bin/keystone-manage",
		venv+"lib/python3.13/site-packages/keystone-"+standin.ProjectVersion+".dist-info/METADATA",
		"etc/yum.repos.d/epel.repo", "etc/keystone/default_catalog.templates")
	if out := start(t, keystone, "keystone-manage --version"); !strings.Contains(out,
		"keystone-manage "+standin.ProjectVersion+" --version") {
		t.Errorf("keystone-manage printed %q", out)
	}
	if out := start(t, w.pull(t, "kolla/memcached:t"), "rpm -q memcached"); !strings.Contains(out,
		"memcached-"+standin.RPMVersion+".noarch\n") {
		t.Errorf("rpm printed %q", out)
	}
}

// checkNova checks nova's images and starts one.
func (w *standinWorld) checkNova(t *testing.T) {
	t.Helper()
	for _, image := range []string{"nova-api", "nova-compute", "nova-libvirt", "nova-scheduler"} {
		w.checkConfig(t, w.pull(t, "kolla/"+image+":t"), image, "ubuntu")
	}
	api := w.pull(t, "kolla/nova-api:t")
	const venv, constraints = "var/lib/kolla/venv/", "openstack-base-source/requirements-master/upper-constraints.txt"
	has := inImage(t, api,
		venv+"bin/nova-manage", venv+"bin/nova-rootwrap",
		venv+"lib/python3.13/site-packages/nova-"+standin.ProjectVersion+".dist-info/METADATA",
		// The version of the constraint or, without one, of the index.
		venv+"lib/python3.13/site-packages/oslo_config-"+standin.OldVersion+".dist-info/METADATA",
		venv+"lib/python3.13/site-packages/oslo_db-"+standin.NewVersion+".dist-info/METADATA",
		// Plugins: a default one, and one from a git repository.
		venv+"lib/python3.13/site-packages/blazar_nova-"+standin.ProjectVersion+".dist-info/METADATA",
		venv+"lib/python3.13/site-packages/nova_standin-3.2.1.dist-info/METADATA",
		"etc/nova/rootwrap.conf", "etc/nova/nova_api_audit_map.conf", "etc/sudoers.d/kolla_nova_sudoers",
		"usr/local/bin/kolla_start", "usr/local/bin/kolla_nova_extend_start",
		constraints, "var/lib/dpkg/status")
	if conf := has["etc/nova/rootwrap.conf"]; !strings.Contains(conf, "exec_dirs=/var/lib/kolla/venv/bin,") {
		t.Errorf("nova-api: rootwrap.conf is\n%s", conf)
	}
	if c := has[constraints]; strings.Contains(c, "ovs===") || !strings.Contains(c, "oslo.config===") {
		t.Errorf("upper-constraints.txt:\n%s", c)
	}
	if status := has["var/lib/dpkg/status"]; !strings.Contains(status,
		"Package: openvswitch-switch\nStatus: install ok installed\n") {
		t.Error("nova-api: dpkg does not know openvswitch-switch")
	}
	if out := start(t, api, "nova-manage --version"); !strings.Contains(out,
		"nova-manage "+standin.ProjectVersion+" --version") {
		t.Errorf("nova-manage printed %q", out)
	}
	if sshd := inImage(t, w.pull(t, "kolla/nova-ssh:t"), "etc/pam.d/sshd")["etc/pam.d/sshd"]; !strings.Contains(sshd,
		"session    optional     pam_loginuid.so") {
		t.Errorf("nova-ssh: /etc/pam.d/sshd is\n%s", sshd)
	}
}

// checkContainers checks content from the user's own sources, and starts a service that
// runs as a user.
func (w *standinWorld) checkContainers(t *testing.T) {
	t.Helper()
	if got := inImage(t, w.pull(t, "kolla/magnum-conductor:t"),
		"usr/local/bin/helm")["usr/local/bin/helm"]; got != "helm\n" {
		t.Errorf("magnum-conductor: helm is %q", got)
	}
	if got := inImage(t, w.pull(t, "kolla/zun-cni-daemon:t"), "opt/loopback")["opt/loopback"]; got != "loopback\n" {
		t.Errorf("zun-cni-daemon: loopback is %q", got)
	}
	if out := start(t, w.pull(t, "kolla/zun-wsproxy:t"), "zun-manage --version"); !strings.Contains(out,
		"zun-manage "+standin.ProjectVersion+" --version") {
		t.Errorf("zun-manage printed %q", out)
	}
}

// checkFailures checks the errors at a site with missing content: what is missing, and
// where it was requested. Images that do not need it are built.
func (w *standinWorld) checkFailures(t *testing.T) {
	t.Helper()
	addition := filepath.Join(w.dir, "append.j2")
	put(t, addition, []byte("{% extends parent_template %}\n{% set zun_base_packages_append = ['no-such-package'] %}\n"))
	for _, c := range []struct {
		about string
		args  []string
		want  []string
	}{
		{"a package that no repository has", []string{"--template-override", addition, "zun-base", "zun-api"},
			[]string{"E: Unable to locate package no-such-package", "zun/zun-base/Dockerfile.j2", "zun-api", "skipped because"}},
		{"missing source", []string{"--tarballs-base", w.server.URL() + "/files/tarballs", "zun-api"},
			[]string{"[openstack-base]",
				w.server.URL() + "/files/tarballs/openstack/requirements/requirements-master.tar.gz", "404",
				"--openstack-release"}},
		{"a checksum that does not fit", []string{"--config-file",
			w.other(t, "[magnum-conductor-plugin-helm]\nsha256 = amd64:"+strings.Repeat("a", 64)+",arm64:"+strings.Repeat("a",
				64)+"\n"), "magnum-conductor"},
			[]string{"[magnum-conductor-plugin-helm]", "sha256", strings.Repeat("a", 64)}},
		{"a base of another distribution", []string{"--base-image", "debian", "--base-tag", "trixie", "^base$"},
			[]string{"The base image is Debian GNU/Linux 13 (trixie), but --base is ubuntu", "base/Dockerfile.j2"}},
	} {
		t.Run(c.about, func(t *testing.T) {
			out := runBuild(t, append(w.options(filepath.Join(w.dir, "failed.json")), c.args...), exitFailed)
			for _, want := range c.want {
				if !strings.Contains(out, want) {
					t.Errorf("%q is not said", want)
				}
			}
		})
	}
}

// other writes a further configuration file.
func (w *standinWorld) other(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(w.dir, "other.conf")
	put(t, file, []byte(text))
	return file
}
