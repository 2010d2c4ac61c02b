package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// searchCases are files of a machine, in ~ and /etc, and arguments. Each file sets the namespace
// to its own place; those that end in 2 also set the maintainer.
var searchCases = []struct{ files, args string }{
	{"", ""},
	{"~/.kolla/kolla-build.conf", ""},
	{"~/kolla-build.conf", ""},
	{"/etc/kolla/kolla-build.conf", ""},
	{"/etc/kolla-build.conf", ""},
	{"~/.kolla/kolla-build.conf ~/kolla-build.conf", ""},
	{"~/kolla-build.conf /etc/kolla/kolla-build.conf", ""},
	{"~/.kolla/kolla-build.conf /etc/kolla-build.conf", ""},
	{"/etc/kolla/kolla-build.conf /etc/kolla-build.conf", ""},
	{"~/.kolla/kolla-build.conf ~/kolla-build.conf /etc/kolla/kolla-build.conf /etc/kolla-build.conf", ""},
	{"~/.kolla/kolla-build.conf.d/a.conf", ""},
	{"/etc/kolla/kolla-build.conf.d/b.conf /etc/kolla/kolla-build.conf.d/a.conf", ""},
	{"/etc/kolla/kolla-build.conf /etc/kolla/kolla-build.conf.d/a.conf", ""},
	{"~/kolla-build.conf /etc/kolla/kolla-build.conf.d/a.conf", ""},
	{"~/kolla-build.conf.d/a.conf /etc/kolla/kolla-build.conf.d/b.conf", ""},
	{"/etc/kolla/kolla-build.conf.d/a.txt /etc/kolla/kolla-build.conf.d/.b.conf", ""},
	{"/etc/kolla/kolla-build.conf ~/named.conf", "--config-file ~/named.conf"},
	{"/etc/kolla/kolla-build.conf ~/named.conf ~/other.conf", "--config-file ~/named.conf --config-file ~/other.conf"},
	{"/etc/kolla/kolla-build.conf.d/a.conf ~/named.conf", "--config-file ~/named.conf"},
	{"/etc/kolla/kolla-build.conf ~/dir/a.conf ~/dir/b.conf", "--config-dir ~/dir"},
	{"/etc/kolla/kolla-build.conf.d/a.conf ~/dir/b.conf", "--config-dir ~/dir"},
	{"~/named.conf ~/dir/a.conf", "--config-dir ~/dir --config-file ~/named.conf"},
	{"~/named.conf ~/dir/a.conf", "--config-file ~/named.conf --config-dir ~/dir"},
	{"~/one/a.conf ~/two/b.conf", "--config-dir ~/one --config-dir ~/two"},
	{"~/.kolla/kolla-build.conf ~/dir/a.txt ~/dir/sub/b.conf", "--config-dir ~/dir"},
	{"~/named.conf", "--config-file ~/named.conf --namespace typed"},
}

// TestKollaSearchOrder compares which files are read with oslo.config, in a file system whose
// /etc and home directory contain those of a case.
func TestKollaSearchOrder(t *testing.T) {
	kolla := os.Getenv("KOLLA_CHECKOUT")
	if kolla == "" {
		t.Skip("KOLLA_CHECKOUT does not name a checkout of openstack/kolla to compare with")
	}
	if os.Getuid() != 0 {
		t.Skip("mounting another /etc needs root")
	}
	env := kollaEnv(t)
	dir := t.TempDir()
	self, etc, tree := filepath.Join(dir, "bin", "kolla-build"), filepath.Join(dir, "etc"),
		filepath.Join(dir, "tree", "base")
	linkSelf(t, self)
	if out, err := exec.Command("cp", "-a", "/etc", etc).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	write(t, filepath.Join(tree, "Dockerfile.j2"), "{{ namespace }} {{ maintainer }}")
	for _, c := range searchCases {
		t.Run(strings.NewReplacer("/", "_", " ", ",").Replace(c.files+" "+c.args), func(t *testing.T) {
			home := t.TempDir()
			for _, stale := range []string{"kolla", "kolla-build.conf"} {
				if err := os.RemoveAll(filepath.Join(etc, stale)); err != nil {
					t.Fatal(err)
				}
			}
			inName := strings.NewReplacer("/", "-", "~", "home", ".", "x") // a dot makes a namespace a registry
			inHome := func(text string) string { return strings.ReplaceAll(text, "~", home) }
			for name := range strings.FieldsSeq(c.files) {
				path := inHome(name)
				if strings.HasPrefix(path, "/etc/") {
					path = filepath.Join(dir, path)
				}
				text := "[DEFAULT]\nnamespace = from" + inName.Replace(name) + "\n"
				if !strings.HasPrefix(filepath.Base(name), "b") {
					text += "maintainer = by" + inName.Replace(name) + "\n"
				}
				write(t, path, text)
			}
			args := strings.Fields(inHome(c.args))
			start := func(program string, extra ...string) string {
				const script = `mount --make-rprivate / && mount --bind "$1" /etc && shift && exec "$@"`
				cmd := exec.Command("unshare", append(append([]string{"-m", "sh", "-c", script, "sh", etc, program}, extra...),
					args...)...)
				cmd.Dir = t.TempDir()
				cmd.Env = append(env, "HOME="+home, "PYTHONPATH="+kolla, "KOLLA_BUILD_DATA_DIR="+filepath.Join(home, "data"))
				out, err := cmd.Output()
				if err != nil {
					t.Fatalf("%s: %v\n%s", program, err, err.(*exec.ExitError).Stderr)
				}
				return strings.TrimSpace(string(out))
			}
			want := start("/usr/bin/python3", "-c", "import sys\nfrom oslo_config import cfg\nfrom kolla.common import config\n"+
				"conf = cfg.ConfigOpts()\nconfig.parse(conf, sys.argv[1:], prog='kolla-build')\nprint(conf.namespace, conf.maintainer)")
			start(self, "--images-dir", filepath.Dir(tree), "--template-only", "--work-dir", filepath.Join(home, "out"))
			got, err := os.ReadFile(filepath.Join(home, "out", "docker", "base", "Dockerfile"))
			if err != nil {
				t.Fatal(err)
			}
			if strings.TrimSpace(string(got)) != want {
				t.Errorf("got %q, oslo.config %q", got, want)
			}
		})
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
