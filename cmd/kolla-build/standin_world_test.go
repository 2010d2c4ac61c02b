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
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// standinWorld is the environment of the command lines: base images, a server, a registry.
type standinWorld struct {
	dir, data string
	buildkitd string
	conf      string
	registry  string
	server    *standin.Server
	helm, cni []byte // archives on the server
}

func newStandinWorld(t *testing.T) *standinWorld {
	t.Helper()
	w := &standinWorld{dir: t.TempDir(), buildkitd: testenv.Buildkitd(t)}
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	// Bootstrapping takes longest, so its result can be kept while working on this test.
	if w.data = os.Getenv("KOLLA_TEST_STANDIN_DATA"); w.data == "" {
		w.data = filepath.Join(w.dir, "data")
	}
	reg, err := server.Start(server.Options{Addr: "127.0.0.1:0", Dir: filepath.Join(w.dir, "registry")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reg.Close() })
	w.registry = reg.Addr().String()

	w.startServer(t)
	w.writeConfiguration(t)
	if _, err := os.Stat(w.data); err != nil {
		runBuild(t, []string{"bootstrap", "debian:trixie", "--data-dir", w.data}, exitOK)
	}
	return w
}

// startServer starts the server with the sources, packages and archives that the images fetch.
func (w *standinWorld) startServer(t *testing.T) {
	t.Helper()
	w.helm = standin.TarGz("", map[string]string{"linux-amd64/helm": "helm\n", "linux-arm64/helm": "helm\n"})
	w.cni = standin.TarGz("./", map[string]string{"loopback": "loopback\n", "bridge": "bridge\n"})
	requirements := standin.Project{Name: "requirements", Version: "master", Files: map[string]string{
		// Only one of them is the version that the index has anyway.
		"upper-constraints.txt": "oslo.config===" + standin.OldVersion + "\novs===9.9.9\n" +
			"PyYAML===" + standin.OldVersion + "\noslo.log===" + standin.NewVersion + "\n",
	}}
	magnum := standin.AnyProject("magnum")
	magnum.Files["etc/magnum/keystone_auth_default_policy.sample"] = "{}\n"
	keystone := standin.AnyProject("keystone")
	keystone.Files = map[string]string{"etc/default_catalog.templates": "catalog\n"}
	var err error
	w.server, err = standin.Start(standin.Content{
		Suite:    "noble",
		Projects: []standin.Project{requirements, magnum, keystone},
		Wheels: []standin.Wheel{{Name: "pycadf", Data: map[string]string{
			"etc/pycadf/nova_api_audit_map.conf": "[DEFAULT]\n", "etc/pycadf/heat_api_audit_map.conf": "[DEFAULT]\n"}}},
		Files:  map[string][]byte{"helm.tar.gz": w.helm, "cni.tgz": w.cni},
		RPMDir: w.rpmDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.server.Close() })
}

// writeConfiguration writes what a site without internet has in its kolla-build.conf.
func (w *standinWorld) writeConfiguration(t *testing.T) {
	t.Helper()
	repos := filepath.Join(w.dir, "repos.yaml")
	put(t, repos, fmt.Appendf(nil, `
ubuntu:
  ubuntu-cloud-archive:
    distro: true
rpm:
  crb:
    distro: true
    name: crb
  epel:
    name: epel
    baseurl: "%[1]s/rpm"
    gpgkey: "%[1]s/files/key"
    gpgcheck: "0"
  ligenix-qemu-spice:
    name: ligenix-qemu-spice
    baseurl: "%[1]s/rpm"
    gpgkey: "%[1]s/files/key"
    gpgcheck: "0"
  openvswitch:
    name: openvswitch
    baseurl: "%[1]s/rpm"
    gpgkey: "%[1]s/files/key"
    gpgcheck: "0"
`, w.server.URL()))
	w.conf = filepath.Join(w.dir, "kolla-build.conf")
	put(t, w.conf, fmt.Appendf(nil, `# What a site without internet has in its kolla-build.conf.
[DEFAULT]
base = ubuntu
base_image = %[3]s/standin/ubuntu
tarballs_base = %[1]s/tarballs
repos_yaml = %[2]s
registry = %[3]s
build_args = zun_cni_daemon_url:%[1]s/files/cni.tgz,zun_cni_daemon_sha256:%[6]x

[profiles]
containers = zun,magnum,heat

[magnum-conductor-plugin-helm]
location = %[1]s/files/helm.tar.gz
sha256 = amd64:%[4]x,arm64:%[4]x

[nova-base-plugin-standin]
type = git
location = file://%[5]s
reference = main
`, w.server.URL(), repos, w.registry, sha256.Sum256(w.helm), gitProject(t, filepath.Join(w.dir, "plugin")),
		sha256.Sum256(w.cni)))
}

