package standin_test

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

func write(t *testing.T, path string, data []byte) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

func start(t *testing.T, c standin.Content) *standin.Server {
	t.Helper()
	s, err := standin.Start(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// TestDeb reads packages with Debian's own tool, also one with an odd number of bytes.
func TestDeb(t *testing.T) {
	dpkg := testenv.Program(t, "dpkg-deb", "dpkg")
	for _, d := range []standin.Deb{
		{Name: "empty"},
		{Name: "with-files", Version: "1.2-3", Depends: "empty (>= 0~)",
			Files: map[string]string{"etc/pam.d/sshd": "x", "usr/bin/with": "#!/bin/sh\n"}},
	} {
		file := write(t, filepath.Join(t.TempDir(), d.Name+".deb"), d.Bytes())
		if out := output(t, dpkg, "--info", file); !strings.Contains(out, "Package: "+d.Name+"\n") {
			t.Errorf("dpkg-deb --info:\n%s", out)
		}
		out := output(t, dpkg, "--contents", file)
		for name := range d.Files {
			mode := "-rw-r--r-- 0/0"
			if strings.Contains(name, "bin/") {
				mode = "-rwxr-xr-x 0/0"
			}
			if !slices.ContainsFunc(strings.Split(out, "\n"), func(l string) bool {
				return strings.HasPrefix(l, mode) && strings.HasSuffix(l, " ./"+name)
			}) {
				t.Errorf("%s is not in, or not %s:\n%s", name, mode, out)
			}
		}
	}
}

// TestApt lets the real apt read the repository and resolve a dependency, in
// temporary directories.
func TestApt(t *testing.T) {
	apt := testenv.Program(t, "apt-get", "apt")
	s := start(t, standin.Content{Suite: "noble"})
	s.AddDebs(standin.Deb{Name: "one", Depends: "two"}, standin.Deb{Name: "two"})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "etc/sources.list.d/standin.sources"), []byte(s.AptSource()))
	for _, file := range []string{"status", "state/lists/partial/.keep", "cache/archives/partial/.keep",
		"etc/preferences.d/.keep", "etc/apt.conf.d/.keep"} {
		write(t, filepath.Join(dir, file), nil)
	}
	options := []string{"-o", "Dir::Etc=" + dir + "/etc", "-o", "Dir::State=" + dir + "/state", "-o",
		"Dir::Cache=" + dir + "/cache",
		"-o", "Dir::State::status=" + dir + "/status", "-o", "APT::Sandbox::User=root", "-o", "Acquire::Languages=none",
		"-o", "Debug::NoLocking=true"}
	output(t, apt, append(options, "--error-on=any", "update")...)
	out := output(t, apt, append(options, "install", "--yes", "--download-only", "one")...)
	for _, name := range []string{"one", "two"} {
		if _, err := os.Stat(filepath.Join(dir, "cache/archives", name+"_99%3a1~standin_all.deb")); err != nil {
			t.Errorf("%v\n%s", err, out)
		}
	}
	if m := s.Missing(); !slices.Contains(m, "/apt/dists/noble/InRelease") {
		t.Errorf("missing paths %q do not have the InRelease that apt asks for first", m)
	}
}

// TestRPM lets the real dnf read the repository.
func TestRPM(t *testing.T) {
	testenv.Slow(t)
	dnf := testenv.Program(t, "dnf", "dnf")
	testenv.Program(t, "rpmbuild", "rpm")
	testenv.Program(t, "createrepo_c", "createrepo-c")
	dir := t.TempDir()
	s := start(t, standin.Content{RPMDir: filepath.Join(dir, "rpm")})
	if err := standin.WriteRPMs(filepath.Join(dir, "rpm"), standin.RPM{Name: "gcc-c++"},
		standin.RPM{Name: "openvswitch3.5", Files: map[string]string{"etc/ovs.conf": "x", "usr/bin/ovs": "y"}}); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "repos/standin.repo"), []byte(s.RPMRepo("baseos", "epel")))
	out := output(t, dnf, "-q", "--setopt=reposdir="+dir+"/repos",
		"--setopt=cachedir="+dir+"/cache", "--setopt=logdir="+dir,
		"--installroot="+dir+"/root",
		"--releasever=10", "repoquery", "--repo=epel", "--list", "openvswitch*")
	if want := "/etc/ovs.conf\n/usr/bin/ovs\n"; out != want {
		t.Errorf("dnf lists %q, want %q", out, want)
	}
	if m := s.Missing(); len(m) > 0 {
		t.Errorf("dnf asked for %q", m)
	}
}

