package bootstrap

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/storetest"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/store"
)

// layerFiles returns the regular files of an image's only layer, with the
// contents of small ones, and the names of all.
func layerFiles(t *testing.T, s *store.Store, e store.Entry) (content map[string]string, names []string) {
	t.Helper()
	img, err := s.Image(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := img.Layers()
	if err != nil || len(layers) != 1 {
		t.Fatalf("%d layers, %v", len(layers), err)
	}
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	content = map[string]string{}
	tr := tar.NewReader(r)
	for {
		h, err := tr.Next()
		if err == io.EOF {
			return content, names
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, h.Name)
		if h.Typeflag == tar.TypeReg && h.Size < 1<<16 {
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			content[h.Name] = string(b)
		}
	}
}

// needMirror skips the test without mmdebstrap and a reachable mirror.
func needMirror(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes half a minute")
	}
	if os.Getuid() != 0 {
		t.Skip("needs root (mmdebstrap's mode without root depends on the host's configuration)")
	}
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	opts := Options{Distro: "debian", Suite: "trixie"}
	if err := opts.complete(); err != nil {
		t.Fatal(err)
	}
	if _, err := findArchive(context.Background(), &opts); err != nil {
		t.Skipf("no package mirror here: %v", err)
	}
}

// Images that are built on a bootstrapped one leave out what it leaves out.
func TestDocumentationIsExcludedByBase(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(testenv.RepoRoot(t), "dockerfiles", "base", "dpkg_reducing_disk_footprint"))
	if err != nil {
		t.Fatal(err)
	}
	for rule := range strings.Lines(dpkgExcludes()) {
		if !strings.Contains(string(rules), rule) {
			t.Errorf("base lacks %q", rule)
		}
	}
	for name, want := range map[string]bool{
		"usr/share/doc/bash/changelog.gz": true, "usr/share/man/man1/bash.1.gz": true,
		"usr/share/locale/de/LC_MESSAGES/bash.mo": true,
		"usr/share/doc/bash/copyright":            false, "usr/share/doc/libgcc-s1": false,
		"usr/share/common-licenses/GPL-3": false, "usr/bin/man": false,
	} {
		if got := isDocumentation(name); got != want {
			t.Errorf("%s is documentation: %v", name, got)
		}
	}
}

