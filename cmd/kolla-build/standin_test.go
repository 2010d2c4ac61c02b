package main

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/kolla-build/kolla-build/dockerfiles"
	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
)

// TestStandin types what this project is for, `kolla-build -b ubuntu nova zun`
// and `kolla-build --profile containers --push`, where Ubuntu's mirror, PyPI
// and the source archives are not to be had: on a base that says it is Ubuntu,
// with everything that our templates fetch served by this test. Templates,
// BuildKit, apt, dpkg, Python, pip, git and the registry are the real ones, and
// only the user's own means point them here: kolla-build.conf and --base-image.
func TestStandin(t *testing.T) {
	if testing.Short() {
		t.Skip("builds real images: minutes")
	}
	w := newUbuntuWorld(t)

	// The line, and nothing but what says where the stand-ins are.
	summary := filepath.Join(w.dir, "summary.json")
	line := append([]string{"-b", "ubuntu", "nova", "zun"}, w.options(summary)...)
	runBuild(t, line, exitOK)
	want := imagesOfTree(t, "nova", "zun")
	s := readSummary(t, summary)
	s.check(t, want, false)
	s.pushed(t, false)

	out := runBuild(t, append([]string{"--buildkitd", "/nonexistent"}, without(line, "--buildkitd", w.buildkitd)...), exitOK)
	if !strings.Contains(out, "Nothing to do") {
		t.Errorf("a second run does not say that there is nothing to do:\n%s", out)
	}
	s = readSummary(t, summary)
	s.check(t, want, true)

	// The other line: a profile of the user's own, pushed to the registry that
	// kolla-build.conf names. What is common with the images above is not built
	// again.
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
		w.checkConfig(t, w.pull(t, "kolla/"+image+":t"), image)
	}

	// Pushing what was built before needs no builder.
	push := append([]string{"-b", "ubuntu", "nova", "--push"}, w.options(summary)...)
	runBuild(t, append([]string{"--buildkitd", "/nonexistent"}, without(push, "--buildkitd", w.buildkitd)...), exitOK)
	s = readSummary(t, summary)
	s.pushed(t, true)
	w.checkNova(t)
	w.checkContainers(t)
	if missing := w.missing(); len(missing) > 0 {
		t.Errorf("the builds asked for what nobody expected: %q", missing)
	}
	w.checkFailures(t)
}

// ubuntuWorld is what the line meets: a base image, a server, a registry.
type ubuntuWorld struct {
	dir, data string
	buildkitd string
	conf      string
	registry  string
	server    *standin.Server
}

