package dockerfiles_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// A module that a release lacks is written beside the package; one that it has
// is left as it is.
func TestWSGIModule(t *testing.T) {
	testenv.Slow(t)
	python := testenv.Program(t, "python3", "python3")
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("svc/__init__.py", "")
	write("svc/app.py", "def build(argv):\n    return 'built'\n")
	write("has/__init__.py", "")
	write("has/wsgi/__init__.py", "")
	write("has/wsgi/api.py", "application = 'its own'\n")
	write("flat/__init__.py", "")
	write("flat/wsgi.py", "application = 'flat'\n")
	run := func(args ...string) (string, error) {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "PYTHONPATH="+dir, "PYTHONDONTWRITEBYTECODE=1")
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	const script = "openstack-base/kolla_wsgi_module.sh"
	for _, c := range []struct{ module, code, want string }{
		{"svc.wsgi.api", "from svc.app import build; application = build([])", "built\n"},
		{"has.wsgi.api", "application = 'shim'", "its own\n"},
		{"flat.wsgi", "application = 'shim'", "flat\n"},
		{"flat.wsgi.api", "from flat.wsgi import application", "flat\n"},
	} {
		if out, err := run("bash", script, c.module, c.code); err != nil {
			t.Fatalf("%s: %v\n%s", c.module, err, out)
		}
		if out, err := run(python, "-c", "import importlib, sys; print(importlib.import_module(sys.argv[1]).application)",
			c.module); err != nil || out != c.want {
			t.Errorf("%s: %q, %v", c.module, out, err)
		}
	}
	// The package flat.wsgi, which now hides the module flat/wsgi.py, still has its content.
	if out, err := run(python, "-c",
		"import flat.wsgi; print(flat.wsgi.__path__ != [], flat.wsgi.application)"); err != nil || out != "True flat\n" {
		t.Errorf("flat.wsgi: %q, %v", out, err)
	}
	// Files for Apache, which are kept where a package has them.
	write("venv/bin/has-wsgi", "the package's")
	t.Setenv("KOLLA_VENV", filepath.Join(dir, "venv"))
	for name, want := range map[string]string{"svc-wsgi": "built\n", "has-wsgi": ""} {
		if out, err := run("bash", script, "--script", name, "svc.wsgi.api"); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		path := filepath.Join(dir, "venv/bin", name)
		if want == "" {
			if text, err := os.ReadFile(path); err != nil || string(text) != "the package's" {
				t.Errorf("%s is now %q, %v", name, text, err)
			}
			continue
		}
		if out, err := run(python, "-c", "import runpy, sys; print(runpy.run_path(sys.argv[1])['application'])",
			path); err != nil || out != want {
			t.Errorf("%s: %q, %v", name, out, err)
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o755 {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	// A package that is absent has no place for a module.
	if out, err := run("bash", script, "absent.wsgi.api", "application = 1"); err == nil {
		t.Errorf("absent.wsgi.api was written: %s", out)
	}
}
