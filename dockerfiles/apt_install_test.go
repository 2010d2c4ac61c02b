package dockerfiles_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// newAptRepo serves packages; each is a name or "name=dependency".
func newAptRepo(t *testing.T, packages ...string) *packageRepo {
	t.Helper()
	repo := &packageRepo{dir: t.TempDir()}
	var index strings.Builder
	for _, spec := range packages {
		name, dependency, _ := strings.Cut(spec, "=")
		control := "Package: " + name + "\nVersion: 1.0\nArchitecture: all\nMaintainer: Test <test@example.org>\nDescription: test\n"
		if dependency != "" {
			control += "Depends: " + dependency + "\n"
		}
		deb := buildDeb(t, repo.dir, name, control)
		content, err := os.ReadFile(deb)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&index, "%sFilename: ./%s\nSize: %d\nSHA256: %x\n\n",
			control, filepath.Base(deb), len(content), sha256.Sum256(content))
	}
	files := map[string]string{"Packages": index.String()}
	files["Release"] = fmt.Sprintf("Origin: test\nDate: %s\nSHA256:\n %x %d Packages\n",
		time.Now().UTC().Format(http.TimeFormat), sha256.Sum256([]byte(index.String())), index.Len())
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(repo.dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	repo.serve(t)
	return repo
}

