package stepproxy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/filelock"
	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// CA signs the certificates with which the proxy answers for HTTPS servers. Only the
// steps of a build trust it. It is safe for concurrent use.
type CA struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
	leaf *ecdsa.PrivateKey // of all servers

	mu    sync.Mutex
	hosts map[string]*tls.Certificate
}

// The validity of certificates does not depend on the clock, which steps may see
// otherwise (faketime).
var notBefore, notAfter = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2049, 12, 31, 0, 0, 0, 0, time.UTC)

// maxHosts limits the certificates that are kept: the names of hosts come from steps.
const maxHosts = 1024

// OpenCA reads the CA of a directory, and creates it if there is none. With the same CA
// the builder finds the steps of earlier runs in its cache.
func OpenCA(dir string) (*CA, error) {
	path := filepath.Join(dir, "ca.pem")
	data, err := inputfile.ReadRegular(path, inputfile.MaxState)
	if errors.Is(err, os.ErrNotExist) {
		lock, lockErr := filelock.Acquire(filepath.Join(dir, "ca.lock"))
		if lockErr != nil {
			return nil, fmt.Errorf("certificates of the step proxy: %w", lockErr)
		}
		defer lock.Close()
		data, err = inputfile.ReadRegular(path, inputfile.MaxState) // another process may have made it
	}
	if errors.Is(err, os.ErrNotExist) {
		if data, err = newCA(); err == nil {
			err = atomicfile.WriteFile(path, data, atomicfile.Options{Mode: 0o600})
		}
	}
	if err != nil {
		return nil, fmt.Errorf("certificates of the step proxy: %w", err)
	}
	ca, err := parseCA(data)
	if err != nil {
		return nil, fmt.Errorf("certificates of the step proxy: %s: %w", path, err)
	}
	return ca, nil
}

func newCA() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kolla-build step proxy"},
		NotBefore: notBefore, NotAfter: notAfter, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})...), nil
}

func parseCA(data []byte) (*CA, error) {
	pair, err := tls.X509KeyPair(data, data)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || pair.Leaf == nil || !pair.Leaf.IsCA {
		return nil, errors.New("not the CA of a step proxy")
	}
	leaf, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	return &CA{cert: pair.Leaf, key: key, leaf: leaf, hosts: map[string]*tls.Certificate{},
		pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})}, nil
}

// PEM returns the certificate that steps must trust.
func (ca *CA) PEM() []byte { return ca.pem }

// certificate returns a certificate for a host name or IP address.
func (ca *CA) certificate(host string) (*tls.Certificate, error) {
	ca.mu.Lock()
	defer ca.mu.Unlock()
	if c, ok := ca.hosts[host]; ok {
		return c, nil
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	// With the subject of the CA, OpenSSL would treat it as self-signed.
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "server behind the kolla-build step proxy"},
		NotBefore:    notBefore,
		NotAfter:     notAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.cert, ca.leaf.Public(), ca.key)
	if err != nil {
		return nil, err
	}
	if len(ca.hosts) >= maxHosts {
		clear(ca.hosts)
	}
	c := &tls.Certificate{Certificate: [][]byte{der, ca.cert.Raw}, PrivateKey: ca.leaf}
	ca.hosts[host] = c
	return c, nil
}
