package dockerfiles_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// buildPythonDeb makes a package whose Python files are in /opt/NAME and whose
// postinst byte-compiles them as debhelper's does.
func buildPythonDeb(t *testing.T, dir, name string, modules map[string]string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	write := func(file, content string, mode os.FileMode) {
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("DEBIAN/control", "Package: "+
		name+"\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: test\n", 0o644)
	write("DEBIAN/postinst", "#!/bin/sh\nset -e\nif command -v py3compile >/dev/null; then py3compile -p "+name+" /opt/"+
		name+" -X 'skip.*'; fi\n", 0o755)
	for file, content := range modules {
		write("opt/"+name+"/"+file, content, 0o644)
	}
	deb := filepath.Join(dir, name+"_1.0_all.deb")
	if out, err := exec.Command(testenv.Program(t, "dpkg-deb", "dpkg"), "--root-owner-group", "-Znone", "--build", root,
		deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	return deb
}

// pythonRoot serves the packages from a repository and returns a root that
// knows it.
func pythonRoot(t *testing.T, packages map[string]map[string]string) *scratchRoot {
	t.Helper()
	repo := newAptRepo(t)
	for name, modules := range packages {
		buildPythonDeb(t, repo.dir, name, modules)
	}
	r := aptRoot(t, repo, "")
	r.install("base/kolla_py3compile.py", "opt/kolla_py3compile.py")
	if _, err := os.Stat("/usr/bin/py3compile"); err != nil {
		testenv.Missing(t, "/usr/bin/py3compile is not on this machine")
	}
	for name := range packages {
		content, err := os.ReadFile(filepath.Join(repo.dir, name+"_1.0_all.deb"))
		if err != nil {
			t.Fatal(err)
		}
		r.write("opt/debs/"+name+"_1.0_all.deb", string(content))
	}
	return r
}

func (r *scratchRoot) installPython(names ...string) (int, string) {
	args := []string{"/opt/kolla_apt_install"}
	for _, name := range names {
		args = append(args, "/opt/debs/"+name+"_1.0_all.deb")
	}
	return r.run(append([]string{"KOLLA_PY3COMPILE=/opt/kolla_py3compile.py"}, installEnv...), args...)
}

// TestByteCompilation compares the byte code of packages that are compiled
// together with what py3compile makes of each package.
func TestByteCompilation(t *testing.T) {
	testenv.Slow(t)
	many := map[string]string{"skip_me.py": "print('no')\n", "sub/deep.py": "DEEP = 'deep', 1.5, b'x'\n"}
	for i := range 230 { // more than fit into two chunks
		many["m"+strings.Repeat("x", i%7)+string(rune('a'+i%26))+strings.Repeat("y", i/26)+".py"] = "def f(a, b=" +
			strings.Repeat("1", i%5+1) + "):\n    return a, 'text', b\n"
	}
	r := pythonRoot(t, map[string]map[string]string{"pyone": {"one.py": "ONE = 1\n"}, "pymany": many})
	if status, out := r.installPython("pyone", "pymany"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	compiled := func() map[string]string {
		files := map[string]string{}
		err := filepath.WalkDir(r.path("opt"), func(path string, _ os.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(path, ".pyc") {
				var content []byte
				content, err = os.ReadFile(path)
				files[strings.TrimPrefix(path, r.dir)] = string(content)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	got := compiled()
	for _, name := range []string{"pyone", "pymany"} {
		if status, out := r.run(nil, "/usr/bin/py3compile", "--force", "-p", name, "/opt/"+name, "-X",
			"skip.*"); status != 0 {
			t.Fatalf("py3compile: exit status %d\n%s", status, out)
		}
	}
	want := compiled()
	if len(want) != len(many) { // skip_me.py is not compiled, one.py is
		t.Fatalf("py3compile compiled %d files, want %d", len(want), len(many))
	}
	for name, content := range want {
		if got[name] == "" {
			t.Errorf("%s was not compiled", name)
		} else if got[name] != content {
			t.Errorf("%s differs from what py3compile makes", name)
		}
	}
}

// TestByteCompilationOmitsTests checks that test suites are not compiled, except those
// that the Tempest image runs.
func TestByteCompilationOmitsTests(t *testing.T) {
	testenv.Slow(t)
	r := pythonRoot(t, map[string]map[string]string{
		"pylib":      {"lib/testing.py": "", "lib/tests/__init__.py": "", "lib/tests/unit/suite.py": ""},
		"py-tempest": {"keystone_tempest_plugin/tests/api.py": ""},
	})
	if status, out := r.installPython("pylib", "py-tempest"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	for file, want := range map[string]bool{
		"pylib/lib/__pycache__/testing":                            true,
		"pylib/lib/tests/__pycache__/__init__":                     false,
		"pylib/lib/tests/unit/__pycache__/suite":                   false,
		"py-tempest/keystone_tempest_plugin/tests/__pycache__/api": true,
	} {
		matches, err := filepath.Glob(r.path("opt/" + file + ".*.pyc"))
		if err != nil {
			t.Fatal(err)
		}
		if got := len(matches) > 0; got != want {
			t.Errorf("%s is compiled: %v, want %v", file, got, want)
		}
	}
}

// TestByteCompilationFails checks that a file that cannot be compiled fails the
// installation, as it does with py3compile.
func TestByteCompilationFails(t *testing.T) {
	testenv.Slow(t)
	r := pythonRoot(t, map[string]map[string]string{"pybroken": {"broken.py": "def f(:\n"}})
	status, out := r.installPython("pybroken")
	if status == 0 || !strings.Contains(out, "/opt/pybroken/broken.py") {
		t.Errorf("exit status %d, output %s", status, out)
	}
}
