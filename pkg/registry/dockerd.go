package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// daemonConf is what Docker's daemon knows of registries.
type daemonConf struct {
	Insecure []string `json:"insecure-registries"` // HOST[:PORT], or a network
	Mirrors  []string `json:"registry-mirrors"`    // URLs of mirrors of Docker Hub
}

// DaemonConfError reports that Docker's daemon.json cannot be used.
type DaemonConfError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *DaemonConfError) Error() string { return fmt.Sprintf("reading %s: %v", e.Path, e.Err) }

// Unwrap returns the cause.
func (e *DaemonConfError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *DaemonConfError) Hint() string {
	return "correct it: Docker's daemon cannot start with it either"
}

// readDaemonConf reads the configuration of Docker's daemon: the system's, else the user's
// for a daemon without root. A machine without Docker has none.
func readDaemonConf(ctx context.Context, etc string) (daemonConf, string, error) {
	paths := []string{filepath.Join(etc, "docker", "daemon.json")}
	if dir, err := os.UserConfigDir(); err == nil {
		paths = append(paths, filepath.Join(dir, "docker", "daemon.json"))
	}
	for _, path := range paths {
		b, err := readConfigFile(ctx, path)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue
		}
		var conf daemonConf
		if err == nil && len(strings.TrimSpace(string(b))) > 0 {
			if err = json.Unmarshal(b, &conf); err != nil {
				err = jsonError(err)
			}
		}
		if err != nil {
			return daemonConf{}, "", &DaemonConfError{Path: path, Err: err}
		}
		return conf, path, nil
	}
	return daemonConf{}, "", nil
}

// addDaemonConf adds what Docker's daemon knows: its insecure registries, and its mirrors of
// Docker Hub if registries.conf has no entry for it.
func (c *Client) addDaemonConf(ctx context.Context, etc string) error {
	conf, path, err := readDaemonConf(ctx, etc)
	if err != nil {
		return err
	}
	for _, text := range conf.Insecure {
		if network, err := netip.ParsePrefix(text); err == nil {
			c.insecure.networks = append(c.insecure.networks, network.Masked())
			continue
		}
		if !strings.ContainsAny(text, ".: /") && text != "localhost" {
			continue // Docker accepts the host, but the name of an image cannot begin with it
		}
		host, _, err := imageref.NormalizeRegistry(text)
		if err != nil {
			return &DaemonConfError{Path: path, Err: fmt.Errorf("insecure-registries: %w", err)}
		}
		c.insecure.add(host, true)
	}
	hub := registryConf{Prefix: imageref.DockerHub, Location: imageref.DockerHub}
	for _, text := range conf.Mirrors {
		u, err := url.Parse(text)
		if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
			return &DaemonConfError{Path: path, Err: errors.New("registry-mirrors: expected addresses such as https://HOST")}
		}
		if u.Scheme == "http" {
			c.insecure.add(u.Host, true)
		}
		hub.Mirrors = append(hub.Mirrors, mirrorConf{Location: strings.TrimRight(u.Host+u.Path, "/")})
	}
	if len(hub.Mirrors) > 0 && !c.conf.has(hub.Prefix) {
		c.conf.add(hub)
	}
	return nil
}
