package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	"github.com/containerd/containerd/v2/core/images"
	imagetar "github.com/containerd/containerd/v2/core/images/archive"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/errdefs"
	"github.com/containerd/platforms"
	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerdSockets are the sockets of distributions of containerd and Kubernetes.
var containerdSockets = []string{
	"/run/containerd/containerd.sock",
	"/run/k3s/containerd/containerd.sock",
	"/run/k0s/containerd.sock",
	"/var/snap/microk8s/common/run/containerd.sock",
}

// defaultNamespace is the default of ctr and nerdctl. Kubernetes uses k8s.io.
const defaultNamespace = "default"

// containerd is a containerd daemon, used through its client library. Content is sent
// unchanged, under a lease, so that the garbage collector does not remove partly loaded
// images; an image gets its name when its layers are unpacked.
type containerd struct {
	socket      string
	namespace   string
	snapshotter string // "" is the default of containerd

	mu     sync.Mutex
	client *client.Client // nil before the first answer
}

// containerdEndpoint returns the daemon that ctr would use, or the first one that exists
// of those of Kubernetes distributions.
func containerdEndpoint(opts Options) (*containerd, error) {
	c := &containerd{
		socket:      opts.Addr,
		namespace:   opts.Getenv("CONTAINERD_NAMESPACE"),
		snapshotter: opts.Getenv("CONTAINERD_SNAPSHOTTER"),
	}
	if c.namespace == "" {
		c.namespace = defaultNamespace
	}
	if c.socket == "" {
		c.socket = opts.Getenv("CONTAINERD_ADDRESS")
	}
	if scheme, rest, ok := strings.Cut(c.socket, "://"); ok {
		if scheme != "unix" {
			return nil, fmt.Errorf("%q is not an address of containerd: expected unix:///PATH", c.socket)
		}
		c.socket = rest
	}
	if c.socket == "" {
		c.socket = containerdSockets[0]
		for _, path := range containerdSockets {
			if _, err := os.Stat(path); err == nil {
				c.socket = path
				break
			}
		}
	}
	return c, nil
}

func (c *containerd) addr() string { return c.socket + ", namespace " + c.namespace }

func (c *containerd) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client != nil {
		c.client.Close()
		c.client = nil
	}
}

// connect returns the client and a context with the namespace.
func (c *containerd) connect(ctx context.Context) (context.Context, *client.Client, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.client == nil {
		// The library's errors do not contain the reason.
		conn, err := (&net.Dialer{}).DialContext(ctx, "unix", c.socket)
		if err != nil {
			return nil, nil, err
		}
		conn.Close()
		if c.client, err = client.New(c.socket, client.WithDefaultNamespace(c.namespace)); err != nil {
			return nil, nil, err
		}
	}
	return namespaces.WithNamespace(ctx, c.namespace), c.client, nil
}

func (c *containerd) about(ctx context.Context) (about, error) {
	ctx, cl, err := c.connect(ctx)
	if err != nil {
		return about{}, err
	}
	v, err := cl.Version(ctx)
	if err != nil {
		return about{}, err
	}
	version, _, _ := strings.Cut(strings.TrimPrefix(v.Version, "v"), "~") // without the suffix of a distribution
	version, _, _ = strings.Cut(version, "+")
	return about{version: version}, nil
}

func (c *containerd) list(ctx context.Context) ([]listedImage, error) {
	ctx, cl, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	stored, err := cl.ImageService().List(ctx)
	if err != nil {
		return nil, err
	}
	var out []listedImage
	for _, im := range stored {
		out = append(out, listedImage{id: im.Target.Digest.Encoded(), refs: []string{im.Name}})
	}
	return out, nil
}

func (c *containerd) inspect(ctx context.Context, name string) (*imageInfo, error) {
	ctx, cl, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	im, err := cl.ImageService().Get(ctx, name)
	if errdefs.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	info := &imageInfo{id: im.Target.Digest.Encoded()}
	// Without the config, or for another platform, no layer counts as present.
	image := client.NewImage(cl, im)
	if config, err := image.Config(ctx); err == nil {
		info.config = config.Digest.Encoded()
	}
	if diffIDs, err := image.RootFS(ctx); err == nil {
		for _, d := range diffIDs {
			info.layers = append(info.layers, d.String())
		}
	}
	return info, nil
}

// load stores the content of an archive, unpacks the images and names them.
func (c *containerd) load(ctx context.Context, r io.Reader) error {
	ctx, cl, err := c.connect(ctx)
	if err != nil {
		return err
	}
	ctx, release, err := cl.WithLease(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// A lease that cannot be released expires.
		rctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		_ = release(rctx)
	}()
	cs := cl.ContentStore()
	desc, err := imagetar.ImportIndex(ctx, cs, r)
	if err != nil {
		return err
	}
	raw, err := content.ReadBlob(ctx, cs, desc)
	if err != nil {
		return err
	}
	var index ocispec.Index
	if err := json.Unmarshal(raw, &index); err != nil {
		return err
	}
	for _, m := range index.Manifests {
		name := m.Annotations[images.AnnotationImageName]
		m.Annotations = nil
		if err := c.unpack(ctx, cl, images.Image{Name: name, Target: m}); err != nil {
			return err
		}
	}
	return nil
}

// unpack makes the snapshots of an image, so that containers can start from it, and then
// gives it its name.
func (c *containerd) unpack(ctx context.Context, cl *client.Client, im images.Image) error {
	// The garbage collector finds the references of a manifest in its labels.
	content := cl.ContentStore()
	setLabels := images.SetChildrenLabels(content, images.ChildrenHandler(content))
	if err := images.Walk(ctx, setLabels, im.Target); err != nil {
		return err
	}
	if err := client.NewImage(cl, im).Unpack(ctx, c.snapshotter); err != nil {
		return fmt.Errorf("unpacking: %w", err)
	}
	return setName(ctx, cl.ImageService(), im)
}

// setName creates a name for an image, or changes which image it refers to.
func setName(ctx context.Context, imageStore images.Store, im images.Image) error {
	_, err := imageStore.Update(ctx, im, "target")
	if errdefs.IsNotFound(err) {
		_, err = imageStore.Create(ctx, im)
	}
	return err
}

func (c *containerd) tag(ctx context.Context, id, ref string) error {
	ctx, cl, err := c.connect(ctx)
	if err != nil {
		return err
	}
	imageStore := cl.ImageService()
	found, err := imageStore.List(ctx, "target.digest=="+digest.NewDigestFromEncoded(digest.SHA256, id).String())
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return errors.New("the image does not exist any more")
	}
	return setName(ctx, imageStore, images.Image{Name: ref, Target: found[0].Target})
}

func (c *containerd) save(ctx context.Context, ref string) (io.ReadCloser, error) {
	ctx, cl, err := c.connect(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := cl.ImageService().Get(ctx, ref); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	r, w := io.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.CloseWithError(imagetar.Export(ctx, cl.ContentStore(), w, imagetar.WithImage(cl.ImageService(), ref),
			imagetar.WithPlatform(platforms.Default())))
	}()
	return &savedImage{r, cancel, done}, nil
}
