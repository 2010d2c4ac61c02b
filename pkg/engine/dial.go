package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	dockercontext "github.com/docker/cli/cli/context"
	"github.com/docker/cli/cli/context/store"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// Default sockets of the engines.
const (
	dockerSocket = "unix:///var/run/docker.sock"
	podmanSocket = "unix:///run/podman/podman.sock"
)

// endpoint is the address of an engine and how TLS is used with it.
type endpoint struct {
	addr   string
	tls    *dockercontext.TLSData // nil for plain connections, unless the scheme is https
	verify bool                   // the certificate of the engine
}

// dial returns the backend for the options. It does not connect yet.
func dial(opts Options) (backend, error) {
	if opts.Kind == Containerd {
		c, err := containerdEndpoint(opts)
		if err != nil {
			return nil, unavailable(opts.Kind, opts.Addr, err)
		}
		return c, nil
	}
	ep := endpoint{addr: opts.Addr, verify: true}
	if opts.Kind == Docker && opts.Addr == "" {
		var err error
		if ep, err = dockerEndpoint(opts.Getenv); err != nil {
			return nil, &UnavailableError{Kind: Docker, Addr: ep.addr, Err: err,
				hint: "docker context ls lists the contexts; DOCKER_HOST sets an address"}
		}
	}
	if opts.Kind == Podman && opts.Addr == "" {
		ep.addr = podmanSocket
		if _, err := os.Stat(strings.TrimPrefix(podmanSocket, "unix://")); err != nil {
			// The command works without the service.
			if bin, err := exec.LookPath("podman"); err == nil {
				return &command{bin: bin}, nil
			}
		}
	}
	client, base, err := newHTTPClient(ep)
	if err != nil {
		return nil, unavailable(opts.Kind, ep.addr, err)
	}
	return &api{client: client, base: base, address: ep.addr}, nil
}

// dockerEndpoint finds the daemon like the docker command: DOCKER_HOST, then the
// context from DOCKER_CONTEXT or the configuration file, then the default socket.
func dockerEndpoint(getenv func(string) string) (endpoint, error) {
	if host := getenv("DOCKER_HOST"); host != "" {
		ep := endpoint{addr: host, verify: getenv("DOCKER_TLS_VERIFY") != ""}
		if ep.verify || getenv("DOCKER_TLS") != "" {
			dir := getenv("DOCKER_CERT_PATH")
			if dir == "" {
				dir = config.Dir()
			}
			var err error
			if ep.tls, err = readTLSData(dir); err != nil {
				return ep, err
			}
		}
		return ep, nil
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		name = config.LoadDefaultConfigFile(io.Discard).CurrentContext
	}
	if name == "" || name == "default" {
		return endpoint{addr: dockerSocket}, nil
	}
	return contextEndpoint(name)
}

// dockerEndpointName is the name of the daemon's endpoint in Docker contexts.
const dockerEndpointName = "docker"

// contextEndpoint returns the endpoint of a Docker context.
func contextEndpoint(name string) (endpoint, error) {
	ep := endpoint{addr: "context " + name}
	contexts := store.New(filepath.Join(config.Dir(), "contexts"), store.NewConfig(
		func() any { return &map[string]any{} },
		store.EndpointTypeGetter(dockerEndpointName, func() any { return &dockercontext.EndpointMetaBase{} })))
	metadata, err := contexts.GetMetadata(name)
	if err != nil {
		return ep, fmt.Errorf("reading the Docker context %q: %w", name, err)
	}
	meta, ok := metadata.Endpoints[dockerEndpointName].(dockercontext.EndpointMetaBase)
	if !ok || meta.Host == "" {
		return ep, fmt.Errorf("the Docker context %q has no address", name)
	}
	ep.addr, ep.verify = meta.Host, !meta.SkipTLSVerify
	if ep.tls, err = dockercontext.LoadTLSData(contexts, name, dockerEndpointName); err != nil {
		return ep, err
	}
	return ep, nil
}

// maxPEM is the size in bytes of the largest certificate or key that is read.
const maxPEM = 4 << 20

// readTLSData reads ca.pem, cert.pem and key.pem in a directory, each of which is
// optional.
func readTLSData(dir string) (*dockercontext.TLSData, error) {
	var data dockercontext.TLSData
	for name, to := range map[string]*[]byte{"ca.pem": &data.CA, "cert.pem": &data.Cert, "key.pem": &data.Key} {
		b, err := inputfile.ReadRegular(filepath.Join(dir, name), maxPEM)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		*to = b
	}
	return &data, nil
}

// newHTTPClient returns a client for an endpoint and the base of its URLs.
func newHTTPClient(ep endpoint) (*http.Client, string, error) {
	u, err := url.Parse(ep.addr)
	if err != nil || u.Scheme == "" {
		return nil, "", fmt.Errorf("%q is not an address: expected unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST", ep.addr)
	}
	t := &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true, MaxResponseHeaderBytes: maxHeaders}
	base := "http://engine"
	switch u.Scheme {
	case "unix", "http+unix":
		path := u.Host + u.Path
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	case "tcp", "http", "https":
		base = "http://" + u.Host
		if ep.tls != nil || u.Scheme == "https" {
			base = "https://" + u.Host
			if t.TLSClientConfig, err = tlsConfig(ep); err != nil {
				return nil, "", err
			}
		}
	case "ssh":
		helper, err := connhelper.GetConnectionHelper(ep.addr)
		if err != nil {
			return nil, "", err
		}
		t.DialContext = helper.Dialer
	default:
		return nil, "", fmt.Errorf("unknown scheme %q: expected unix, tcp, ssh, http or https", u.Scheme)
	}
	// An engine answers itself: a redirect could lead to another host.
	noRedirects := func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &http.Client{Transport: t, CheckRedirect: noRedirects}, base, nil
}

// maxHeaders is the size in bytes of the headers of an answer.
const maxHeaders = 64 << 10

func tlsConfig(ep endpoint) (*tls.Config, error) {
	// Not to verify is the user's decision, in DOCKER_TLS_VERIFY or the context.
	c := &tls.Config{InsecureSkipVerify: !ep.verify}
	if ep.tls == nil {
		return c, nil
	}
	if ep.tls.CA != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ep.tls.CA) {
			return nil, errors.New("ca.pem contains no certificate")
		}
	}
	if ep.tls.Cert != nil && ep.tls.Key != nil {
		cert, err := tls.X509KeyPair(ep.tls.Cert, ep.tls.Key)
		if err != nil {
			return nil, fmt.Errorf("reading the client certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
