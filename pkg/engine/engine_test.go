package engine

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/docker/cli/cli/config"
	dockercontext "github.com/docker/cli/cli/context"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/zstd"
	"github.com/kolla-build/kolla-build/internal/archivetest"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/testenv"
)

// childOf returns an image with one more layer, of bytes that do not compress.
func childOf(t testing.TB, parent v1.Image, seed uint64, size int) v1.Image {
	t.Helper()
	return withLayer(t, parent, layerOf(t, seed, size))
}

func withLayer(t testing.TB, parent v1.Image, l v1.Layer) v1.Image {
	t.Helper()
	mt, err := l.MediaType()
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.Append(parent, mutate.Addendum{Layer: l, MediaType: mt, History: v1.History{CreatedBy: "child"}})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func tarOf(t testing.TB, name string, data []byte) []byte {
	t.Helper()
	a := &archive{head: []member{{name, data}}}
	var b bytes.Buffer
	if err := a.write(&progressWriter{w: &b}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func layerOf(t testing.TB, seed uint64, size int) v1.Layer {
	t.Helper()
	data := make([]byte, size)
	r := rand.New(rand.NewPCG(seed, 1))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	raw := tarOf(t, "data"+string(rune('a'+seed%26)), data)
	return archivetest.Layer(t, raw, tarball.WithMediaType(types.OCILayer))
}

// engines runs tests with each kind of backend.
func engines(t *testing.T, tests map[string]func(t *testing.T, open func() *Engine, cli func(...string) string)) {
	run := func(opts Options, name string, env []string, args ...string) func(t *testing.T) {
		runTest := func(t *testing.T, test func(t *testing.T, open func() *Engine, cli func(...string) string)) {
			open := func() *Engine {
				e, err := Open(t.Context(), opts)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(e.Close)
				return e
			}
			test(t, open, func(extra ...string) string {
				if name == "podman" && extra[0] == "run" {
					// Its default limits need rights that a container may lack, and crun, its
					// default if it is installed, rejects hybrid control groups.
					extra = append([]string{"--runtime", "runc", "run", "--ulimit", "nofile=1024:1024", "--ulimit",
						"nproc=1024:1024"}, extra[1:]...)
				}
				cmd := exec.Command(name, append(args[:len(args):len(args)], extra...)...)
				cmd.Env = append(os.Environ(), env...)
				out, err := cmd.CombinedOutput()
				if err != nil {
					t.Fatalf("%s %v: %v\n%s", name, extra, err, out)
				}
				return string(out)
			})
		}
		return func(t *testing.T) {
			for name, test := range tests {
				t.Run(name, func(t *testing.T) { runTest(t, test) })
			}
		}
	}
	t.Run("docker", func(t *testing.T) {
		d := testenv.Dockerd(t, "")
		run(Options{Kind: Docker, Addr: d.Addr, Retries: 1}, "docker", nil, "-H", d.Addr)(t)
	})
	t.Run("podman", func(t *testing.T) {
		d, env := testenv.Podman(t)
		run(Options{Kind: Podman, Addr: d.Addr, Retries: 1}, "podman", []string{env})(t)
	})
	t.Run("podman-command", func(t *testing.T) {
		if _, err := os.Stat(strings.TrimPrefix(podmanSocket, "unix://")); err == nil {
			testenv.Missing(t, "this host runs Podman's service, and the command is for those that do not")
		}
		_, env := testenv.Podman(t)
		k, v, _ := strings.Cut(env, "=")
		t.Setenv(k, v)
		run(Options{Kind: Podman, Retries: 1}, "podman", nil)(t)
	})
}

func load(t *testing.T, e *Engine, r Request) Loaded {
	t.Helper()
	res, err := e.Load(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestEngines runs the same tests with each kind of backend.
func TestEngines(t *testing.T) {
	engines(t, map[string]func(*testing.T, func() *Engine, func(...string) string){
		"load": testLoad, "removed layers": testLoadOnRemovedLayers, "save": testSave, "zstd": testZstdLayer,
		"interrupted": testInterrupted,
	})
}

func testLoad(t *testing.T, open func() *Engine, cli func(...string) string) {
	base := testenv.Busybox(t, nil)
	parent := childOf(t, base, 1, 300_000)
	kid := childOf(t, parent, 2, 20_000)
	e := open()
	if e.Has("kolla/base:t") {
		t.Fatal("an empty engine has an image")
	}
	var reported int64
	whole := load(t, e, Request{Ref: "kolla/base:t", Image: parent, Progress: func(sent, total int64) {
		if sent > total {
			t.Errorf("%d of %d bytes sent", sent, total)
		}
		reported = sent
	}})
	if whole.Layers != 2 || whole.Reused != 0 || whole.Bytes < 300_000 || reported == 0 {
		t.Errorf("a new image: %+v, progress %d", whole, reported)
	}
	part := load(t, e, Request{Ref: "kolla/nova-api:t", Image: kid, Ancestors: []v1.Image{parent, base}})
	if part.Layers != 1 || part.Reused != 2 || part.Bytes > 100_000 {
		t.Errorf("child of a present image: %+v", part)
	}
	if res := load(t, e, Request{Ref: "kolla/nova-api:t", Image: kid}); !res.Present {
		t.Errorf("loaded again: %+v", res)
	}
	if res := load(t, e, Request{Ref: "registry.test:4000/kolla/nova-api:u", Image: kid}); !res.Tagged || res.Bytes != 0 {
		t.Errorf("under another name: %+v", res)
	}
	// The engine lists the images, and so does a new connection.
	list := cli("images", "--format", "{{.Repository}}:{{.Tag}}")
	for _, want := range []string{"kolla/base:t\n", "kolla/nova-api:t\n", "registry.test:4000/kolla/nova-api:u\n"} {
		if !strings.Contains(list, want) {
			t.Errorf("images lists no %q:\n%s", want, list)
		}
	}
	if out := cli("run", "--rm", "--network", "none", "kolla/nova-api:t", "ls", "/"); !strings.Contains(out, "datab") ||
		!strings.Contains(out, "datac") {
		t.Errorf("a container sees\n%s", out)
	}
	second := open()
	for _, ref := range []string{"kolla/base:t", "kolla/nova-api:t", "registry.test:4000/kolla/nova-api:u"} {
		if !second.Has(ref) {
			t.Errorf("after a new connection, %s does not exist", ref)
		}
	}
	if res := load(t, second, Request{Ref: "kolla/nova-api:t", Image: kid}); !res.Present {
		t.Errorf("after a new connection, loaded again: %+v", res)
	}
	// The name gets an image that extends its previous one.
	grown := childOf(t, kid, 3, 30_000)
	if res := load(t, second, Request{Ref: "kolla/nova-api:t", Image: grown}); res.Layers != 1 || res.Reused != 3 {
		t.Errorf("extended image: %+v", res)
	}
}

// testLoadOnRemovedLayers loads an image whose parent was removed after the list of
// images was read: all layers are sent.
func testLoadOnRemovedLayers(t *testing.T, open func() *Engine, cli func(...string) string) {
	parent := childOf(t, testenv.Busybox(t, nil), 4, 50_000)
	kid := childOf(t, parent, 5, 10_000)
	e := open()
	load(t, e, Request{Ref: "kolla/away:t", Image: parent})
	cli("rmi", "kolla/away:t")
	if res := load(t, e, Request{Ref: "kolla/kid:t", Image: kid, Ancestors: []v1.Image{parent}}); res.Layers != 3 {
		t.Errorf("loaded %+v", res)
	}
	if out := cli("run", "--rm", "--network", "none", "kolla/kid:t", "ls", "/"); !strings.Contains(out, "datae") {
		t.Errorf("a container sees\n%s", out)
	}
}

func testSave(t *testing.T, open func() *Engine, cli func(...string) string) {
	img := childOf(t, testenv.Busybox(t, nil), 6, 10_000)
	want, err := img.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	e := open()
	load(t, e, Request{Ref: "kolla/save:t", Image: img})
	r, err := e.Save(t.Context(), "kolla/save:t")
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "saved.tar")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, r); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(r.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	reread, err := tarball.ImageFromPath(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := reread.ConfigName(); err != nil || got != want {
		t.Errorf("saved %v, %v; loaded %v", got, err, want)
	}
	if _, err := e.Save(t.Context(), "kolla/none:t"); err == nil {
		if _, err = io.Copy(io.Discard, r); err == nil {
			t.Error("a missing image was saved")
		}
	}
}

// testZstdLayer loads a layer that old versions of Docker cannot decompress.
func testZstdLayer(t *testing.T, open func() *Engine, cli func(...string) string) {
	enc, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	raw := tarOf(t, "zdata", []byte("read me"))
	l := &zstdLayer{Layer: static.NewLayer(enc.EncodeAll(raw, nil), types.OCILayerZStd), raw: raw}
	img := withLayer(t, testenv.Busybox(t, nil), l)
	load(t, open(), Request{Ref: "kolla/z:t", Image: img})
	if out := cli("run", "--rm", "--network", "none", "kolla/z:t", "cat", "/zdata"); strings.TrimSpace(out) != "read me" {
		t.Errorf("a container reads %q", out)
	}
}

type zstdLayer struct {
	v1.Layer
	raw []byte
}

func (l *zstdLayer) DiffID() (v1.Hash, error) {
	sum := sha256.Sum256(l.raw)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}, nil
}

func (l *zstdLayer) Uncompressed() (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(l.raw)), nil
}

func testInterrupted(t *testing.T, open func() *Engine, cli func(...string) string) {
	img := childOf(t, testenv.Busybox(t, nil), 7, 8<<20)
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop it")
	_, err := open().Load(ctx, Request{Ref: "kolla/x:t", Image: img, Progress: func(int64, int64) { cancel(stop) }})
	if !errors.Is(err, stop) {
		t.Errorf("interrupted: %v", err)
	}
	if e := open(); e.Has("kolla/x:t") {
		t.Error("an incomplete image has a name")
	}
	load(t, open(), Request{Ref: "kolla/x:t", Image: img})
}

// TestEngineDies kills the daemon during a load.
func TestEngineDies(t *testing.T) {
	d := testenv.Dockerd(t, "")
	img := childOf(t, testenv.Busybox(t, nil), 8, 8<<20)
	e, err := Open(t.Context(), Options{Kind: Docker, Addr: d.Addr})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Load(t.Context(), Request{Ref: "kolla/x:t", Image: img,
		Progress: func(int64, int64) { _ = d.Process.Kill() }})
	var failed *Error
	if !errors.As(err, &failed) || !failed.Lost || !strings.Contains(failed.Hint(), "start the engine") {
		t.Fatalf("%v", err)
	}
	if _, err := Open(t.Context(), Options{Kind: Docker, Addr: d.Addr}); err == nil {
		t.Error("a dead daemon answered")
	}
}

func TestEngineFull(t *testing.T) {
	testenv.Root(t)
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=24m"); err != nil {
		testenv.Missing(t, "no tmpfs can be mounted here: "+err.Error())
	}
	t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
	d := testenv.Dockerd(t, filepath.Join(dir, "data"))
	img := childOf(t, testenv.Busybox(t, nil), 9, 24<<20)
	e, err := Open(t.Context(), Options{Kind: Docker, Addr: d.Addr})
	if err != nil {
		t.Fatal(err)
	}
	_, err = e.Load(t.Context(), Request{Ref: "kolla/x:t", Image: img})
	var failed *Error
	if !errors.As(err, &failed) || !failed.Full || !strings.Contains(failed.Hint(), "docker image prune") {
		t.Fatalf("%v", err)
	}
}

func TestUnavailable(t *testing.T) {
	var u *UnavailableError
	_, err := Open(t.Context(), Options{Kind: Docker, Addr: "unix:///no/such.sock"})
	if !errors.As(err, &u) || !u.Absent || !strings.Contains(u.Hint(), "systemctl start docker") {
		t.Errorf("no daemon: %v", err)
	}
	_, err = Open(t.Context(), Options{Kind: Podman, Addr: "unix:///no/such.sock"})
	if !errors.As(err, &u) || !strings.Contains(u.Hint(), "--podman_base_url") {
		t.Errorf("no service: %v", err)
	}
	if err := unavailable(Docker, "x", fs.ErrPermission); !errors.As(err, &u) || !u.Denied ||
		!strings.Contains(u.Hint(), "usermod -aG docker") {
		t.Errorf("no permission: %v", err)
	}
	if _, err := Open(t.Context(), Options{Kind: Docker, Addr: "docker.sock"}); err == nil ||
		!strings.Contains(err.Error(), "not an address") {
		t.Errorf("no scheme: %v", err)
	}
}

func TestEndpoints(t *testing.T) {
	dir, old := t.TempDir(), config.Dir()
	t.Setenv("DOCKER_CONFIG", dir) // of the docker command
	config.SetDir(dir)             // of this process, which reads the variable only once
	t.Cleanup(func() { config.SetDir(old) })
	env := map[string]string{}
	getenv := func(k string) string { return env[k] }
	check := func(want endpoint) {
		t.Helper()
		got, err := dockerEndpoint(getenv)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v; want %+v", got, err, want)
		}
	}
	check(endpoint{addr: dockerSocket})
	server := httptest.NewTLSServer(http.NotFoundHandler())
	server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	certs := t.TempDir()
	if err := os.WriteFile(filepath.Join(certs, "ca.pem"), ca, 0o600); err != nil {
		t.Fatal(err)
	}
	env["DOCKER_HOST"], env["DOCKER_TLS_VERIFY"], env["DOCKER_CERT_PATH"] = "tcp://h:2376", "1", certs
	check(endpoint{addr: "tcp://h:2376", tls: &dockercontext.TLSData{CA: ca}, verify: true})
	if err := os.Symlink("/dev/zero", filepath.Join(certs, "key.pem")); err != nil {
		t.Fatal(err)
	}
	if _, err := dockerEndpoint(getenv); !errors.Is(err, inputfile.ErrNotRegular) {
		t.Errorf("an endless key: %v", err)
	}
	clear(env)
	env["DOCKER_CONTEXT"] = "rootless"
	if _, err := dockerEndpoint(getenv); err == nil || !strings.Contains(err.Error(), `context "rootless"`) {
		t.Errorf("missing context: %v", err)
	}
	// The docker command writes the context.
	docker := testenv.Program(t, "docker", "docker.io")
	if out, err := exec.Command(docker, "context", "create", "rootless", "--docker",
		"host=unix:///run/user/1/docker.sock").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check(endpoint{addr: "unix:///run/user/1/docker.sock", verify: true})
	if out, err := exec.Command(docker, "context", "create", "tls", "--docker",
		"host=tcp://h:2376,skip-tls-verify=true,ca="+filepath.Join(certs, "ca.pem")).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	env["DOCKER_CONTEXT"] = "tls"
	check(endpoint{addr: "tcp://h:2376", tls: &dockercontext.TLSData{CA: ca}})
	clear(env)
	if out, err := exec.Command(docker, "context", "use", "rootless").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	check(endpoint{addr: "unix:///run/user/1/docker.sock", verify: true})
}

// TestSlowPodman opens a podman command that takes long to start, as the first one
// after a boot does (field case 23).
func TestSlowPodman(t *testing.T) {
	testenv.Slow(t)
	if _, err := os.Stat(strings.TrimPrefix(podmanSocket, "unix://")); err == nil {
		testenv.Missing(t, "this host runs Podman's service, and the command is for hosts that do not")
	}
	dir := t.TempDir()
	script := "#!/bin/sh\nsleep 1\n[ $1 = images ] && echo '[]' || echo 4.9.9+ds1\n"
	if err := os.WriteFile(filepath.Join(dir, "podman"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	notices := make(chan string, 10)
	opts := Options{Kind: Podman, Notice: func(line string) { notices <- line }, answerTimeout: time.Minute,
		noticeDelay: time.Millisecond}
	e, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if line := <-notices; !strings.Contains(line, "waiting for Podman") || e.String() != "Podman 4.9.9" {
		t.Errorf("%s: %s", e, line)
	}
	opts.answerTimeout = 50 * time.Millisecond
	var u *UnavailableError
	if _, err := Open(t.Context(), opts); !errors.As(err, &u) || !strings.Contains(err.Error(), "no answer within") ||
		!strings.Contains(u.Hint(), "run again") {
		t.Errorf("a podman that does not answer: %v", err)
	}
}

func TestNames(t *testing.T) {
	for _, c := range []struct {
		kind      Kind
		ref, want string
	}{
		{Docker, "kolla/nova:t", "kolla/nova:t"},
		{Docker, "r.test:4000/kolla/nova:t", "r.test:4000/kolla/nova:t"},
		{Docker, "nova", "nova:latest"},
		{Podman, "kolla/nova:t", "localhost/kolla/nova:t"},
		{Podman, "quay.io/kolla/nova:t", "quay.io/kolla/nova:t"},
		{Podman, "localhost/nova:t", "localhost/nova:t"},
		{Podman, "nova", "localhost/nova:latest"},
	} {
		if got, err := (&Engine{kind: c.kind}).name(c.ref); err != nil || got != c.want {
			t.Errorf("%s: %s is %s, %v; want %s", c.kind, c.ref, got, err, c.want)
		}
	}
}
