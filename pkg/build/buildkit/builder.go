package buildkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/containerd/containerd/v2/core/content"
	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/moby/buildkit/client"
	"github.com/moby/buildkit/client/connhelper"

	// The connection helpers register their URL schemes.
	_ "github.com/moby/buildkit/client/connhelper/dockercontainer"
	_ "github.com/moby/buildkit/client/connhelper/kubepod"
	_ "github.com/moby/buildkit/client/connhelper/nerdctlcontainer"
	_ "github.com/moby/buildkit/client/connhelper/podmancontainer"
	_ "github.com/moby/buildkit/client/connhelper/ssh"
	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/auth/authprovider"
	sessioncontent "github.com/moby/buildkit/session/content"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// Options are the settings of Open.
type Options struct {
	// Addr is the address of a running daemon: unix://, tcp://,
	// docker-container://, podman-container://, nerdctl-container://,
	// kube-pod:// or ssh://. If it is empty, a daemon is started.
	Addr string

	DaemonPath string        // of the buildkitd to start, "" to look for one
	StateDir   string        // of a started daemon
	Store      content.Store // external images are read from it, and built ones are written to it
	Notice     func(string)  // for messages to the user while waiting; may be nil
	Cache      CacheLimits   // of a started daemon
	Env        []string      // of a started daemon, in addition to this process's environment

	// StepTimeout is the longest time of a step, 0 for no limit.
	StepTimeout time.Duration

	Grants // secrets and privileges of steps

	// NetNS is the network namespace of a started daemon and of all steps that it
	// runs; nil for this process's.
	NetNS *os.File

	// Compatibility is BuildKit's compatibility version: what depends on the version
	// of the builder is done as in the version of that number. 0 means
	// DefaultCompatibility.
	Compatibility int
}

// Builder builds images with one daemon and in one session. It is safe for
// concurrent use.
type Builder struct {
	opts    Options
	client  *client.Client
	session *session.Session
	daemon  *daemon
	end     context.CancelFunc // of the session
	ended   chan struct{}
}

// Open connects to the daemon at Options.Addr, or starts one, and opens a session.
// Errors are *DaemonError. The builder must be closed.
func Open(ctx context.Context, opts Options) (*Builder, error) {
	b := &Builder{opts: opts}
	addr := opts.Addr
	if addr == "" {
		d, err := startDaemon(ctx, opts)
		if err != nil {
			return nil, err
		}
		b.daemon = d
		addr = d.addr
	} else if !strings.Contains(addr, "://") {
		return nil, &DaemonError{Addr: addr, Err: errors.New("not an address"),
			Advice: "write it as unix:///run/buildkit/buildkitd.sock, tcp://host:1234 or docker-container://name"}
	}
	if err := b.connect(ctx, addr); err != nil {
		_ = b.Close()
		return nil, err
	}
	if err := b.openSession(ctx); err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// connect waits until the daemon answers. It waits for a daemon that it started for as
// long as the process runs, and for another one a few seconds.
func (b *Builder) connect(ctx context.Context, addr string) error {
	if b.daemon != nil {
		b.daemon.awaitSocket(ctx)
	}
	c, err := client.New(ctx, addr)
	if err != nil {
		return &DaemonError{Addr: addr, Err: err}
	}
	b.client = c
	limit := 5 * time.Second
	hint := "is buildkitd running there, and may this user use its socket?"
	if b.daemon != nil {
		limit, hint = startTimeout, "its log is "+b.daemon.log
	}
	wctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		_, err := c.ListWorkers(wctx)
		if err == nil {
			return nil
		}
		if b.daemon != nil {
			if err := b.daemon.exited(); err != nil {
				return err
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if wctx.Err() != nil || (b.daemon == nil && !isUnavailable(err)) {
			if b.daemon == nil {
				if cause := dialError(addr); cause != nil {
					err = cause
				}
			}
			return &DaemonError{Addr: addr, Err: err, Advice: hint}
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// dialError finds out why connecting to an address fails. gRPC only reports a timeout;
// a direct connection also has the output of a connection helper (docker, kubectl,
// ssh).
func dialError(addr string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	helper, err := connhelper.GetConnectionHelper(addr)
	if err != nil {
		return err
	}
	var conn net.Conn
	if helper != nil {
		conn, err = helper.ContextDialer(ctx, addr)
	} else {
		network, address, _ := strings.Cut(addr, "://")
		conn, err = (&net.Dialer{}).DialContext(ctx, network, address)
	}
	if err != nil {
		return err
	}
	read := make(chan error, 1)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	defer conn.Close()
	select {
	case err := <-read:
		return err
	case <-ctx.Done():
		return nil // connected without an answer: gRPC's own error is more specific
	}
}

// openSession opens the session that all builds share. In it, the daemon reads
// external images and large files from the store and writes built images to it.
func (b *Builder) openSession(ctx context.Context) error {
	// A named pipe in place of the file would hold up the run.
	load := func() (*configfile.ConfigFile, error) { return config.LoadDefaultConfigFile(discard{}), nil }
	docker, err := inputfile.Wait(ctx, load, nil)
	if err != nil {
		return err
	}
	// The session lasts until Close, with the values of ctx, such as the trace.
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	b.end = cancel
	s, err := session.NewSession(ctx, "kolla-build")
	if err != nil {
		return fmt.Errorf("opening a session: %w", err)
	}
	b.session = s
	s.Allow(sessioncontent.NewAttachable(map[string]content.Store{
		"oci:" + storeID: b.opts.Store,
		"export":         b.opts.Store,
	}))
	// The user's Docker credentials, for images that only BuildKit resolves, such as in
	// a FROM line with a variable.
	s.Allow(authprovider.NewDockerAuthProvider(authprovider.DockerAuthProviderConfig{
		AuthConfigProvider: authprovider.LoadAuthConfig(docker),
	}))
	b.opts.Secrets.attach(s)
	b.ended = make(chan struct{})
	go func() {
		defer close(b.ended)
		// The error can be ignored: Lost reports the end, and each build gets
		// an error.
		_ = s.Run(ctx, b.client.Dialer())
	}()
	return nil
}

// Lost reports whether the session or the daemon has ended by itself. Built images
// are in the store, so another builder can continue.
func (b *Builder) Lost() bool {
	select {
	case <-b.ended:
		return true
	default:
		return b.daemon != nil && b.daemon.exited() != nil
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

// Close ends the session and the daemon, if this process started it.
func (b *Builder) Close() error {
	if b.session != nil {
		_ = b.session.Close()
	}
	if b.end != nil {
		b.end()
	}
	if b.ended != nil {
		<-b.ended
	}
	if b.client != nil {
		_ = b.client.Close()
	}
	if b.daemon != nil {
		return b.daemon.stop()
	}
	return nil
}
