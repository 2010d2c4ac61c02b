package main

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/kolla-build/kolla-build/internal/synthetic"
)

// world is a synthetic set on disk: templates, a base image and a data directory.
type world struct {
	b      *bench
	dir    string
	images []synthetic.Image
	base   v1.Image
}

func (b *bench) newWorld(name string, n int) (*world, error) {
	w := &world{b: b, dir: filepath.Join(b.dir, name), images: synthetic.Shape(n)}
	if err := synthetic.Write(w.path("tree"), w.images); err != nil {
		return nil, err
	}
	var err error
	w.base, err = synthetic.WriteBase(w.path("base"))
	if err != nil {
		return nil, fmt.Errorf("making a base image: %w (apt-get install busybox-static)", err)
	}
	return w, nil
}

func (w *world) path(elem ...string) string {
	return filepath.Join(append([]string{w.dir}, elem...)...)
}

// tool returns a kolla-build command for this world.
func (w *world) tool(args ...string) *exec.Cmd {
	common := []string{
		"-b", "debian", "--images-dir", w.path("tree"), "--base-image", "oci:" + w.path("base"), "--tag", "t",
		"--data-dir", w.path("data"), "--buildkitd", w.b.buildkitd,
	}
	if len(args) > 0 && args[0] == "plan" {
		common, args = append([]string{"plan"}, common...), args[1:]
	}
	cmd := exec.Command(w.b.tool, append(common, args...)...)
	cmd.Dir = w.dir // it has no kolla-build.conf
	return cmd
}

// change changes the file that an image copies.
func (w *world) change(im synthetic.Image) error {
	f, err := os.OpenFile(w.path("tree", im.Dir, "extend_start.sh"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "# changed %s\n", time.Now().Format(time.RFC3339Nano))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// registry starts the embedded registry, which is the CNCF distribution on files, on
// a free port.
func (b *bench) registry(ctx context.Context, name string) (host string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	host = l.Addr().String()
	l.Close()
	dir := filepath.Join(b.dir, name)
	cmd := exec.Command(b.tool, "registry", "serve", "--addr", host, "--dir", dir)
	if stop, err = background(filepath.Join(b.dir, name+".log"), cmd); err != nil {
		return "", nil, err
	}
	for range 100 {
		resp, err := http.Get("http://" + host + "/v2/")
		if err == nil {
			resp.Body.Close()
			return host, stop, nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
	stop()
	return "", nil, fmt.Errorf("the registry on %s does not answer", host)
}
