package offline

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/netns"
	"github.com/kolla-build/kolla-build/internal/stepproxy"
	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/build/buildkit"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/image"
)

// Network is the network of the steps of a recorded or offline run: a namespace that
// contains only a proxy. Each image has its own address, which identifies its
// requests. It implements imagebuilder.StepNetwork.
type Network struct {
	ns        *netns.Namespace
	ca        *stepproxy.CA
	caFile    string
	proxy     *stepproxy.Server
	namespace func(image.ID) string // see CacheNamespace
	state     string                // directory of a builder that is used once, "" for the usual builder
	stateLock *filelock.Lock        // keeps others from removing state
	atEnd     func()                // called by Close, unless nil

	mu        sync.Mutex
	listeners map[image.ID]net.Listener
}

// openNetwork opens a network whose proxy answers from a source. It must be closed.
func openNetwork(cfg *config.Config, source stepproxy.Source, namespace func(image.ID) string) (*Network, error) {
	if cfg.BuildkitAddr != "" {
		return nil, usererr.Errorf("omit --buildkit-addr and BUILDKIT_HOST",
			"steps can be kept from the network only by a builder that kolla-build starts, not by %s", cfg.BuildkitAddr)
	}
	if os.Geteuid() != 0 {
		return nil, usererr.Errorf("run as root", "keeping steps from the network needs root")
	}
	dir := filepath.Join(cfg.DataDir, "stepproxy")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("opening the step proxy: %w", err)
	}
	n := &Network{namespace: namespace, listeners: map[image.ID]net.Listener{}, caFile: filepath.Join(dir, "trust.pem")}
	var err error
	if n.ca, err = stepproxy.OpenCA(dir); err != nil {
		return nil, err
	}
	if err := atomicfile.WriteFile(n.caFile, n.ca.PEM(), atomicfile.Options{Mode: 0o644}); err != nil {
		return nil, fmt.Errorf("opening the step proxy: %w", err)
	}
	if n.ns, err = netns.New(); err != nil {
		return nil, err
	}
	n.proxy = stepproxy.New(n.ca, source)
	return n, nil
}

// address returns the URL of the proxy for an image, or for the builder itself.
func (n *Network) address(ctx context.Context, id image.ID) (string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	l := n.listeners[id]
	if l == nil {
		var err error
		if l, err = n.ns.Listen(ctx, "127.0.0.1:0"); err != nil {
			return "", fmt.Errorf("opening the step proxy: %w", err)
		}
		n.listeners[id] = l
		n.proxy.Serve(l, id.String())
	}
	return "http://" + l.Addr().String(), nil
}

// proxyNames are the variables that name a proxy. NO_PROXY is not set: servers of this
// machine, too, are reached through the proxy.
var proxyNames = []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy"}

// Args implements imagebuilder.StepNetwork.
func (n *Network) Args(ctx context.Context, id image.ID) (map[string]string, error) {
	address, err := n.address(ctx, id)
	if err != nil {
		return nil, err
	}
	args := map[string]string{"NO_PROXY": "", "no_proxy": "", "FTP_PROXY": "", "ftp_proxy": ""}
	for _, name := range proxyNames {
		args[name] = address
	}
	return args, nil
}

// Trust implements imagebuilder.StepNetwork.
func (n *Network) Trust() []byte { return n.ca.PEM() }

// CacheNamespace implements imagebuilder.StepNetwork.
func (n *Network) CacheNamespace(id image.ID) string { return n.namespace(id) }

// Configure sets the options of a builder whose steps use this network. Downloads of
// the builder itself, for ADD, go through the proxy as well.
func (n *Network) Configure(ctx context.Context, opts *buildkit.Options) error {
	address, err := n.address(ctx, image.ID{})
	if err != nil {
		return err
	}
	opts.NetNS = n.ns.File()
	opts.Env = []string{"SSL_CERT_FILE=" + n.caFile, "NO_PROXY=", "no_proxy="}
	for _, name := range proxyNames {
		opts.Env = append(opts.Env, name+"="+address)
	}
	if n.state != "" {
		opts.StateDir = n.state
	}
	return nil
}

// Close ends all connections of steps. The builder must have ended.
func (n *Network) Close() {
	n.proxy.Close()
	n.ns.Close()
	if n.state != "" {
		_ = os.RemoveAll(n.state) // the next recording removes what is left
		n.stateLock.Close()
	}
	if n.atEnd != nil {
		n.atEnd()
	}
}
