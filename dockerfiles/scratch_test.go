package dockerfiles_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// A scratchRoot is a directory that in-image scripts see as "/". The host's programs
// are mounted read-only; all other files are the test's. Scripts run in new namespaces, as
// root or, without privileges, as a user that root is mapped to.
type scratchRoot struct {
	t     *testing.T
	dir   string
	cache string // a directory of the host that is mounted at /cache, "" for none
}

// enter mounts the host's programs below $1, the directory $1/local, if it exists, as their
// /usr/local, and the cache $2, if any. It runs the rest of its arguments there.
const enter = `
root=$1; cache=$2; shift 2
mount --rbind /usr "$root/usr"
mount -o remount,bind,ro "$root/usr" 2>/dev/null || true
mount --rbind /dev "$root/dev"
mount --rbind /proc "$root/proc"
if [ -d "$root/local" ]; then mount --bind "$root/local" "$root/usr/local"; fi
if [ -n "$cache" ]; then mount --bind "$cache" "$root/cache"; fi
exec chroot "$root" "$@"
`

func unshareArgs() []string {
	args := []string{"--mount", "--propagation", "private"}
	if os.Getuid() != 0 {
		args = append(args, "--user", "--map-root-user")
	}
	return args
}

var canUnshare = sync.OnceValue(func() error {
	out, err := exec.Command("unshare", append(unshareArgs(), "true")...).CombinedOutput()
	if err != nil {
		return errors.New("this machine does not permit namespaces: " + strings.TrimSpace(string(out)))
	}
	return nil
})

// newScratchRoot returns a root with the given programs of the host. It skips the test
// if they or namespaces are not available.
func newScratchRoot(t *testing.T, programs ...string) *scratchRoot {
	t.Helper()
	if err := canUnshare(); err != nil {
		testenv.Missing(t, err.Error())
	}
	for _, program := range programs {
		if _, err := os.Stat(program); err != nil {
			testenv.Missing(t, program+" is not on this machine")
		}
	}
	r := &scratchRoot{t: t, dir: t.TempDir()}
	for _, dir := range []string{"usr", "dev", "proc", "etc", "tmp", "run", "root", "opt", "var/lib",
		"var/log", "var/cache"} {
		if err := os.MkdirAll(r.path(dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// /bin, /lib, …: links into /usr where the host has merged them.
	for _, name := range []string{"bin", "sbin", "lib", "lib64", "lib32"} {
		if target, err := os.Readlink("/" + name); err == nil {
			if err := os.Symlink(target, r.path(name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	r.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"+r.user("keystone", "42425"))
	r.write("etc/group", "root:x:0:\n"+r.group("keystone", "42425")+r.group("kolla", "42400"))
	return r
}

// user returns a line of passwd. Without privileges, only one ID is available.
func (r *scratchRoot) user(name, id string) string {
	if os.Getuid() != 0 {
		id = "0"
	}
	return name + ":x:" + id + ":" + id + "::/:/bin/sh\n"
}

func (r *scratchRoot) group(name, id string) string {
	if os.Getuid() != 0 {
		id = "0"
	}
	return name + ":x:" + id + ":\n"
}

func (r *scratchRoot) path(name string) string { return filepath.Join(r.dir, name) }

func (r *scratchRoot) write(name, content string) {
	r.t.Helper()
	if err := os.MkdirAll(filepath.Dir(r.path(name)), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(r.path(name), []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// install copies one of this tree's scripts into the root.
func (r *scratchRoot) install(source, dest string) {
	r.t.Helper()
	content, err := os.ReadFile(source)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write(dest, string(content))
	if err := os.Chmod(r.path(dest), 0o755); err != nil {
		r.t.Fatal(err)
	}
}

func (r *scratchRoot) read(name string) string {
	r.t.Helper()
	content, err := os.ReadFile(r.path(name))
	if err != nil {
		r.t.Fatal(err)
	}
	return string(content)
}

func (r *scratchRoot) exists(name string) bool {
	_, err := os.Lstat(r.path(name))
	return err == nil
}

// command returns a command that will run in the root with just env.
func (r *scratchRoot) command(env []string, args ...string) *exec.Cmd {
	full := append(unshareArgs(), "sh", "-c", enter, "sh", r.dir, r.cache)
	cmd := exec.Command("unshare", append(full, args...)...)
	cmd.Env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"},
		env...)
	return cmd
}

// run returns the exit status and the output, both streams together.
func (r *scratchRoot) run(env []string, args ...string) (int, string) {
	r.t.Helper()
	var out bytes.Buffer
	cmd := r.command(env, args...)
	cmd.Stdout = &out
	cmd.Stderr = io.Writer(&out)
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		r.t.Fatalf("running %v: %v", args, err)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// oursAndKollas returns our script and, if KOLLA_CHECKOUT names a checkout of Kolla, Kolla's
// script, by owner. Both must have the same effects.
func oursAndKollas(ours, kollas string) map[string]string {
	scripts := map[string]string{"ours": ours}
	if dir := os.Getenv("KOLLA_CHECKOUT"); dir != "" {
		for _, tree := range []string{"kolla/docker", "docker"} {
			file := filepath.Join(dir, tree, kollas)
			if _, err := os.Stat(file); err == nil {
				scripts["Kolla's"] = file
			}
		}
	}
	return scripts
}

// A packageRepo is a package repository on its own web server, which counts
// what is fetched from it.
type packageRepo struct {
	server *httptest.Server
	dir    string

	mu      sync.Mutex
	fetched map[string]int
}

func (repo *packageRepo) serve(t *testing.T) {
	handler := http.FileServer(http.Dir(repo.dir))
	repo.fetched = map[string]int{}
	repo.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		repo.mu.Lock()
		repo.fetched[filepath.Base(r.URL.Path)]++
		repo.mu.Unlock()
		handler.ServeHTTP(w, r)
	}))
	t.Cleanup(repo.server.Close)
}

func (repo *packageRepo) count(file string) int {
	repo.mu.Lock()
	defer repo.mu.Unlock()
	return repo.fetched[file]
}