// buildDeb makes a package that puts one large enough file into /opt.
func buildDeb(t *testing.T, dir, name, control string) string {
	t.Helper()
	root := filepath.Join(t.TempDir(), name)
	for file, content := range map[string]string{
		"DEBIAN/control":     control,
		"opt/pkg/" + name:    strings.Repeat(name+"\n", 4096),
		"etc/machine-id":     "0123456789abcdef0123456789abcdef\n",
		"opt/pkg/.x-" + name: "",
		// Files that maintainer scripts of real packages create.
		"etc/ssh/ssh_host_rsa_key":      "key\n",
		"etc/ssh/ssh_host_rsa_key.pub":  "key\n",
		"etc/ssh/sshd_config":           "kept\n",
		"etc/bind/rndc.key":             "key\n",
		"etc/iscsi/initiatorname.iscsi": "name\n",
		"etc/nvme/hostnqn":              "name\n",
		"etc/pacemaker/authkey":         "key\n",
	} {
		if strings.HasPrefix(file, "etc/") && name != "machine" {
			continue
		}
		path := filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	deb := filepath.Join(dir, name+"_1.0_all.deb")
	if out, err := exec.Command(testenv.Program(t, "dpkg-deb", "dpkg"), "--root-owner-group", "-Znone", "--build", root,
		deb).CombinedOutput(); err != nil {
		t.Fatalf("dpkg-deb: %v\n%s", err, out)
	}
	return deb
}

// aptRoot is a root whose apt knows repo alone. cache is its cache mount.
func aptRoot(t *testing.T, repo *packageRepo, cache string) *scratchRoot {
	r := newScratchRoot(t, "/usr/bin/apt-get", "/usr/bin/dpkg", "/usr/bin/flock", "/usr/bin/mountpoint")
	r.install("base/kolla_apt_install.sh", "opt/kolla_apt_install")
	r.install("base/install_cleanup.sh", "opt/install_cleanup.sh")
	r.write("etc/apt/sources.list", "deb [trusted=yes] "+repo.server.URL+" ./\n")
	// No retries, because a closed server does not come back.
	r.write("etc/apt/apt.conf", "Dir::State::status \"/var/lib/dpkg/status\";\n")
	for _, file := range []string{"status", "available"} {
		r.write("var/lib/dpkg/"+file, "")
	}
	for _, dir := range []string{"var/lib/dpkg/info", "var/lib/dpkg/updates", "var/lib/dpkg/triggers",
		"etc/apt/apt.conf.d", "etc/apt/preferences.d", "var/lib/apt/lists/partial", "var/cache/apt/archives/partial",
		"var/log/apt", "var/cache/kolla/apt"} {
		if err := os.MkdirAll(r.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if cache != "" {
		if err := os.Remove(r.path("var/cache/kolla/apt")); err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(r.path("cache"), 0o755); err != nil {
			t.Fatal(err)
		}
		r.cache = cache
	}
	return r
}

func (r *scratchRoot) apt(packages ...string) (int, string) {
	r.t.Helper()
	env := slices.Clone(installEnv)
	if r.cache != "" {
		env = append(env, "KOLLA_APT_CACHE=/cache")
	}
	return r.run(env, append([]string{"/opt/kolla_apt_install"}, packages...)...)
}

func (r *scratchRoot) mustApt(packages ...string) {
	r.t.Helper()
	if status, out := r.apt(packages...); status != 0 {
		r.t.Fatalf("exit status %d\n%s", status, out)
	}
	for _, name := range packages {
		if !strings.Contains(name, "/") && !r.exists("opt/pkg/"+name) {
			r.t.Errorf("%s is not installed", name)
		}
	}
}

// installEnv is where the installing scripts find install_cleanup.sh here, and programs
// that may lose their setuid bits: /usr is the host's.
var installEnv = []string{"KOLLA_INSTALL_CLEANUP=/opt/install_cleanup.sh", "KOLLA_PROGRAMS=/opt/programs"}

// layerFiles lists the content of directories that should be empty in a layer.
func (r *scratchRoot) layerFiles() []string {
	var leftover []string
	for _, pattern := range []string{"var/lib/apt/lists/*", "var/cache/apt/*", "var/log/*.log", "var/log/apt/*",
		"var/cache/kolla/apt/*", "tmp/*", "var/lib/dpkg/*-old"} {
		matches, _ := filepath.Glob(r.path(pattern))
		leftover = append(leftover, matches...)
	}
	return leftover
}

func TestAptInstall(t *testing.T) {
	testenv.Slow(t)
	repo := newAptRepo(t, "one=base", "base", "two=base", "machine")
	cache := t.TempDir()
	r := aptRoot(t, repo, cache)
	r.mustApt("one", "machine")
	if !r.exists("opt/pkg/base") {
		t.Error("the dependency is not installed")
	}
	if leftover := r.layerFiles(); len(leftover) != 0 {
		t.Errorf("the layer has %v", leftover)
	}
	if r.read("etc/machine-id") != "" {
		t.Error("the image has a machine id")
	}
	for name, want := range map[string]bool{"etc/ssh/sshd_config": true, "etc/ssh/ssh_host_rsa_key": false,
		"etc/ssh/ssh_host_rsa_key.pub": false,
		"etc/bind/rndc.key":            false, "etc/iscsi/initiatorname.iscsi": false, "etc/nvme/hostnqn": false,
		"etc/pacemaker/authkey": false} {
		if got := r.exists(name); got != want {
			t.Errorf("%s in the image: %v, want %v", name, got, want)
		}
	}
	if matches, _ := filepath.Glob(filepath.Join(cache, "work/*")); len(matches) != 0 {
		t.Errorf("left behind: %v", matches)
	}

	// Another image of the run finds the index and the package in the cache.
	other := aptRoot(t, repo, cache)
	other.mustApt("two")
	for _, file := range []string{"Packages", "base_1.0_all.deb", "two_1.0_all.deb"} {
		if n := repo.count(file); n != 1 {
			t.Errorf("%s was fetched %d times", file, n)
		}
	}
	// If all packages are installed, no mirror is needed.
	repo.server.Close()
	aptRoot(t, repo, cache).mustApt("one", "two")
}

// A key that was added to the image on purpose is kept.
func TestAptInstallKeepsGivenKeys(t *testing.T) {
	testenv.Slow(t)
	r := aptRoot(t, newAptRepo(t, "one", "two"), "")
	r.write("etc/ssh/ssh_host_rsa_key", "given\n")
	r.mustApt("one")
	r.mustApt("two")
	if got := r.read("etc/ssh/ssh_host_rsa_key"); got != "given\n" {
		t.Errorf("the key is %q now", got)
	}
}

// Programs that services never need as root lose their setuid bit; others keep it.
func TestAptInstallRemovesSetuid(t *testing.T) {
	testenv.Slow(t)
	r := aptRoot(t, newAptRepo(t, "one"), "")
	modes := map[string]fs.FileMode{"bin/su": fs.ModeSetuid, "bin/ssh-agent": fs.ModeSetgid,
		"lib/openssh/ssh-keysign": fs.ModeSetuid, "lib/dbus-1.0/dbus-daemon-launch-helper": fs.ModeSetuid,
		"sbin/mount.nfs": fs.ModeSetuid, "bin/passwd": 0, "bin/sudo": fs.ModeSetuid}
	for name, mode := range modes {
		name = "opt/programs/usr/" + name
		r.write(name, "")
		if err := os.Chmod(r.path(name), 0o755|mode); err != nil {
			t.Fatal(err)
		}
	}
	r.mustApt("one")
	for name := range modes {
		info, err := os.Stat(r.path("opt/programs/usr/" + name))
		if err != nil {
			t.Fatal(err)
		}
		want := fs.FileMode(0o755)
		if name == "bin/sudo" {
			want |= fs.ModeSetuid
		}
		if info.Mode() != want {
			t.Errorf("%s has the mode %v, want %v", name, info.Mode(), want)
		}
	}
}

func TestAptInstallWithoutCache(t *testing.T) {
	testenv.Slow(t)
	repo := newAptRepo(t, "one")
	r := aptRoot(t, repo, "")
	r.mustApt("one")
	if leftover := r.layerFiles(); len(leftover) != 0 {
		t.Errorf("the layer has %v", leftover)
	}
}

// The dependencies of a package are installed, but not the package itself.
func TestAptInstallDependencies(t *testing.T) {
	testenv.Slow(t)
	r := aptRoot(t, newAptRepo(t, "one=base", "base"), t.TempDir())
	if status, out := r.apt("--dependencies-of", "one"); status != 0 {
		t.Fatalf("exit status %d\n%s", status, out)
	}
	if !r.exists("opt/pkg/base") || r.exists("opt/pkg/one") {
		t.Error("the dependency is not installed, or the package is")
	}
	if leftover := r.layerFiles(); len(leftover) != 0 {
		t.Errorf("the layer has %v", leftover)
	}
}

func TestAptInstallURL(t *testing.T) {
	testenv.Slow(t)
	repo := newAptRepo(t, "one=base", "base")
	elsewhere := newAptRepo(t, "vendor=base")
	r := aptRoot(t, repo, t.TempDir())
	r.mustApt("one", elsewhere.server.URL+"/vendor_1.0_all.deb?version=1")
	if !r.exists("opt/pkg/vendor") {
		t.Error("the package from a URL is not installed")
	}
}

func TestAptInstallDamagedCache(t *testing.T) {
	testenv.Slow(t)
	repo := newAptRepo(t, "one")
	cache := t.TempDir()
	aptRoot(t, repo, cache).mustApt("one")
	deb := filepath.Join(cache, "archives/one_1.0_all.deb")
	content, err := os.ReadFile(deb)
	if err != nil {
		t.Fatal(err)
	}
	damaged := bytes.Replace(content, []byte("one\none\n"), []byte("two\ntwo\n"), 1)
	if err := os.WriteFile(deb, damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	r := aptRoot(t, repo, cache)
	r.mustApt("one")
	if strings.Contains(r.read("opt/pkg/one"), "two") {
		t.Error("a damaged package was installed")
	}
	if again, _ := os.ReadFile(deb); !bytes.Equal(again, content) {
		t.Error("the cache is not repaired")
	}
}

// The next build removes the directory of a killed build, but not that of a running
// one.
func TestAptInstallKilledBuild(t *testing.T) {
	testenv.Slow(t)
	repo := newAptRepo(t, "one")
	cache := t.TempDir()
	for _, name := range []string{"work/dead/lock", "work/dead/archives/x.deb", "work/alive/lock",
		"archives/partial.deb", "lists/partial/junk"} {
		path := filepath.Join(cache, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	holder := exec.Command(testenv.Program(t, "flock", "util-linux"), filepath.Join(cache, "work/alive/lock"), "sh", "-c",
		"echo locked; read wait")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer holder.Wait()
	defer stdin.Close()
	if _, err := stdout.Read(make([]byte, 16)); err != nil {
		t.Fatal(err)
	}

	aptRoot(t, repo, cache).mustApt("one")
	if _, err := os.Stat(filepath.Join(cache, "work/dead")); err == nil {
		t.Error("the dead build's directory is still there")
	}
	if _, err := os.Stat(filepath.Join(cache, "work/alive")); err != nil {
		t.Error("the running build's directory is gone")
	}
}

func TestAptInstallParallel(t *testing.T) {
	testenv.Slow(t)
	repo := newAptRepo(t, "one=base", "two=base", "three=base", "base")
	cache := t.TempDir()
	var wg sync.WaitGroup
	roots := map[string]*scratchRoot{}
	for _, name := range []string{"one", "two", "three"} {
		roots[name] = aptRoot(t, repo, cache)
	}
	for name, r := range roots {
		wg.Go(func() {
			if status, out := r.apt(name); status != 0 || !r.exists("opt/pkg/"+name) {
				t.Errorf("%s: exit status %d\n%s", name, status, out)
			}
		})
	}
	wg.Wait()
	for _, file := range []string{"Packages", "base_1.0_all.deb"} {
		if n := repo.count(file); n != 1 {
			t.Errorf("%s was fetched %d times", file, n)
		}
	}
}

// If a repository has changed since the index was read, the index is read again.
func TestAptInstallStaleIndex(t *testing.T) {
	testenv.Slow(t)
	cache := t.TempDir()
	repo := newAptRepo(t, "one")
	aptRoot(t, repo, cache).mustApt("one")
	addPackage(t, repo, "one", "late")
	aptRoot(t, repo, cache).mustApt("late")

	if status, out := aptRoot(t, repo, cache).apt("no-such-package"); status == 0 ||
		!strings.Contains(out, "no-such-package") {
		t.Errorf("a package that does not exist: %d\n%s", status, out)
	}
}

// Lists that an earlier version left compressed in the cache are replaced when the
// repository changes, and so are our lists by those of an earlier version.
func TestAptInstallCompressedLists(t *testing.T) {
	testenv.Slow(t)
	for _, compressedFirst := range []bool{true, false} {
		cache := t.TempDir()
		repo := newAptRepo(t, "one")
		updateCompressed := func(r *scratchRoot) {
			t.Helper()
			if status, out := r.run(nil, "/usr/bin/apt-get", "-o", "Dir::State::Lists=/cache/lists", "-o",
				"Acquire::GzipIndexes=true",
				"-o", "APT::Get::List-Cleanup=false", "-o", "Acquire::Languages=none", "-o", "APT::Sandbox::User=root",
				"--error-on=any", "update"); status != 0 {
				t.Fatalf("exit status %d\n%s", status, out)
			}
		}
		first := aptRoot(t, repo, cache)
		if compressedFirst {
			if err := os.MkdirAll(filepath.Join(cache, "lists/partial"), 0o755); err != nil {
				t.Fatal(err)
			}
			updateCompressed(first)
		}
		first.mustApt("one")
		addPackage(t, repo, "one", "late")
		r := aptRoot(t, repo, cache)
		if !compressedFirst {
			updateCompressed(r)
		}
		r.mustApt("late")
		lists, err := filepath.Glob(filepath.Join(cache, "lists/*_Packages*"))
		if err != nil || len(lists) != 1 {
			t.Errorf("compressed lists first: %v; lists %v, %v", compressedFirst, lists, err)
		}
	}
}

// addPackage replaces the index of a repository by one that also has the last of the
// given packages.
func addPackage(t *testing.T, repo *packageRepo, packages ...string) {
	t.Helper()
	newer := newAptRepo(t, packages...)
	for _, file := range []string{"Packages", "Release", packages[len(packages)-1] + "_1.0_all.deb"} {
		content, err := os.ReadFile(filepath.Join(newer.dir, file))
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(repo.dir, file)
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
		// HTTP has times in seconds.
		if err := os.Chtimes(path, time.Time{}, time.Now().Add(2*time.Second)); err != nil {
			t.Fatal(err)
		}
	}
}