// TestPip lets the real pip install from the index under constraints, and build
// a project's sources with the back end that they bring.
func TestPip(t *testing.T) {
	testenv.Slow(t)
	python := testenv.Program(t, "python3", "python3")
	if out, err := exec.Command(python, "-c", "import pip, tomllib").CombinedOutput(); err != nil {
		t.Skipf("pip is not on this machine; TestStandin has its own. %s", out)
	}
	s := start(t, standin.Content{
		Wheels: []standin.Wheel{{Name: "pycadf", Requires: []string{"oslo.config"}, Scripts: []string{"cadf"},
			Data: map[string]string{"etc/pycadf/nova_api_audit_map.conf": "[DEFAULT]\n"}}},
	})
	dir := t.TempDir()
	resp, err := http.Get(s.URL() + "/tarballs/openstack/nova/nova-master.tar.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	sources := write(t, filepath.Join(dir, "nova.tar.gz"), data)
	constraints := write(t, filepath.Join(dir, "constraints.txt"), []byte("oslo.config==="+standin.OldVersion+"\n"))
	conf := write(t, filepath.Join(dir, "pip.conf"), []byte(s.PipConf()))
	cmd := exec.Command(python, "-m", "pip", "install", "--no-cache-dir", "--root-user-action", "ignore", "--target",
		filepath.Join(dir, "site"),
		"-c", constraints, "pycadf", "Oslo_Log", "tooz[redis]", sources)
	cmd.Env = append(os.Environ(), "PIP_CONFIG_FILE="+conf)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"oslo_config-0.1.0.dist-info", "oslo_log-0.2.0.dist-info",
		"tooz-0.2.0.dist-info", "pbr-0.2.0.dist-info",
		"nova-2026.1.0.dist-info", "bin/nova-manage", "bin/cadf", "etc/pycadf/nova_api_audit_map.conf"} {
		if _, err := os.Stat(filepath.Join(dir, "site", want)); err != nil {
			t.Error(err)
		}
	}
	run := exec.Command(filepath.Join(dir, "site/bin/nova-manage"), "db")
	run.Env = append(os.Environ(), "PYTHONPATH="+filepath.Join(dir, "site"))
	if out, err := run.CombinedOutput(); err != nil || string(out) != "nova-manage 2026.1.0 db\n" {
		t.Errorf("nova-manage: %v, %q", err, out)
	}
}

func TestInstalledBy(t *testing.T) {
	env := standin.Env("FROM x\nENV LANG=C\nENV OVS=3.5 \\\n    OVN=26.03 PS1=\"$ \"\n")
	if len(env) != 3 || env["OVS"] != "3.5" || env["OVN"] != "26.03" {
		t.Errorf("the environment is %v", env)
	}
	for _, c := range []struct{ dockerfile, want string }{
		{"RUN kolla_apt_install b a\n", "a b"},
		{"RUN --mount=type=cache,target=/x kolla_apt_install --upgrade a \\\n    b \\\n    && kolla_apt_install c; true\n",
			"a b c"},
		{"RUN mkdir x \\\n# why\n    && kolla_apt_install a \\\n    || exit 1\n", "a"},
		{"COPY kolla_apt_install.sh /usr/local/bin/kolla_apt_install\n", ""},
		{"RUN kolla_apt_install http://x/y.deb python3-a.b c++ ${VERSION}\n", "c++ python3-a.b"},
		{"RUN kolla_apt_install\n", ""},
		{"RUN kolla_apt_install openvswitch${OVS} python3-ovs$OVS\n", "openvswitch3.5 python3-ovs3.5"},
	} {
		if got := strings.Join(standin.InstalledBy(c.dockerfile, "kolla_apt_install", env), " "); got != c.want {
			t.Errorf("%q: %q, want %q", c.dockerfile, got, c.want)
		}
	}
}

// TestSameBytes checks that a path always has the same content, as builders' caches
// require.
func TestSameBytes(t *testing.T) {
	s := start(t, standin.Content{Suite: "noble", Files: map[string][]byte{"a/b": []byte("x")}})
	s.AddDebs(standin.Deb{Name: "one", Files: map[string]string{"a": "b", "c/d": "e"}})
	for _, path := range []string{"/apt/dists/noble/Release", "/apt/pool/one_1~standin_all.deb", "/pypi/simple/nova/",
		"/pypi/files/nova-0.1.0-py3-none-any.whl",
		"/tarballs/openstack/nova/nova-stable-2026.1.tar.gz", "/files/a/b"} {
		var tags []string
		for range 2 {
			resp, err := http.Get(s.URL() + path)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %s", path, resp.Status)
			}
			tags = append(tags, resp.Header.Get("ETag"))
		}
		if tags[0] == "" || tags[0] != tags[1] {
			t.Errorf("%s: entity tags %q", path, tags)
		}
	}
	for _, path := range []string{"/files/a", "/pypi/files/nova-9.9-py3-none-any.whl", "/pypi/simple/Nova/",
		"/tarballs/openstack/nova/other.tar.gz", "/apt/pool/two.deb"} {
		resp, err := http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s, want 404", path, resp.Status)
		}
	}
}