// The real programs that steps of the templates run, besides the package manager.
const tools = "adduser ca-certificates curl dumb-init git iproute2 netbase patch procps python3-pip python3-venv python3-yaml sudo"

// makeBase builds and pushes standin/DISTRO:TAG with kolla-build itself: Debian with real
// programs from Debian's mirror, and files that identify it as another distribution,
// whose only package repository is this test.
func (w *standinWorld) makeBase(t *testing.T, distro, tag, osRelease, programs string, files map[string]string) {
	t.Helper()
	tree := filepath.Join(w.dir, "tree-"+distro)
	label := "LABEL name=\"{{ image_name }}\"\n"
	aptGet := func(packages string) string {
		return "RUN apt-get update && apt-get install -y --no-install-recommends " + packages +
			" && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb\n"
	}
	put(t, filepath.Join(tree, "tools/Dockerfile.j2"),
		[]byte("FROM {{ base_image }}:{{ base_distro_tag }}\n"+label+aptGet(tools)))
	docker := "FROM {{ namespace }}/tools:{{ tag }}\n" + label
	if programs != "" {
		docker += aptGet(programs)
	}
	docker += "RUN rm -rf /etc/apt/sources.list /etc/apt/sources.list.d/* /etc/os-release /usr/lib/os-release\nCOPY files /\n"
	put(t, filepath.Join(tree, distro, "Dockerfile.j2"), []byte(docker))
	put(t, filepath.Join(tree, distro, "files/etc/os-release"), []byte(osRelease))
	put(t, filepath.Join(tree, distro, "files/etc/pip.conf"), []byte(w.server.PipConf()))
	for name, text := range files {
		put(t, filepath.Join(tree, distro, "files", name), []byte(text))
	}
	runBuild(t, []string{"-b", "debian", "--base-tag", "trixie", "--images-dir", tree, "-n", "standin", "--tag", tag,
		"--push", "--registry", w.registry,
		"--data-dir", w.data, "--buildkitd", w.buildkitd, "--logs-dir", filepath.Join(w.dir,
			"base-logs"), "--progress", "plain"}, exitOK)
}

