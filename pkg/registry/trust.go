package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// certificateDirs lists the directories in which docker, podman and skopeo search the
// certificates of a registry: *.crt are authorities, *.cert and *.key are a client
// certificate and its key.
func certificateDirs(etc, registry string) []string {
	home, _ := os.UserHomeDir()
	config := os.Getenv("XDG_CONFIG_HOME")
	if config == "" && home != "" {
		config = filepath.Join(home, ".config")
	}
	var dirs []string
	if config != "" {
		dirs = append(dirs, filepath.Join(config, "containers", "certs.d", registry),
			filepath.Join(config, "docker", "certs.d", registry))
	}
	return append(dirs, filepath.Join(etc, "containers", "certs.d", registry),
		filepath.Join(etc, "docker", "certs.d", registry))
}

// CertificateFileError reports that a file of a certs.d directory cannot be used.
type CertificateFileError struct {
	Path string
	Err  error
}

// Error implements error.
func (e *CertificateFileError) Error() string {
	return fmt.Sprintf("reading certificate %s: %v", e.Path, e.Err)
}

// Unwrap returns the cause.
func (e *CertificateFileError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *CertificateFileError) Hint() string {
	return "in a certs.d directory, *.crt are certificate authorities, " +
		"NAME.cert and NAME.key a client certificate and its key, all PEM"
}

// tlsConfig reads the certificates for a registry. It is nil if there are none.
func tlsConfig(etc, registry string) (*tls.Config, error) {
	if registry == dockerHubAPI {
		registry = imageref.DockerHub
	}
	var config *tls.Config
	for _, dir := range certificateDirs(etc, registry) {
		names, err := os.ReadDir(dir)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				continue
			}
			return nil, &CertificateFileError{Path: dir, Err: err}
		}
		for _, n := range names {
			path := filepath.Join(dir, n.Name())
			base := strings.TrimSuffix(path, filepath.Ext(path))
			switch filepath.Ext(n.Name()) {
			case ".crt", ".cert", ".key":
				if config == nil {
					config = &tls.Config{MinVersion: tls.VersionTLS12}
				}
			}
			switch filepath.Ext(n.Name()) {
			case ".crt":
				err = addAuthority(config, path)
			case ".cert":
				err = addClientCertificate(config, path, base+".key")
			case ".key":
				if _, missing := os.Stat(base + ".cert"); missing != nil {
					err = fmt.Errorf("there is no certificate %s.cert for this key", base)
				}
			}
			if err != nil {
				return nil, &CertificateFileError{Path: path, Err: err}
			}
		}
	}
	return config, nil
}

// mayHideRefusal reports whether an error may be the result of a connection that the
// server closed because it refused the client.
func mayHideRefusal(err error) bool {
	var dns *net.DNSError
	var stalled *retry.StalledError
	var slow *retry.SlowError
	var downgrade *DowngradeError // the server answered
	return !isTLS(err) && !isPlainHTTPAnswer(err) && !errors.Is(err, syscall.ECONNREFUSED) &&
		!errors.Is(err, context.Canceled) && !errors.As(err, &dns) && !errors.As(err, &stalled) &&
		!errors.As(err, &slow) && !errors.As(err, &downgrade)
}

// tlsRefusal returns the alert with which a server refused the client, nil if there is
// none. With TLS 1.3 it comes after the handshake, so a request may only see a closed
// connection.
func (c *Client) tlsRefusal(ctx context.Context, key hostKey) error {
	t, err := c.transport(key)
	if err != nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	addr := key.host
	if _, _, err := net.SplitHostPort(addr); err != nil {
		addr = net.JoinHostPort(addr, "443")
	}
	conn, err := (&tls.Dialer{Config: t.TLSClientConfig}).DialContext(ctx, "tcp", addr)
	if err == nil {
		defer conn.Close()
		deadline, _ := ctx.Deadline()
		_ = conn.SetReadDeadline(deadline)
		_, err = conn.Read(make([]byte, 1))
	}
	if alert(err) == "" {
		return nil
	}
	return err
}

// addAuthority adds the certificates of a file to those of the system.
func addAuthority(config *tls.Config, path string) error {
	b, err := inputfile.ReadRegular(path, maxConfigFile)
	if err != nil {
		return err
	}
	if config.RootCAs == nil {
		if config.RootCAs, err = x509.SystemCertPool(); err != nil {
			config.RootCAs = x509.NewCertPool()
		}
	}
	if !config.RootCAs.AppendCertsFromPEM(b) {
		return errors.New("it contains no PEM certificate")
	}
	return nil
}

func addClientCertificate(config *tls.Config, certificate, key string) error {
	if _, err := os.Stat(key); err != nil {
		return fmt.Errorf("there is no key %s for this certificate", key)
	}
	certificatePEM, err := inputfile.ReadRegular(certificate, maxConfigFile)
	if err != nil {
		return err
	}
	keyPEM, err := inputfile.ReadRegular(key, maxConfigFile)
	if err != nil {
		return err
	}
	pair, err := tls.X509KeyPair(certificatePEM, keyPEM)
	if err != nil {
		return err
	}
	config.Certificates = append(config.Certificates, pair)
	return nil
}
