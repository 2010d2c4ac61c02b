package faults

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kolla-build/kolla-build/internal/faultproxy"
	"github.com/kolla-build/kolla-build/internal/standin"
	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/build"
)

// packageManager installs a package of a small repository with a real program.
type packageManager struct {
	name string
	// install installs the package from the repository at a URL into an empty root, and
	// returns the file of the package and the output.
	install func(t *testing.T, at string, verify bool) (file, output string, err error)
	serve   http.Handler
}

// packageContent is the file of the package: large enough that a fault in the middle
// does not affect its metadata.
var packageContent = string(noise("package", 200_000))

// TestPackageManagers runs the package managers of our images behind the fault proxy.
// The installed files are complete. When they fail, a build tries the step again.
// Unsigned repositories are refused, and such a step is not tried again.
func TestPackageManagers(t *testing.T) {
	if testing.Short() {
		t.Skip("runs dnf and apt many times")
	}
	testenv.Root(t)
	for _, pm := range []packageManager{dnf(t), apt(t)} {
		t.Run(pm.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(pm.serve)
			t.Cleanup(server.Close)
			proxy, err := faultproxy.Start(faultproxy.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { proxy.Close() })
			at, target := "http://"+proxy.Addr(), strings.TrimPrefix(server.URL, "http://")

			proxy.Set(faultproxy.Options{Target: target})
			if got, out, err := pm.install(t, at, false); err != nil || got != packageContent {
				t.Fatalf("undisturbed: %v\n%s", err, out)
			}
			if got, out, err := pm.install(t, at, true); err == nil || got != "" {
				t.Errorf("a repository that is not signed is accepted\n%s", out)
			} else if build.TransientFault(strings.Split(out, "\n")) {
				t.Errorf("a repository that is not signed would be tried again:\n%s", out)
			}
			failed := 0
			faults, often := []faultproxy.Fault{faultproxy.Corrupt, faultproxy.Reset}, []int{0}
			if os.Getenv("KOLLA_FAULTS") != "" {
				// Once, which the program may survive, and permanently.
				faults, often = faultproxy.All(), []int{1, 0}
			}
			for _, fault := range faults {
				for name, match := range map[string]func(*http.Request) bool{
					"metadata": func(r *http.Request) bool { return !isPackage(r.URL.Path) },
					"package":  func(r *http.Request) bool { return isPackage(r.URL.Path) },
				} {
					for _, times := range often {
						proxy.Set(faultproxy.Options{Target: target, Faults: []faultproxy.Fault{fault}, Rate: 1, Max: times,
							Match: match, Stall: 3 * time.Second, Seed: uint64(failed)})
						got, out, err := pm.install(t, at, false)
						what := fmt.Sprintf("%s in %s (%d times)", fault, name, times)
						switch {
						case err == nil && got != packageContent:
							t.Errorf("%s: the package is not whole\n%s", what, lastLines(out, 20))
						case err != nil && got != "" && got != packageContent:
							t.Errorf("%s: a part of the package is installed\n%s", what, lastLines(out, 20))
						case err == nil:
						case !build.TransientFault(strings.Split(out, "\n")):
							t.Errorf("%s: a build would not try again:\n%s", what, lastLines(out, 20))
						default:
							failed++
						}
					}
				}
			}
			if failed == 0 {
				t.Error("no fault made it fail")
			}
			t.Logf("%d faults made it fail", failed)
		})
	}
}

func isPackage(path string) bool {
	return strings.HasSuffix(path, ".rpm") || strings.HasSuffix(path, ".deb")
}