// wanted returns the packages that rendered Dockerfiles pass to a command, with the files
// that later steps edit.
func (w *standinWorld) wanted(t *testing.T, distro, command string, regexes ...string) map[string]map[string]string {
	t.Helper()
	edited := map[string]map[string]string{
		"openssh-server": {"etc/pam.d/sshd": "session    required     pam_loginuid.so\n"},
		"apache2": {"etc/apache2/ports.conf": "Listen 80\n", "etc/apache2/sites-enabled/000-default.conf": "\n",
			"etc/apache2/conf-enabled/security.conf": "\n"},
		"httpd":   {"etc/httpd/conf/httpd.conf": "Listen 80\n"},
		"mod_ssl": {"etc/httpd/conf.d/ssl.conf": "Listen 443 https\n"},
	}
	out := filepath.Join(w.dir, "rendered-"+distro)
	runBuild(t, append([]string{"-b", distro, "--template-only", "--work-dir", out, "--config-file", w.conf},
		regexes...), exitOK)
	base, err := os.ReadFile(filepath.Join(out, "docker/base/Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	packages := map[string]map[string]string{}
	err = filepath.WalkDir(out, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "Dockerfile" {
			return err
		}
		text, err := os.ReadFile(p)
		for _, name := range standin.InstalledBy(string(text), command, standin.Env(string(base))) {
			packages[name] = edited[name]
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("only %d packages found in the rendered Dockerfiles", len(packages))
	}
	return packages
}

// makeUbuntu makes a base image and a repository with a package for each name that our
// Dockerfiles install and the base image does not have.
func (w *standinWorld) makeUbuntu(t *testing.T) {
	t.Helper()
	w.makeBase(t, "ubuntu", "24.04",
		"PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nNAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nVERSION_CODENAME=noble\nID=ubuntu\nID_LIKE=debian\n",
		"", map[string]string{"etc/apt/sources.list.d/standin.sources": w.server.AptSource()})
	status := inImage(t, w.pull(t, "standin/ubuntu:24.04"), "var/lib/dpkg/status")["var/lib/dpkg/status"]
	var debs []standin.Deb
	for name, files := range w.wanted(t, "ubuntu", "kolla_apt_install", "nova", "zun", "magnum", "heat") {
		if !strings.HasPrefix(status, "Package: "+name+"\n") && !strings.Contains(status, "\nPackage: "+name+"\n") {
			debs = append(debs, standin.Deb{Name: name, Files: files})
		}
	}
	w.server.AddDebs(debs...)
}

// osReleases are the parts of /etc/os-release of the rpm distributions that steps read.
var osReleases = map[string]string{
	"rocky":       "PRETTY_NAME=\"Rocky Linux 10.0 (Red Quartz)\"\nNAME=\"Rocky Linux\"\nVERSION_ID=\"10.0\"\nID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n",
	"centos":      "PRETTY_NAME=\"CentOS Stream 10 (Coughlan)\"\nNAME=\"CentOS Stream\"\nVERSION_ID=\"10\"\nID=\"centos\"\nID_LIKE=\"rhel fedora\"\n",
	"oraclelinux": "PRETTY_NAME=\"Oracle Linux Server 10.0\"\nNAME=\"Oracle Linux Server\"\nVERSION_ID=\"10.0\"\nID=\"ol\"\nID_LIKE=\"fedora\"\n",
}

// makeRPM does the same with Debian's dnf and rpm. The database of rpm is empty, because
// only dpkg knows the programs; so every package is a stand-in.
func (w *standinWorld) makeRPM(t *testing.T, distro, tag string, images []string) {
	t.Helper()
	testenv.Program(t, "rpmbuild", "rpm")
	testenv.Program(t, "createrepo_c", "createrepo-c")
	w.makeBase(t, distro, tag, osReleases[distro], "dnf dnf-plugins-core rpm", map[string]string{
		"etc/yum.repos.d/" + distro + ".repo": w.server.RPMRepo("baseos", "appstream", "crb"),
		// Debian's dnf enables this plugin without what it needs.
		"etc/dnf/plugins/local.conf": "[main]\nenabled = 0\n",
		"etc/pam.d/system-auth":      "session     required      pam_limits.so\n-session     optional      pam_systemd.so\n",
	})
	var rpms []standin.RPM
	for name, files := range w.wanted(t, distro, "kolla_dnf_install", images...) {
		rpms = append(rpms, standin.RPM{Name: name, Files: files})
	}
	if err := standin.WriteRPMs(w.rpmDir(), rpms...); err != nil {
		t.Fatal(err)
	}
}

func (w *standinWorld) rpmDir() string { return filepath.Join(w.dir, "rpm") }

func (w *standinWorld) options(summary string) []string {
	return []string{"--config-file", w.conf, "--data-dir", w.data, "--buildkitd", w.buildkitd, "--tag", "t",
		"--logs-dir", filepath.Join(w.dir, "logs"), "--summary-json-file", summary, "--progress", "plain"}
}

func (w *standinWorld) pull(t *testing.T, image string) v1.Image {
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

// missing returns the requests that failed, except those that apt tries first at a
// repository without a signature.
func (w *standinWorld) missing() []string {
	return slices.DeleteFunc(w.server.Missing(), func(p string) bool {
		return strings.HasSuffix(p, "/InRelease") || strings.HasSuffix(p, "/Release.gpg")
	})
}

func (w *standinWorld) checkConfig(t *testing.T, img v1.Image, image, distro string) {
	t.Helper()
	conf, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := conf.Config
	if c.Labels["name"] != image || c.Labels["org.opencontainers.image.title"] != image {
		t.Errorf("%s: labels %v", image, c.Labels)
	}
	if e, cmd := strings.Join(c.Entrypoint, " "),
		strings.Join(c.Cmd, " "); e != "dumb-init --single-child --" || cmd != "kolla_start" {
		t.Errorf("%s: entry point %q, command %q", image, e, cmd)
	}
	for _, v := range []string{"KOLLA_BASE_DISTRO=" + distro, "KOLLA_INSTALL_TYPE=source"} {
		if !slices.Contains(c.Env, v) {
			t.Errorf("%s: %s is not in its environment %q", image, v, c.Env)
		}
	}
	venv := slices.ContainsFunc(c.Env, func(v string) bool {
		return strings.HasPrefix(v,
			"PATH=/var/lib/kolla/venv/bin:")
	})
	if ofBase := image == "base" || strings.HasPrefix(image, "nova-libvirt") || image == "memcached"; venv == ofBase {
		t.Errorf("%s: environment %q", image, c.Env)
	}
	users := map[string]string{"nova-compute": "nova", "nova-scheduler": "nova",
		"zun-compute": "zun", "zun-wsproxy": "zun",
		"heat-engine": "heat", "magnum-api": "magnum", "magnum-conductor": "magnum", "memcached": "memcached",
		"keystone": "", "nova-api": "", "zun-api": "", "base": ""}
	if user, ok := users[image]; ok && c.User != user {
		t.Errorf("%s: user %q, want %q", image, c.User, user)
	}
}

// gitProject makes a git repository with a Python project.
func gitProject(t *testing.T, dir string) string {
	t.Helper()
	git := testenv.Program(t, "git", "git")
	for name, text := range (standin.Project{Name: "nova-standin", Version: "3.2.1", Requires: []string{"nova"}}).Tree() {
		put(t, filepath.Join(dir, name), []byte(text))
	}
	for _, args := range [][]string{{"init", "-q", "-b", "main"}, {"add", "."},
		{"-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "-q", "-m", "one"}} {
		cmd := exec.Command(git, append([]string{"-C", dir}, args...)...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
	}
	return dir
}

// imagesOfTree returns the images of our tree that match one of the regular expressions,
// and their parents.
func imagesOfTree(t *testing.T, regexes ...string) []string {
	t.Helper()
	parent := map[string]string{}
	from := regexp.MustCompile(`(?:FROM {{ namespace }}/{{ image_prefix }}|{% set parent = ")([a-z0-9-]+)[:"]`)
	err := fs.WalkDir(dockerfiles.Tree(), ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "Dockerfile.j2" {
			return err
		}
		text, err := fs.ReadFile(dockerfiles.Tree(), p)
		parent[path.Base(path.Dir(p))] = ""
		if m := from.FindSubmatch(text); m != nil {
			parent[path.Base(path.Dir(p))] = string(m[1])
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	re := regexp.MustCompile(strings.Join(regexes, "|"))
	out := map[string]bool{}
	for image := range parent {
		if re.MatchString(image) {
			for ; image != ""; image = parent[image] {
				out[image] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(out))
}

// summaryJSON is the part of a run's JSON summary that the test needs.
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

// check fails unless the run's images are want and none failed. unchanged means that none
// was built.
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
	if n := len(s.Failed) + len(s.Skipped); n > 0 {
		t.Errorf("failed %v, skipped %v", s.Failed, s.Skipped)
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

// inImage returns files of an image by path, with their content. It reads the layers from
// the last one and stops when it has all files, which are not in the base image.
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
