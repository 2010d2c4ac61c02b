package dockerfiles_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// newRPMRepo serves packages, made by the real rpmbuild and createrepo_c, and
// counts what is fetched.
func newRPMRepo(t *testing.T, packages ...string) *packageRepo {
	t.Helper()
	for _, program := range []string{"/usr/bin/dnf", "/usr/bin/rpmbuild", "/usr/bin/createrepo_c"} {
		if _, err := os.Stat(program); err != nil {
			testenv.Missing(t, program+" is not on this machine: apt-get install dnf rpm createrepo-c")
		}
	}
	repo := &packageRepo{dir: t.TempDir()}
	for _, spec := range packages {
		name, dependency, _ := strings.Cut(spec, "=")
		text := "Name: " + name + "\nVersion: 1.0\nRelease: 1\nSummary: test\nLicense: none\nBuildArch: noarch\n"
		if dependency != "" {
			text += "Requires: " + dependency + "\n"
		}
		text += "%description\ntest\n%install\nmkdir -p %{buildroot}/opt/pkg\necho " + name +
			" > %{buildroot}/opt/pkg/" + name + "\n%files\n/opt/pkg/" + name + "\n"
		file := filepath.Join(t.TempDir(), name+".spec")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		top := t.TempDir()
		out, err := exec.Command("rpmbuild", "-bb", "--define", "_topdir "+top, "--define", "_rpmdir "+repo.dir,
			"--define", "_build_name_fmt %{NAME}.rpm", file).CombinedOutput()
		if err != nil {
			t.Fatalf("rpmbuild: %v\n%s", err, out)
		}
	}
	if out, err := exec.Command("createrepo_c", repo.dir).CombinedOutput(); err != nil {
		t.Fatalf("createrepo_c: %v\n%s", err, out)
	}
	repo.serve(t)
	return repo
}

func dnfRoot(t *testing.T, repo *packageRepo, cache string) *scratchRoot {
	r := newScratchRoot(t, "/usr/bin/dnf", "/usr/bin/flock")
	r.install("base/kolla_dnf_install.sh", "opt/kolla_dnf_install")
	r.install("base/install_cleanup.sh", "opt/install_cleanup.sh")
	conf, err := os.ReadFile("base/dnf.conf")
	if err != nil {
		t.Fatal(err)
	}
	r.write("etc/dnf/dnf.conf", string(conf))
	r.write("etc/yum.repos.d/test.repo", "[test]\nname=test\nbaseurl="+repo.server.URL+"\ngpgcheck=0\nenabled=1\n")
	if cache != "" {
		if err := os.MkdirAll(r.path("cache"), 0o755); err != nil {
			t.Fatal(err)
		}
		r.cache = cache
	}
	return r
}

func (r *scratchRoot) mustDnf(packages ...string) {
	r.t.Helper()
	env := append([]string{"HOME=/root"}, installEnv...)
	if r.cache != "" {
		env = append(env, "KOLLA_DNF_CACHE=/cache")
	}
	if status, out := r.run(env, append([]string{"/opt/kolla_dnf_install"}, packages...)...); status != 0 {
		r.t.Errorf("%v: exit status %d\n%s", packages, status, out)
		return
	}
	for _, name := range packages {
		if !strings.HasPrefix(name, "-") && !r.exists("opt/pkg/"+name) {
			r.t.Errorf("%s is not installed", name)
		}
	}
}

func TestDnfInstall(t *testing.T) {
	testenv.Slow(t)
	repo := newRPMRepo(t, "one=base", "two=base", "three=base", "base")
	cache := t.TempDir()
	var wg sync.WaitGroup
	for _, name := range []string{"one", "two", "three"} {
		r := dnfRoot(t, repo, cache)
		wg.Go(func() {
			r.mustDnf(name)
			for _, pattern := range []string{"var/log/dnf*", "var/cache/dnf/*", "tmp/*"} {
				if leftover, _ := filepath.Glob(r.path(pattern)); len(leftover) != 0 {
					t.Errorf("%s: the layer has %v", name, leftover)
				}
			}
		})
	}
	wg.Wait()
	for _, file := range []string{"base.rpm", "one.rpm"} {
		if n := repo.count(file); n != 1 {
			t.Errorf("%s was fetched %d times", file, n)
		}
	}
	if leftover, _ := filepath.Glob(filepath.Join(cache, "work/*")); len(leftover) != 0 {
		t.Errorf("left behind: %v", leftover)
	}
	dnfRoot(t, repo, "").mustDnf("--security-update", "two")
}
