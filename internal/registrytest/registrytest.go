// Package registrytest provides real registries (the embedded one and Debian's
// docker-registry), clients with short waits, images, and a proxy that injects faults,
// for tests of registries. It must not be imported by anything but tests.
package registrytest

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"
	digest "github.com/opencontainers/go-digest"

	"github.com/kolla-build/kolla-build/internal/testenv"
	"github.com/kolla-build/kolla-build/pkg/registry"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// Main runs the tests of a package without the logins of the user who runs them.
func Main(m *testing.M) {
	if os.Getenv("KOLLA_BUILD_TEST_HOME") != "" { // a process that such a test started, and may kill
		os.Exit(m.Run())
	}
	dir, err := os.MkdirTemp("", "registry-test-home-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	for _, name := range []string{"REGISTRY_AUTH_FILE", "DOCKER_AUTH_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME"} {
		os.Unsetenv(name)
	}
	os.Setenv("DOCKER_CONFIG", dir)
	os.Setenv("KOLLA_BUILD_TEST_HOME", os.Getenv("HOME")) // the Go tool needs it
	os.Setenv("HOME", dir)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// Each runs a test against every registry that is available.
func Each(t *testing.T, test func(t *testing.T, host string)) {
	t.Run("embedded", func(t *testing.T) { test(t, Embedded(t, server.Options{}).Host()) })
	t.Run("debian", func(t *testing.T) { test(t, Debian(t)) })
}

// Embedded starts the embedded registry, on a free port and in its own directory
// unless the options say otherwise.
func Embedded(t testing.TB, opts server.Options) *server.Server {
	t.Helper()
	if opts.Addr == "" {
		opts.Addr = "127.0.0.1:0"
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	s, err := server.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("closing the registry: %v", err)
		}
	})
	return s
}

// Debian runs Debian's docker-registry, whose version of the distribution differs from
// the embedded one. Lines of configuration may be added.
func Debian(t testing.TB, config ...string) (host string) {
	t.Helper()
	bin := testenv.Program(t, "docker-registry", "docker-registry")
	addr := FreeAddr(t)
	dir := t.TempDir()
	path := filepath.Join(dir, "config.yml")
	text := fmt.Sprintf(`version: 0.1
log:
  level: error
  accesslog:
    disabled: true
storage:
  filesystem:
    rootdirectory: %s
  delete:
    enabled: true
http:
  addr: %s
%s
`, filepath.Join(dir, "data"), addr, strings.Join(config, "\n"))
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(bin, "serve", path)
	cmd.Env = append(os.Environ(), "OTEL_TRACES_EXPORTER=none")
	out := &strings.Builder{}
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("end of the output of docker-registry:\n%s", tail(out.String(), 4000))
		}
	})
	for range 400 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatal("docker-registry does not answer")
	return ""
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// FreeAddr returns an address on which nothing listens.
func FreeAddr(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}

// Client makes a client that waits for milliseconds where a real one waits for seconds.
func Client(t testing.TB, opts registry.Options) *registry.Client {
	t.Helper()
	if opts.BaseDelay == 0 {
		opts.BaseDelay = 2 * time.Millisecond
	}
	c, err := registry.New(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Base makes a small image with a config that can be recognized.
func Base(t testing.TB, size int64) v1.Image {
	t.Helper()
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{
		OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{Type: "layers"},
		Config: v1.Config{
			User: "nova", Entrypoint: []string{"dumb-init", "--"}, Cmd: []string{"kolla_start"},
			Labels: map[string]string{"kolla_version": "21.0.0"}, Env: []string{"KOLLA_BASE_DISTRO=debian"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return Image(t, img, size, 1)
}

// Image makes an image that adds layers of random bytes to a base.
func Image(t testing.TB, base v1.Image, size int64, layers int) v1.Image {
	t.Helper()
	img := base
	for range layers {
		l, err := random.Layer(size, types.OCILayer)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.AppendLayers(img, l); err != nil {
			t.Fatal(err)
		}
	}
	return img
}

// Digest returns the digest of an image.
func Digest(t testing.TB, img v1.Image) digest.Digest {
	t.Helper()
	h, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.Digest(h.String())
}

// MustPull reads an image from the registry, with all its layers, and compares digests.
// In name, HOST is replaced by the host.
func MustPull(t testing.TB, host, name string, want digest.Digest) {
	t.Helper()
	img, _, err := Client(t, registry.Options{}).Fetch(t.Context(), strings.Replace(name, "HOST", host, 1), "")
	if err != nil {
		t.Fatal(err)
	}
	if got := Digest(t, img); got != want {
		t.Fatalf("%s has digest %s, want %s", name, got, want)
	}
	ReadAll(t, img)
}

// Run runs a program and returns its standard output.
func Run(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	cmd := exec.Command(name, args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, stderr.String())
	}
	return out
}

// Tool builds a tool that go.mod pins, such as crane, and returns its path.
func Tool(t testing.TB, name string) string {
	t.Helper()
	cmd := exec.Command("go", "tool", "-n", name)
	if home := os.Getenv("KOLLA_BUILD_TEST_HOME"); home != "" { // see Main
		cmd.Env = append(os.Environ(), "HOME="+home)
	}
	out, err := cmd.Output() // standard error has the progress of downloads
	if err != nil {
		t.Fatalf("go tool -n %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// Serve serves HTTP on a free port of this machine.
func Serve(t testing.TB, handler http.Handler) (host string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: handler}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { s.Close() })
	return ln.Addr().String()
}

// ReadAll reads all layers of an image, which verifies their digests.
func ReadAll(t testing.TB, img v1.Image) {
	t.Helper()
	layers, err := img.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers {
		r, err := l.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, r)
		r.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
}

// Tags describes all tags of a registry, one a line: REPOSITORY:TAG DIGEST.
func Tags(t testing.TB, c *registry.Client, host string) string {
	t.Helper()
	paths, err := c.Repositories(t.Context(), host, "")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, path := range paths {
		tags, err := c.Tags(t.Context(), host+"/"+path)
		if err != nil {
			t.Fatal(err)
		}
		for _, tag := range tags {
			d, err := c.Head(t.Context(), host+"/"+path+":"+tag)
			if err != nil {
				t.Fatal(err)
			}
			lines = append(lines, fmt.Sprintf("%s:%s %s", path, tag, d.Digest))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}