func newUbuntuWorld(t *testing.T) *ubuntuWorld {
	t.Helper()
	w := &ubuntuWorld{dir: t.TempDir(), buildkitd: testenv.Buildkitd(t)}
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	// Bootstrapping takes longest: whoever works on this test keeps its result.
	if w.data = os.Getenv("KOLLA_TEST_STANDIN_DATA"); w.data == "" {
		w.data = filepath.Join(w.dir, "data")
	}
	reg, err := registry.Start(registry.ServeOptions{Addr: "127.0.0.1:0", Dir: filepath.Join(w.dir, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	w.registry = reg.Addr().String()

	helm, cni := standin.TarGz("", map[string]string{"linux-amd64/helm": "helm\n", "linux-arm64/helm": "helm\n"}),
		standin.TarGz("./", map[string]string{"loopback": "loopback\n", "bridge": "bridge\n"})
	requirements := standin.Project{Name: "requirements", Version: "master", Files: map[string]string{
		// Only one of them is what the index would give anyway.
		"upper-constraints.txt": "oslo.config===" + standin.OldVersion + "\novs===9.9.9\nPyYAML===" + standin.OldVersion + "\noslo.log===" + standin.NewVersion + "\n",
	}}
	magnum := standin.AnyProject("magnum")
	magnum.Files["etc/magnum/keystone_auth_default_policy.sample"] = "{}\n"
	if w.server, err = standin.Start(standin.Content{
		Suite:    "noble",
		Projects: []standin.Project{requirements, magnum},
		Wheels: []standin.Wheel{{Name: "pycadf", Data: map[string]string{
			"etc/pycadf/nova_api_audit_map.conf": "[DEFAULT]\n", "etc/pycadf/heat_api_audit_map.conf": "[DEFAULT]\n"}}},
		Files: map[string][]byte{"helm.tar.gz": helm, "cni.tgz": cni},
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })

	repos := filepath.Join(w.dir, "repos.yaml")
	put(t, repos, []byte("ubuntu:\n  ubuntu-cloud-archive:\n    distro: true\n"))
	w.conf = filepath.Join(w.dir, "kolla-build.conf")
	put(t, w.conf, fmt.Appendf(nil, `# What a site without internet has in its kolla-build.conf.
[DEFAULT]
base = ubuntu
base_image = %[3]s/standin/ubuntu
tarballs_base = %[1]s/tarballs
repos_yaml = %[2]s
registry = %[3]s
build_args = zun_cni_daemon_url:%[1]s/files/cni.tgz

[profiles]
containers = zun,magnum,heat

[magnum-conductor-plugin-helm]
location = %[1]s/files/helm.tar.gz
sha256 = amd64:%[4]x,arm64:%[4]x

[nova-base-plugin-standin]
type = git
location = file://%[5]s
reference = main
`, w.server.URL(), repos, w.registry, sha256.Sum256(helm), gitProject(t, filepath.Join(w.dir, "plugin"))))

	w.makeBase(t)
	w.addDebs(t)
	return w
}

// makeBase builds and pushes standin/ubuntu:24.04 with kolla-build itself:
// Debian with the programs that the templates' steps run, from Debian's own
// mirror, and then nothing but this test to install from.
func (w *ubuntuWorld) makeBase(t *testing.T) {
	t.Helper()
	runBuild(t, []string{"bootstrap", "debian:trixie", "--data-dir", w.data}, exitOK)
	tree := filepath.Join(w.dir, "tree")
	label := "LABEL name=\"{{ image_name }}\"\n"
	put(t, filepath.Join(tree, "tools/Dockerfile.j2"), []byte("FROM {{ base_image }}:{{ base_distro_tag }}\n"+label+
		"RUN apt-get update && apt-get install -y --no-install-recommends adduser ca-certificates curl dumb-init git iproute2 netbase patch "+
		"procps python3-pip python3-venv python3-yaml sudo && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb\n"))
	put(t, filepath.Join(tree, "ubuntu/Dockerfile.j2"), []byte("FROM {{ namespace }}/tools:{{ tag }}\n"+label+
		"RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/os-release\n"+
		"COPY os-release /usr/lib/os-release\nRUN ln -s ../usr/lib/os-release /etc/os-release\n"+
		"COPY standin.sources /etc/apt/sources.list.d/\nCOPY pip.conf /etc/\n"))
	put(t, filepath.Join(tree, "ubuntu/os-release"), []byte("PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n"))
	put(t, filepath.Join(tree, "ubuntu/standin.sources"), []byte(w.server.AptSource()))
	put(t, filepath.Join(tree, "ubuntu/pip.conf"), []byte(w.server.PipConf()))
	runBuild(t, []string{"-b", "debian", "--base-tag", "trixie", "--images-dir", tree, "-n", "standin", "--tag", "24.04", "--push", "--registry", w.registry,
		"--data-dir", w.data, "--buildkitd", w.buildkitd, "--logs-dir", filepath.Join(w.dir, "base-logs"), "--progress", "plain"}, exitOK)
}

// addDebs puts a package into the repository for each name that a rendered
// Dockerfile of the tree wants to install and the base does not have.
func (w *ubuntuWorld) addDebs(t *testing.T) {
	t.Helper()
	out := filepath.Join(w.dir, "rendered")
	runBuild(t, []string{"--template-only", "--work-dir", out, "--config-file", w.conf}, exitOK)
	// What later steps of the templates edit.
	edited := map[string]map[string]string{
		"openssh-server": {"etc/pam.d/sshd": "session    required     pam_loginuid.so\n"},
	}
	status := inImage(t, w.pull(t, "standin/ubuntu:24.04"), "var/lib/dpkg/status")["var/lib/dpkg/status"]
	debs := map[string]standin.Deb{}
	err := filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "Dockerfile" {
			return err
		}
		text, err := os.ReadFile(p)
		for _, pkg := range standin.InstalledBy(string(text), "kolla_apt_install") {
			if !strings.HasPrefix(status, "Package: "+pkg+"\n") && !strings.Contains(status, "\nPackage: "+pkg+"\n") {
				debs[pkg] = standin.Deb{Name: pkg, Files: edited[pkg]}
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(debs) < 50 {
		t.Fatalf("only %d packages found in the rendered Dockerfiles", len(debs))
	}
	w.server.AddDebs(slices.Collect(maps.Values(debs))...)
}

func (w *ubuntuWorld) options(summary string) []string {
	return []string{"--config-file", w.conf, "--data-dir", w.data, "--buildkitd", w.buildkitd, "--tag", "t",
		"--logs-dir", filepath.Join(w.dir, "logs"), "--summary-json-file", summary, "--progress", "plain"}
}

func (w *ubuntuWorld) pull(t *testing.T, image string) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(fmt.Sprintf("%s/%s", w.registry, image), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	img, err := remote.Image(ref)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// missing lists what was asked for in vain, but for what apt tries first where
// a repository has no signature.
func (w *ubuntuWorld) missing() []string {
	return slices.DeleteFunc(w.server.Missing(), func(p string) bool {
		return strings.HasSuffix(p, "/InRelease") || strings.HasSuffix(p, "/Release.gpg")
	})
}

func (w *ubuntuWorld) checkConfig(t *testing.T, img v1.Image, image string) {
	t.Helper()
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := conf.Config
	if c.Labels["name"] != image || c.Labels["org.opencontainers.image.title"] != image {
		t.Errorf("%s: labels %v", image, c.Labels)
	}
	if e, cmd := strings.Join(c.Entrypoint, " "), strings.Join(c.Cmd, " "); e != "dumb-init --single-child --" || cmd != "kolla_start" {
		t.Errorf("%s: entry point %q, command %q", image, e, cmd)
	}
	for _, v := range []string{"KOLLA_BASE_DISTRO=ubuntu", "KOLLA_INSTALL_TYPE=source", "LANG=C.UTF-8"} {
		if !slices.Contains(c.Env, v) {
			t.Errorf("%s: %s is not in its environment %q", image, v, c.Env)
		}
	}
	venv := slices.ContainsFunc(c.Env, func(v string) bool { return strings.HasPrefix(v, "PATH=/var/lib/kolla/venv/bin:") })
	if ofBase := image == "base" || image == "nova-libvirt"; venv == ofBase {
		t.Errorf("%s: environment %q", image, c.Env)
	}
	users := map[string]string{"nova-compute": "nova", "nova-scheduler": "nova", "zun-compute": "zun", "zun-wsproxy": "zun",
		"heat-engine": "heat", "magnum-api": "magnum", "magnum-conductor": "magnum", "nova-api": "", "zun-api": "", "base": ""}
	if user, ok := users[image]; ok && c.User != user {
		t.Errorf("%s: user %q, want %q", image, c.User, user)
	}
}

// checkNova looks into nova's images and starts one.
func (w *ubuntuWorld) checkNova(t *testing.T) {
	t.Helper()
	for _, image := range []string{"nova-api", "nova-compute", "nova-libvirt", "nova-scheduler"} {
		w.checkConfig(t, w.pull(t, "kolla/"+image+":t"), image)
	}
	api := w.pull(t, "kolla/nova-api:t")
	const venv = "var/lib/kolla/venv/"
	has := inImage(t, api,
		venv + "bin/nova-manage", venv + "bin/nova-rootwrap",
		venv + "lib/python3.13/site-packages/nova-" + standin.ProjectVersion + ".dist-info/METADATA",
		// The constraint's version, and the index's where there is none.
		venv + "lib/python3.13/site-packages/oslo_config-" + standin.OldVersion + ".dist-info/METADATA",
		venv + "lib/python3.13/site-packages/oslo_db-" + standin.NewVersion + ".dist-info/METADATA",
		// Plugins: one that every installation has, and one from a git repository.
		venv + "lib/python3.13/site-packages/blazar_nova-" + standin.ProjectVersion + ".dist-info/METADATA",
		venv + "lib/python3.13/site-packages/nova_standin-3.2.1.dist-info/METADATA",
		"etc/nova/rootwrap.conf", "etc/nova/nova_api_audit_map.conf", "etc/sudoers.d/kolla_nova_sudoers",
		"usr/local/bin/kolla_start", "usr/local/bin/kolla_nova_extend_start",
		"requirements/upper-constraints.txt", "var/lib/dpkg/status")
	if conf := has["etc/nova/rootwrap.conf"]; !strings.Contains(conf, "exec_dirs=/var/lib/kolla/venv/bin,") {
		t.Errorf("nova-api: rootwrap.conf is\n%s", conf)
	}
	if c := has["requirements/upper-constraints.txt"]; strings.Contains(c, "ovs===") || !strings.Contains(c, "oslo.config===") {
		t.Errorf("upper-constraints.txt:\n%s", c)
	}
	if status := has["var/lib/dpkg/status"]; !strings.Contains(status, "Package: openvswitch-switch\nStatus: install ok installed\n") {
		t.Error("nova-api: dpkg does not know openvswitch-switch")
	}
	if out := start(t, api, "nova-manage --version"); !strings.Contains(out, "nova-manage "+standin.ProjectVersion+" --version") {
		t.Errorf("nova-manage printed %q", out)
	}
	if sshd := inImage(t, w.pull(t, "kolla/nova-ssh:t"), "etc/pam.d/sshd")["etc/pam.d/sshd"]; !strings.Contains(sshd, "session    optional     pam_loginuid.so") {
		t.Errorf("nova-ssh: /etc/pam.d/sshd is\n%s", sshd)
	}
}

// checkContainers looks at what came from places of the user's own, and starts
// a service that runs as a user.
func (w *ubuntuWorld) checkContainers(t *testing.T) {
	t.Helper()
	if got := inImage(t, w.pull(t, "kolla/magnum-conductor:t"), "usr/local/bin/helm")["usr/local/bin/helm"]; got != "helm\n" {
		t.Errorf("magnum-conductor: helm is %q", got)
	}
	if got := inImage(t, w.pull(t, "kolla/zun-cni-daemon:t"), "opt/loopback")["opt/loopback"]; got != "loopback\n" {
		t.Errorf("zun-cni-daemon: loopback is %q", got)
	}
	if out := start(t, w.pull(t, "kolla/zun-wsproxy:t"), "zun-manage --version"); !strings.Contains(out, "zun-manage "+standin.ProjectVersion+" --version") {
		t.Errorf("zun-manage printed %q", out)
	}
}

// checkFailures holds what a user is told where a site lacks something: what it
// is, and where it was asked for. Images that need nothing of it are built.
func (w *ubuntuWorld) checkFailures(t *testing.T) {
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
		{"a source that is not there", []string{"--tarballs-base", w.server.URL() + "/files/tarballs", "zun-api"},
			[]string{"[openstack-base]", w.server.URL() + "/files/tarballs/openstack/requirements/requirements-master.tar.gz", "404", "--openstack-release"}},
		{"a checksum that does not fit", []string{"--config-file", w.other(t, "[magnum-conductor-plugin-helm]\nsha256 = amd64:"+strings.Repeat("a", 64)+",arm64:"+strings.Repeat("a", 64)+"\n"), "magnum-conductor"},
			[]string{"[magnum-conductor-plugin-helm]", "sha256", strings.Repeat("a", 64)}},
		{"a base of another distribution", []string{"--base-image", "debian", "--base-tag", "trixie", "base"},
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
func (w *ubuntuWorld) other(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(w.dir, "other.conf")
	put(t, file, []byte(text))
	return file
}

// gitProject makes a git repository with a Python project in it.
func gitProject(t *testing.T, dir string) string {
	t.Helper()
	git := testenv.Program(t, "git", "git")
	for name, text := range (standin.Project{Name: "nova-standin", Version: "3.2.1", Requires: []string{"nova"}}).Tree() {
		put(t, filepath.Join(dir, name), []byte(text))
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."}, {"-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "one"}} {
		cmd := exec.Command(git, append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// imagesOfTree lists the images of our tree that one of the regexes matches,
// with base and openstack-base, which all of them stand on.
func imagesOfTree(t *testing.T, regexes ...string) []string {
	t.Helper()
	out := []string{"base", "openstack-base"}
	re := regexp.MustCompile(strings.Join(regexes, "|"))
	err := fs.WalkDir(dockerfiles.Tree(), ".", func(p string, d fs.DirEntry, err error) error {
		if image := path.Base(path.Dir(p)); err == nil && d.Name() == "Dockerfile.j2" && re.MatchString(image) {
			out = append(out, image)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

// summaryJSON is what the test needs of a run's JSON summary.
type summaryJSON struct {
	Built []struct {
		Name, Status, Reference, Digest string
		Unchanged, Pushed               bool
	}
	Failed, Skipped, Unbuildable []struct{ Name, Reason string }
}

func readSummary(t *testing.T, path string) summaryJSON {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var s summaryJSON
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	return s
}

// check fails unless the run's images are want, and all are fine. unchanged
// says that none was built.
func (s summaryJSON) check(t *testing.T, want []string, unchanged bool) {
	t.Helper()
	var got []string
	for _, im := range s.Built {
		got = append(got, im.Name)
		if im.Status != "built" || im.Digest == "" || unchanged && !im.Unchanged {
			t.Errorf("in the summary: %+v", im)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("built %q,\nwant  %q", got, want)
	}
	if n := len(s.Failed) + len(s.Skipped) + len(s.Unbuildable); n > 0 {
		t.Errorf("failed %v, skipped %v, unbuildable %v", s.Failed, s.Skipped, s.Unbuildable)
	}
}

func (s summaryJSON) pushed(t *testing.T, want bool) {
	t.Helper()
	for _, im := range s.Built {
		if im.Pushed != want {
			t.Errorf("%s: pushed is %v, want %v", im.Name, im.Pushed, want)
		}
	}
}

// inImage returns files of an image by path, with their content. It looks
// through the layers from the top and stops where it has all of them: what it is
// asked for lies above the base.
func inImage(t *testing.T, img v1.Image, paths ...string) map[string]string {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]string{}
	for _, l := range slices.Backward(layers) {
		if len(out) == len(paths) {
			break
		}
		rc, err := l.Uncompressed()
		if err != nil {
			t.Fatal(err)
		}
		tr := tar.NewReader(rc)
		here := map[string]string{}
		for {
			h, err := tr.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if name := strings.TrimPrefix(h.Name, "/"); slices.Contains(paths, name) {
				data, err := io.ReadAll(tr)
				if err != nil {
					t.Fatal(err)
				}
				here[name] = string(data)
			}
		}
		rc.Close()
		maps.Copy(here, out)
		out = here
	}
	for _, p := range paths {
		if _, ok := out[p]; !ok {
			t.Errorf("%s is not in the image", p)
		}
	}
	return out
}