// dnf is Debian's dnf with a repository of createrepo_c.
func dnf(t *testing.T) packageManager {
	t.Helper()
	program := testenv.Program(t, "dnf", "dnf")
	testenv.Program(t, "rpmbuild", "rpm")
	testenv.Program(t, "createrepo_c", "createrepo-c")
	dir := t.TempDir()
	if err := standin.WriteRPMs(dir, standin.RPM{Name: "pack",
		Files: map[string]string{"usr/share/pack": packageContent}}); err != nil {
		t.Fatal(err)
	}
	return packageManager{name: "dnf", serve: http.FileServer(http.Dir(dir)),
		install: func(t *testing.T, at string, verify bool) (string, string, error) {
			root := t.TempDir()
			repos := filepath.Join(root, "repos")
			check := 0
			if verify {
				check = 1
			}
			for _, dir := range []string{"log", "root"} {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			// Few retries, as in the images: a build repeats a failed step itself.
			text := fmt.Sprintf("[pack]\nname=pack\nbaseurl=%s\ngpgcheck=%d\nretries=2\ntimeout=2\nminrate=1\n", at, check)
			put(t, filepath.Join(repos, "x.repo"), text)
			cmd := exec.Command(program, "--setopt=reposdir="+repos, "--setopt=cachedir="+filepath.Join(root, "cache"),
				"--setopt=logdir="+filepath.Join(root, "log"), "--setopt=persistdir="+filepath.Join(root, "persist"),
				"--setopt=plugins=0", "--installroot="+filepath.Join(root,
					"root"), "--releasever=10", "--forcearch=x86_64", "-y", "install", "pack")
			cmd.Env = append(os.Environ(), "http_proxy=", "no_proxy=*", "LC_ALL=C")
			out, err := cmd.CombinedOutput()
			file, _ := os.ReadFile(filepath.Join(root, "root", "usr/share/pack"))
			return string(file), string(out), err
		}}
}

// apt is apt with a repository that has checksums and no signature.
func apt(t *testing.T) packageManager {
	t.Helper()
	program := testenv.Program(t, "apt-get", "apt")
	server, err := standin.Start(standin.Content{Suite: "trixie"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	server.AddDebs(standin.Deb{Name: "pack", Files: map[string]string{"usr/share/pack": packageContent}})
	target, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	return packageManager{name: "apt", serve: httputil.NewSingleHostReverseProxy(target),
		install: func(t *testing.T, at string, verify bool) (string, string, error) {
			root := t.TempDir()
			source := strings.ReplaceAll(server.AptSource(), server.URL(), at)
			if verify {
				source = strings.ReplaceAll(source, "Trusted: yes", "Trusted: no")
			}
			put(t, filepath.Join(root, "sources.d", "x.sources"), source)
			put(t, filepath.Join(root, "status"), "")
			for _, dir := range []string{"lists/partial", "cache/archives/partial", "root"} {
				if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			options := []string{"-q", "-y", "-o", "Dir::Etc::sourcelist=/dev/null", "-o",
				"Dir::Etc::sourceparts=" + filepath.Join(root,
					"sources.d"), "-o", "Dir::State::lists=" + filepath.Join(root, "lists"), "-o",
				"Dir::Cache=" + filepath.Join(root, "cache"),
				"-o", "Dir::State::status=" + filepath.Join(root,
					"status"), "-o", "APT::Sandbox::User=root", "-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=2", "-o",
				"Acquire::Languages=none", "-o", "Acquire::http::Proxy=DIRECT"}
			run := func(args ...string) (string, error) {
				cmd := exec.Command(program, append(options, args...)...)
				cmd.Env = append(os.Environ(), "http_proxy=", "LC_ALL=C")
				out, err := cmd.CombinedOutput()
				return string(out), err
			}
			out, err := run("-o", "APT::Update::Error-Mode=any", "update")
			if err != nil {
				return "", out, err
			}
			more, err := run("--download-only", "install", "pack")
			out += more
			debs, _ := filepath.Glob(filepath.Join(root, "cache", "archives", "*.deb"))
			if err != nil || len(debs) != 1 {
				return "", out, fmt.Errorf("downloaded %v: %w", debs, err)
			}
			if more, err := exec.Command("dpkg-deb", "-x", debs[0], filepath.Join(root, "root")).CombinedOutput(); err != nil {
				return "", out + string(more), err
			}
			file, _ := os.ReadFile(filepath.Join(root, "root", "usr/share/pack"))
			return string(file), out, nil
		}}
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
