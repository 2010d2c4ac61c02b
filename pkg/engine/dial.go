package engine

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
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
)

// The engines' own sockets.
const (
	dockerSocket = "unix:///var/run/docker.sock"
	podmanSocket = "unix:///run/podman/podman.sock"
)

// endpoint is an address with what is needed to speak to it.
type endpoint struct {
	addr    string
	certs   string // directory of ca.pem, cert.pem and key.pem, "" for none
	verify  bool
	context string // the Docker context that it is from, "" for none
}

// dial makes a backend for the options. It connects to nothing yet.
func dial(opts Options) (backend, error) {
	ep := endpoint{addr: opts.Addr, verify: true}
	if opts.Kind == Docker && opts.Addr == "" {
		var err error
		if ep, err = dockerEndpoint(opts.Getenv); err != nil {
			return nil, &UnavailableError{Kind: Docker, Addr: ep.addr, Err: err, advice: "docker context ls lists what there is; DOCKER_HOST names an address"}
		}
	}
	if opts.Kind == Podman && opts.Addr == "" {
		ep.addr = podmanSocket
		path := strings.TrimPrefix(podmanSocket, "unix://")
		if _, err := os.Stat(path); err != nil {
			// Without the service, the command does the same.
			if bin, err := exec.LookPath("podman"); err == nil {
				return &command{bin: bin}, nil
			}
		}
	}
	client, base, err := httpClient(ep)
	if err != nil {
		return nil, unavailable(opts.Kind, ep.addr, err)
	}
	return &api{client: client, base: base, addr: ep.addr}, nil
}

// dockerEndpoint finds the daemon as the docker command does: DOCKER_HOST, then
// DOCKER_CONTEXT or the configuration's context, then the system's socket.
func dockerEndpoint(getenv func(string) string) (endpoint, error) {
	ep := endpoint{addr: dockerSocket}
	if host := getenv("DOCKER_HOST"); host != "" {
		ep.addr = host
		if ep.verify = getenv("DOCKER_TLS_VERIFY") != ""; ep.verify || getenv("DOCKER_TLS") != "" {
			if ep.certs = getenv("DOCKER_CERT_PATH"); ep.certs == "" {
				ep.certs = config.Dir()
			}
		}
		return ep, nil
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		name = config.LoadDefaultConfigFile(io.Discard).CurrentContext
	}
	if name == "" || name == "default" {
		return ep, nil
	}
	return contextEndpoint(name)
}

// contextEndpoint reads a Docker context, as `docker context create` writes it.
func contextEndpoint(name string) (endpoint, error) {
	ep := endpoint{addr: "context " + name, context: name}
	sum := sha256.Sum256([]byte(name))
	id := hex.EncodeToString(sum[:])
	data, err := os.ReadFile(filepath.Join(config.Dir(), "contexts", "meta", id, "meta.json"))
	if err != nil {
		return ep, fmt.Errorf("there is no Docker context %q", name)
	}
	var meta struct {
		Endpoints map[string]struct {
			Host          string
			SkipTLSVerify bool
		}
	}
	if err := json.Unmarshal(data, &meta); err != nil || meta.Endpoints["docker"].Host == "" {
		return ep, fmt.Errorf("the Docker context %q names no address", name)
	}
	ep.addr, ep.verify = meta.Endpoints["docker"].Host, !meta.Endpoints["docker"].SkipTLSVerify
	certs := filepath.Join(config.Dir(), "contexts", "tls", id, "docker")
	if st, err := os.Stat(certs); err == nil && st.IsDir() {
		ep.certs = certs
	}
	return ep, nil
}

// httpClient returns a client for an endpoint, and the beginning of its URLs.
func httpClient(ep endpoint) (*http.Client, string, error) {
	u, err := url.Parse(ep.addr)
	if err != nil || u.Scheme == "" {
		return nil, "", fmt.Errorf("%q is no address: write unix:///path/of.sock, tcp://host:port or ssh://user@host", ep.addr)
	}
	t := &http.Transport{MaxIdleConnsPerHost: 8, DisableCompression: true}
	base := "http://engine"
	switch u.Scheme {
	case "unix", "http+unix":
		path := u.Host + u.Path
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		}
	case "tcp", "http", "https":
		base = "http://" + u.Host
		if ep.certs != "" || u.Scheme == "https" {
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
		return nil, "", fmt.Errorf("scheme %q is not one of unix, tcp, ssh, http, https", u.Scheme)
	}
	return &http.Client{Transport: t}, base, nil
}

func tlsConfig(ep endpoint) (*tls.Config, error) {
	c := &tls.Config{InsecureSkipVerify: !ep.verify} // as DOCKER_TLS_VERIFY, or the context, says
	if ep.certs == "" {
		return c, nil
	}
	if pem, err := os.ReadFile(filepath.Join(ep.certs, "ca.pem")); err == nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", filepath.Join(ep.certs, "ca.pem"))
		}
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(ep.certs, "cert.pem"), filepath.Join(ep.certs, "key.pem"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the client's certificate: %w", err)
	}
	if err == nil {
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}