// TestDpkgKeepsLicenses installs a package with the rules of a bootstrapped image: dpkg keeps
// its copyright file, and a link to the directory of the package that has the license.
func TestDpkgKeepsLicenses(t *testing.T) {
	dpkg, dpkgDeb := testenv.Program(t, "dpkg", "dpkg"), testenv.Program(t, "dpkg-deb", "dpkg")
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for name, content := range map[string]string{
		"tree/DEBIAN/control":                  "Package: own\nVersion: 1\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a\n",
		"tree/usr/share/doc/own/copyright":     "license",
		"tree/usr/share/doc/own/changelog.gz":  "changes",
		"tree/usr/share/man/man1/own.1.gz":     "manual",
		"root/var/lib/dpkg/status":             "",
		"root/var/lib/dpkg/info/format":        "1\n",
		"root/var/lib/dpkg/updates/.keep":      "",
		"tree/usr/share/locale/de/LC/own.mo":   "translation",
		"tree/usr/share/lintian/overrides/own": "lint",
	} {
		err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("own", filepath.Join(dir, "tree/usr/share/doc/own-data")); err != nil {
		t.Fatal(err)
	}
	args := []string{"--root=" + root, "--force-not-root", "--force-script-chrootless", "--log=/dev/null"}
	for rule := range strings.Lines(dpkgExcludes()) {
		args = append(args, "--"+strings.Replace(strings.TrimSpace(rule), " ", "=", 1))
	}
	archive := filepath.Join(dir, "own.deb")
	for _, cmd := range []*exec.Cmd{
		exec.Command(dpkgDeb, "--root-owner-group", "--build", filepath.Join(dir, "tree"), archive),
		exec.Command(dpkg, append(args, "--install", archive)...),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	var kept []string
	err := filepath.WalkDir(filepath.Join(root, "usr"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			kept = append(kept, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil || !slices.Equal(kept, []string{"/usr/share/doc/own/copyright", "/usr/share/doc/own-data"}) {
		t.Errorf("dpkg keeps %q, %v", kept, err)
	}
}

func TestBootstrapWithEmulator(t *testing.T) {
	t.Setenv("QEMU_CPU", "")
	foreign := "arm64"
	if runtime.GOARCH == foreign {
		t.Skip("this machine needs no emulator for arm64")
	}
	for arch, want := range map[string]bool{foreign: true, debianArch[runtime.GOARCH]: false} {
		env := debianImage{opts: Options{Arch: arch}}.environment()
		if got := slices.Contains(env, "QEMU_CPU=cortex-a72"); got != want {
			t.Errorf("for %s, the environment sets QEMU_CPU: %v", arch, got)
		}
	}
}

func TestBootstrapDebian(t *testing.T) {
	needMirror(t)
	ctx := context.Background()
	s := storetest.Open(t)
	var log bytes.Buffer
	e, err := Bootstrap(ctx, s, Options{Distro: "debian", Suite: "trixie", Progress: &log})
	if err != nil {
		t.Fatalf("%v\n%s", err, log.String())
	}
	if e.Name != "debian:trixie" || e.Kind != store.KindBase || e.Created.IsZero() ||
		time.Since(e.Created) < 0 || e.Platform == "" {
		t.Errorf("entry = %+v", e)
	}
	if err := s.Verify(ctx, e.Digest); err != nil {
		t.Error(err)
	}
	img, err := s.Image(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	c, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(c.Config.Cmd, []string{"bash"}) || len(c.Config.Env) != 1 || c.OS != "linux" ||
		!c.Created.Equal(e.Created) {
		t.Errorf("config = %+v", c)
	}
	files, names := layerFiles(t, s, e)
	if !strings.Contains(files["etc/apt/sources.list.d/debian.sources"], "Suites: trixie") ||
		!strings.Contains(files["etc/apt/sources.list.d/debian.sources"],
			"Signed-By: /usr/share/keyrings/debian-archive-keyring.") {
		t.Errorf("sources:\n%s", files["etc/apt/sources.list.d/debian.sources"])
	}
	if !strings.Contains(files["usr/sbin/policy-rc.d"], "exit 101") || files["etc/apt/apt.conf.d/90kolla-build"] == "" {
		t.Error("settings are missing")
	}
	// No other file contains the sources of the bootstrap, which may have credentials.
	for n := range files {
		if dir := path.Dir(n); (dir == "etc/apt" || dir == "etc/apt/sources.list.d") &&
			n != "etc/apt/sources.list.d/debian.sources" {
			t.Errorf("%s is in the layer", n)
		}
	}
	for _, n := range names {
		for _, bad := range []string{"var/lib/apt/lists/", "var/cache/apt/", "dev/", "etc/resolv.conf", "etc/hostname",
			"etc/apt/sources.list", "var/log/apt/"} {
			if !strings.HasSuffix(n, "/") && (n == bad || strings.HasSuffix(bad, "/") && strings.HasPrefix(n, bad)) {
				t.Errorf("%s is in the layer", n)
			}
		}
	}
	if files["usr/share/doc/base-files/copyright"] == "" || !slices.ContainsFunc(names, func(n string) bool {
		return path.Dir(n) == "usr/share/doc" && !strings.HasSuffix(n, "/")
	}) {
		t.Error("licenses are missing")
	}
	for _, n := range names {
		if !strings.HasSuffix(n, "/") && isDocumentation(n) {
			t.Errorf("%s is in the layer", n)
		}
	}
	if !strings.Contains(log.String(), "installing") {
		t.Errorf("progress:\n%s", log.String())
	}
	if out, err := chrootRun(t, s, e, "apt-get", "update"); err != nil {
		t.Errorf("apt-get update in it: %v\n%s", err, out)
	}
	if os.Getenv("KOLLA_BUILD_TEST_REPRODUCIBLE") == "" {
		return
	}
	second, err := Bootstrap(ctx, storetest.Open(t), Options{Distro: "debian", Suite: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	if second.Digest != e.Digest {
		t.Errorf("two runs give %s and %s", e.Digest, second.Digest)
	}
}

// chrootRun unpacks the image and runs a command in it.
func chrootRun(t *testing.T, s *store.Store, e store.Entry, args ...string) (string, error) {
	t.Helper()
	img, err := s.Image(e.Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, _ := img.Layers()
	r, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	root := t.TempDir()
	cmd := exec.Command("tar", "-x", "-C", root)
	cmd.Stdin = r
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("unpacking: %v\n%s", err, out)
	}
	for _, n := range []string{"/etc/resolv.conf", "/etc/hosts"} {
		b, _ := os.ReadFile(n)
		if err := os.WriteFile(root+n, b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	null, err := os.Create(root + "/dev/null") // enough for apt
	if err != nil {
		t.Fatal(err)
	}
	null.Close()
	os.Chmod(root+"/dev/null", 0o666)
	out, err := exec.Command("chroot", append([]string{root}, args...)...).CombinedOutput()
	return string(out), err
}

func TestErrors(t *testing.T) {
	testenv.Program(t, "mmdebstrap", "mmdebstrap")
	// A port without a listener.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	port := addr[strings.LastIndexByte(addr, ':')+1:]
	mirror := t.TempDir()
	for _, suite := range []string{"trixie", "bookworm"} {
		if err := os.MkdirAll(mirror+"/dists/"+suite, 0o755); err != nil {
			t.Fatal(err)
		}
		text := "Origin: Debian\nSuite: stable\nCodename: " + suite +
			"\nDate: Sat, 09 May 2026 09:12:20 UTC\nArchitectures: amd64 arm64\nComponents: main contrib\nSHA256:\n aa 1 main/x\n"
		if err := os.WriteFile(mirror+"/dists/"+suite+"/Release", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name string
		o    Options
		says []string
	}{
		{"distro", Options{Distro: "fedora", Suite: "40"}, []string{`"fedora"`, "debian and ubuntu can"}},
		{"no suite", Options{Distro: "debian"}, []string{"no suite", "trixie"}},
		{"suite", Options{Distro: "debian", Suite: "trixi", Mirror: "file:" + mirror},
			[]string{`no suite "trixi"`, `did you mean "trixie"?`, "bookworm"}},
		{"far suite", Options{Distro: "debian", Suite: "focal", Mirror: "file:" + mirror},
			[]string{`no suite "focal"`, "it has"}},
		{"bad suite", Options{Distro: "debian", Suite: "../x", Mirror: "file:" + mirror},
			[]string{"not the name of a suite"}},
		{"refused", Options{Distro: "debian", Suite: "trixie", Mirror: "http://joe:secret@" + addr + "/debian"},
			[]string{addr + "/debian", "host 127.0.0.1, port " + port, "connection refused", "--base-mirror URL"}},
		{"no directory", Options{Distro: "debian", Suite: "trixie", Mirror: "file:/nonexistent/mirror"},
			[]string{"no such directory"}},
		{"no URL", Options{Distro: "debian", Suite: "trixie", Mirror: "ftp.example.org"}, []string{"not a URL", "http"}},
		{"arch", Options{Distro: "debian", Suite: "trixie", Arch: "alpha", Mirror: "file:" + mirror},
			[]string{`no architecture "alpha"`, "amd64, arm64"}},
		{"component", Options{Distro: "debian", Suite: "trixie", Arch: "amd64", Components: []string{"universe"},
			Mirror: "file:" + mirror}, []string{`no component "universe"`, "main, contrib"}},
		{"keyring", Options{Distro: "debian", Suite: "trixie", Arch: "amd64", Mirror: "file:" + mirror,
			Keyring: "/nonexistent.gpg"}, []string{"/nonexistent.gpg", "--keyring FILE"}},
		{"special keyring", Options{Distro: "debian", Suite: "trixie", Arch: "amd64", Mirror: "file:" + mirror,
			Keyring: "/dev/zero"}, []string{"not a regular file", "--keyring FILE"}},
		{"no keyring", Options{Distro: "ubuntu", Suite: "trixie", Arch: "amd64", Components: []string{"main"},
			Mirror: "file:" + mirror, Root: mirror}, []string{"ubuntu-archive-keyring.gpg", "ubuntu-keyring"}},
		{"no mirror", Options{Distro: "ubuntu", Suite: "noble", Root: mirror},
			[]string{"no package mirror of ubuntu", "--base-mirror URL"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := storetest.Open(t)
			_, err := Bootstrap(context.Background(), s, c.o)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.says {
				if !strings.Contains(usererr.Text(err), want) {
					t.Errorf("%s\nhas no %q", usererr.Text(err), want)
				}
			}
			if strings.Contains(usererr.Text(err), "secret") {
				t.Errorf("the password is in %v", err)
			}
			if entries, _ := s.Entries(); len(entries) != 0 {
				t.Errorf("entries after an error: %v", entries)
			}
		})
	}
}

func TestNoMmdebstrap(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, err := Bootstrap(context.Background(), storetest.Open(t), Options{Distro: "debian", Suite: "trixie"})
	if err == nil || !strings.Contains(usererr.Hint(err), "apt-get install mmdebstrap") {
		t.Errorf("err = %v", err)
	}
}

// TestBadSignature uses a keyring without the key of the archive.
func TestBadSignature(t *testing.T) {
	needMirror(t)
	s := storetest.Open(t)
	key := t.TempDir() + "/empty.gpg"
	if err := os.WriteFile(key, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Bootstrap(context.Background(), s, Options{Distro: "debian", Suite: "trixie", Keyring: key})
	if err == nil || !strings.Contains(usererr.Hint(err), "--keyring FILE") {
		t.Errorf("err = %v", err)
	}
	_, err = Bootstrap(context.Background(), s, Options{Distro: "debian", Suite: "trixie",
		Packages: []string{"no-such-package"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-package") {
		t.Errorf("err = %v", err)
	}
}

func TestCancel(t *testing.T) {
	needMirror(t)
	ctx, cancel := context.WithCancel(context.Background())
	s := storetest.Open(t)
	_, err := Bootstrap(ctx, s, Options{Distro: "debian", Suite: "trixie", Progress: writerFunc(func(p []byte) {
		if bytes.HasPrefix(p, []byte("I: ")) {
			cancel()
		}
	})})
	if err == nil || ctx.Err() == nil {
		t.Errorf("err = %v, ctx %v", err, ctx.Err())
	}
	if leftover, _ := os.ReadDir(s.Dir() + "/blobs/sha256"); len(leftover) != 0 {
		t.Errorf("%d blobs after a cancelled bootstrap", len(leftover))
	}
}

type writerFunc func([]byte)

func (f writerFunc) Write(p []byte) (int, error) { f(p); return len(p), nil }

func TestAptConfiguration(t *testing.T) {
	for _, c := range []struct {
		name  string
		files map[string]string
		want  hostMirrors
	}{
		{"deb822", map[string]string{
			"etc/apt/sources.list.d/debian.sources": "Types: deb deb-src\n# a comment\nURIs: http://m.example/debian/\nSuites: bookworm\n bookworm-updates\nComponents: main contrib\nSigned-By: /usr/share/keyrings/k.gpg\n\nTypes: deb\nURIs: http://s.example/security\nSuites: bookworm-security\nComponents: main\n",
		}, hostMirrors{"http://m.example/debian", "http://s.example/security", "/usr/share/keyrings/k.gpg"}},
		{"one line", map[string]string{
			"etc/apt/sources.list": "# deb http://no.example/debian bookworm main\ndeb-src http://src.example/debian bookworm main\ndeb [arch=amd64 signed-by=/k.gpg] https://m.example/debian bookworm main non-free # ours\ndeb http://s.example/debian-security bookworm-security main\n",
		}, hostMirrors{"https://m.example/debian", "http://s.example/debian-security", "/k.gpg"}},
		{"mirror file", map[string]string{
			"etc/apt/mirrors/debian.list":           "# first\nhttp://mf.example/debian priority:1\n",
			"etc/apt/sources.list.d/debian.sources": "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\nSuites: bookworm\nComponents: main\n",
		}, hostMirrors{"http://mf.example/debian", "", ""}},
		{"disabled and foreign", map[string]string{
			"etc/apt/sources.list.d/a.sources": "Enabled: no\nTypes: deb\nURIs: http://off.example/debian\nSuites: bookworm\nComponents: main\n",
			"etc/apt/sources.list.d/b.list":    "deb http://other.example/apt stable-tool main\ndeb cdrom:[Debian]/ bookworm main\n",
			"etc/apt/sources.list.d/c.list":    "deb http://good.example/debian bookworm main\n",
			"etc/apt/sources.list.d/d.list~":   "deb http://backup.example/debian bookworm main\n",
		}, hostMirrors{"http://good.example/debian", "", ""}},
		{"key inside", map[string]string{
			"etc/apt/sources.list.d/a.sources": "Types: deb\nURIs: http://m.example/debian\nSuites: bookworm\nComponents: main\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n mQINBF\n -----END PGP PUBLIC KEY BLOCK-----\n",
		}, hostMirrors{"http://m.example/debian", "", ""}},
		{"nothing", nil, hostMirrors{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir() + "/not[a]pattern"
			c.files = cloneWith(c.files, "etc/os-release", "ID=debian\nVERSION_CODENAME=\"bookworm\"\n")
			for n, text := range c.files {
				if err := os.MkdirAll(root+"/"+n[:strings.LastIndexByte(n, '/')], 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(root+"/"+n, []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.MkdirAll(root+"/etc/apt/sources.list.d", 0o755); err != nil {
				t.Fatal(err)
			}
			for _, n := range []string{"0.list", "0.sources"} { // reading one would wait
				if err := syscall.Mkfifo(root+"/etc/apt/sources.list.d/"+n, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := hostArchive(&Options{Distro: "debian", Root: root}); got != c.want {
				t.Errorf("got %+v, want %+v", got, c.want)
			}
			if _, ok := hostArchive(&Options{Distro: "ubuntu", Root: root}); ok {
				t.Error("the mirror of Debian is used for Ubuntu")
			}
		})
	}
}

func cloneWith(m map[string]string, k, v string) map[string]string {
	out := map[string]string{k: v}
	for k, v := range m {
		out[k] = v
	}
	return out
}

func TestSourcesInImage(t *testing.T) {
	b := debianImage{opts: Options{Distro: "debian", Suite: "trixie", Components: []string{"main"}},
		archive: archive{sources: []packageSource{{"http://u:p@m/debian", "trixie"},
			{"http://u:p@m/debian", "trixie-updates"}, {"http://s/sec", "trixie-security"}}}}
	want := "Types: deb\nURIs: http://m/debian\nSuites: trixie trixie-updates\nComponents: main\nSigned-By: /k\n\nTypes: " +
		"deb\nURIs: http://s/sec\nSuites: trixie-security\nComponents: main\nSigned-By: /k\n"
	if got := b.sourcesText("/k"); got != want {
		t.Errorf("got\n%s", got)
	}
	b.opts.Distro, b.opts.Suite = "ubuntu", "jammy"
	if got := b.sourcesText("/k"); b.sourcesFile() != "etc/apt/sources.list" ||
		!strings.HasPrefix(got, "deb [signed-by=/k] http://m/debian trixie main\n") {
		t.Errorf("%s:\n%s", b.sourcesFile(), got)
	}
}

func TestFailures(t *testing.T) {
	for line, want := range map[string]string{
		"W: GPG error: http://m trixie InRelease: EXPKEYSIG 0E98404D386FA1D9 Debian":    "expired",
		"tar: ./x: Cannot write: No space left on device":                               "TMPDIR",
		"E: newuidmap 12 0 1000 1 failed":                                               "without root",
		"E: Failed to fetch http://m/x.deb  Hash Sum mismatch":                          "being updated",
		"E: unable to pick chroot mode automatically (use --mode for manual selection)": "run as root",
		"E: something else": "something else",
	} {
		err := debianImage{}.explain(fmt.Errorf("exit status 1"),
			[]string{"I: automatically chosen mode: unshare", line, "E: apt failed"})
		if !strings.Contains(usererr.Text(err), want) {
			t.Errorf("%q: %s", line, usererr.Text(err))
		}
	}
}
