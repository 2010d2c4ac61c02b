package engine

import (
	"cmp"
	"context"
	"io"
	"os/exec"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/kolla-build/kolla-build/internal/testenv"
)

// snapshotter is one that works on any file system.
const snapshotter = "native"

func openContainerd(t *testing.T, d *testenv.Daemon, namespace string) *Engine {
	t.Helper()
	env := map[string]string{"CONTAINERD_ADDRESS": strings.TrimPrefix(d.Addr, "unix://"),
		"CONTAINERD_NAMESPACE":   namespace,
		"CONTAINERD_SNAPSHOTTER": snapshotter}
	e, err := Open(t.Context(), Options{Kind: Containerd, Getenv: func(name string) string { return env[name] }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

// containerdTest is a containerd, and images to load into it.
type containerdTest struct {
	daemon      *testenv.Daemon
	base, child v1.Image
}

// ctr runs containerd's own client, and returns its output.
func (c *containerdTest) ctr(t *testing.T, namespace string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	address := strings.TrimPrefix(c.daemon.Addr, "unix://")
	cmd := exec.CommandContext(ctx, testenv.Program(t, "ctr", "containerd"),
		append([]string{"--address", address, "--namespace", namespace}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("ctr %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestContainerd loads images into Debian's containerd and starts a container with ctr.
func TestContainerd(t *testing.T) {
	base := testenv.Busybox(t, nil)
	layer, err := random.Layer(200_000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	child, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	c := &containerdTest{daemon: testenv.Containerd(t), base: base, child: child}
	for _, namespace := range []string{"", "k8s.io"} {
		t.Run("load into namespace "+cmp.Or(namespace, "default"), func(t *testing.T) { c.load(t, namespace) })
	}
	t.Run("ancestors", c.ancestors)
	t.Run("collected", c.collected)
	t.Run("run", c.run)
	t.Run("not running", containerdNotRunning)
}

func (c *containerdTest) ancestors(t *testing.T) {
	e := openContainerd(t, c.daemon, "other")
	if _, err := e.Load(t.Context(), Request{Ref: "base:t", Image: c.base}); err != nil {
		t.Fatal(err)
	}
	loaded, err := e.Load(t.Context(), Request{Ref: "nova:t", Image: c.child, Ancestors: nil})
	if err != nil {
		t.Fatal(err)
	}
	if loaded.Layers == 0 {
		t.Errorf("%+v", loaded)
	}
	// The child replaces it, so the first layer exists.
	if loaded, err = e.Load(t.Context(), Request{Ref: "base:t", Image: mustAppend(t, c.base)}); err != nil ||
		loaded.Reused != 1 || loaded.Layers != 1 {
		t.Errorf("a child: %+v, %v", loaded, err)
	}
}

func (c *containerdTest) collected(t *testing.T) {
	// Removing an image runs the garbage collector, which must keep the others.
	c.ctr(t, "k8s.io", "images", "rm", "--sync", "docker.io/library/nova:u")
	e := openContainerd(t, c.daemon, "k8s.io")
	r, err := e.Save(t.Context(), "nova:t")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if n, err := io.Copy(io.Discard, r); err != nil || n < 200_000 {
		t.Errorf("saved %d bytes, %v", n, err)
	}
}

func (c *containerdTest) run(t *testing.T) {
	testenv.Program(t, "runc", "runc")
	out := c.ctr(t, "k8s.io", "run", "--rm", "--snapshotter", snapshotter, "docker.io/library/nova:t", "c1",
		"/bin/busybox", "echo", "started")
	if !strings.Contains(out, "started") {
		t.Errorf("ctr run printed %q", out)
	}
}

func containerdNotRunning(t *testing.T) {
	_, err := Open(t.Context(), Options{Kind: Containerd, Addr: "unix:///nothing/containerd.sock"})
	if err == nil || !strings.Contains(err.Error(), "/nothing/containerd.sock") {
		t.Errorf("error %v", err)
	}
	if _, err := Open(t.Context(), Options{Kind: Containerd, Addr: "tcp://localhost:1"}); err == nil {
		t.Error("a TCP address was accepted")
	}
}

func (c *containerdTest) load(t *testing.T, namespace string) {
	e := openContainerd(t, c.daemon, namespace)
	if !strings.HasPrefix(e.String(), "containerd 1.") && !strings.HasPrefix(e.String(), "containerd 2.") {
		t.Errorf("version %s", e)
	}
	if namespace == "" {
		namespace = "default"
	}
	if !strings.Contains(e.Addr(), namespace) {
		t.Errorf("address %s", e.Addr())
	}
	loaded, err := e.Load(t.Context(), Request{Ref: "site.example:4000/kolla/base:t", Image: c.base})
	if err != nil || loaded.Layers != 1 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	loaded, err = e.Load(t.Context(), Request{Ref: "nova:t", Image: c.child})
	if err != nil || loaded.Layers != 2 {
		t.Fatalf("%+v, %v", loaded, err)
	}
	names := c.ctr(t, namespace, "images", "ls")
	want, _ := c.child.Digest()
	for _, text := range []string{"site.example:4000/kolla/base:t", "docker.io/library/nova:t", want.String()} {
		if !strings.Contains(names, text) {
			t.Errorf("ctr images ls does not show %s:\n%s", text, names)
		}
	}
	if out := c.ctr(t, namespace, "images", "check"); strings.Contains(out, "incomplete") {
		t.Errorf("ctr images check:\n%s", out)
	}
	// A later process finds the image, and a second name needs no content.
	e = openContainerd(t, c.daemon, namespace)
	if second, err := e.Load(t.Context(), Request{Ref: "nova:t", Image: c.child}); err != nil || !second.Present {
		t.Errorf("loaded again: %+v, %v", second, err)
	}
	if tagged, err := e.Load(t.Context(), Request{Ref: "nova:u", Image: c.child}); err != nil || !tagged.Tagged {
		t.Errorf("another name: %+v, %v", tagged, err)
	}
}

func mustAppend(t *testing.T, base v1.Image) v1.Image {
	t.Helper()
	layer, err := random.Layer(1000, types.OCILayer)
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	return img
}
