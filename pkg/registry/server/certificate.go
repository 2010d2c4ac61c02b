package server

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
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kolla-build/kolla-build/internal/atomicfile"
	"github.com/kolla-build/kolla-build/internal/inputfile"
	"github.com/kolla-build/kolla-build/internal/units"
)

// Generated certificates: an authority, which other hosts have to trust once, and a
// server certificate, which is renewed without changes on those hosts.
const (
	tlsDir            = "tls" // in the registry's directory
	authorityValid    = 10 * 365 * 24 * time.Hour
	certificateValid  = 365 * 24 * time.Hour
	certificateRenew  = certificateValid / 3 // how long before its end it is renewed
	certificateChecks = time.Hour
)

// certificates provides the certificate of a server.
type certificates struct {
	certificate, key string // files, PEM
	dir              string // of generated certificates, or ""
	names            []string

	mu       sync.Mutex
	pair     *tls.Certificate
	modified time.Time // modification time of the files of pair
	checked  time.Time
	log      func(format string, args ...any)
}

// openCertificates reads the certificate that the options name, or generates one. It is
// nil if the registry is served without TLS.
func openCertificates(dir string, opts Options, log func(string, ...any)) (*certificates, error) {
	c := &certificates{certificate: opts.Certificate, key: opts.Key, log: log}
	if opts.GenerateTLS {
		c.dir = filepath.Join(dir, tlsDir)
		c.certificate, c.key = filepath.Join(c.dir, "server.crt"), filepath.Join(c.dir, "server.key")
		c.names = serverNames(opts.TLSNames)
	}
	if c.certificate == "" {
		return nil, nil
	}
	if err := c.refresh(time.Now()); err != nil {
		return nil, err
	}
	return c, nil
}

// maxPEM is the size in bytes of the largest certificate or key that is read.
const maxPEM = 4 << 20

// readKeyPair reads a certificate and its key. A named pipe in place of one would stop all
// handshakes.
func readKeyPair(certificate, key string) (tls.Certificate, error) {
	certificatePEM, err := inputfile.ReadRegular(certificate, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	keyPEM, err := inputfile.ReadRegular(key, maxPEM)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(certificatePEM, keyPEM)
}

// get implements tls.Config.GetCertificate. Changed files are read again; if they are
// invalid, the previous certificate stays.
func (c *certificates) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.checked).Abs() > certificateChecks || c.changed() {
		if err := c.refresh(now); err != nil {
			c.log("%v; the previous certificate stays in use", err)
		}
	}
	return c.pair, nil
}

func (c *certificates) changed() bool {
	info, err := os.Stat(c.certificate)
	return err == nil && !info.ModTime().Equal(c.modified)
}

// refresh renews a generated certificate if it is due, and reads the files.
func (c *certificates) refresh(now time.Time) error {
	c.checked = now
	if c.dir != "" {
		if err := c.renew(now); err != nil {
			return fmt.Errorf("generating a certificate in %s: %w", c.dir, err)
		}
	}
	info, err := os.Stat(c.certificate)
	if err == nil {
		c.modified = info.ModTime()
		var pair tls.Certificate
		if pair, err = readKeyPair(c.certificate, c.key); err == nil {
			c.pair = &pair
			c.warn(now)
			return nil
		}
	}
	return fmt.Errorf("reading the certificate %s and its key: %w", c.certificate, err)
}

// certificateWarning is how long before its end a certificate is mentioned in the log.
const certificateWarning = 14 * 24 * time.Hour

// warn logs that clients refuse the certificate, or soon will.
func (c *certificates) warn(now time.Time) {
	leaf := c.pair.Leaf
	switch {
	case now.Before(leaf.NotBefore):
		c.log("warning: the certificate %s is not valid before %s, and the clock says %s: clients refuse it", c.certificate,
			units.Time(leaf.NotBefore), units.Time(now))
	case now.After(leaf.NotAfter):
		c.log("warning: the certificate %s expired on %s: clients refuse it", c.certificate, units.Time(leaf.NotAfter))
	case now.After(leaf.NotAfter.Add(-certificateWarning)):
		c.log("warning: the certificate %s expires on %s", c.certificate, units.Time(leaf.NotAfter))
	}
}

// notAfter is when the certificate ends.
func (c *certificates) notAfter() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pair == nil || c.pair.Leaf == nil {
		return time.Time{}
	}
	return c.pair.Leaf.NotAfter
}

// renew creates the authority if it is missing, and a certificate unless there is one
// for all names that is valid for long enough.
func (c *certificates) renew(now time.Time) error {
	if err := atomicfile.MkdirAll(c.dir, 0o755); err != nil {
		return err
	}
	authority, key, err := loadAuthority(c.dir, now)
	if errors.Is(err, os.ErrNotExist) {
		authority, key, err = newAuthority(c.dir, now)
	}
	if err != nil {
		return err
	}
	if authority.NotAfter.Sub(now) < certificateValid {
		c.log("the certificate authority %s ends on %s: remove %s to make a new one, which hosts must be told to trust",
			AuthorityFile(filepath.Dir(c.dir)), authority.NotAfter.Format(time.DateOnly), c.dir)
	}
	if pair, err := readKeyPair(c.certificate, c.key); err == nil && pair.Leaf != nil &&
		pair.Leaf.NotAfter.Sub(now) > certificateRenew && now.After(pair.Leaf.NotBefore) &&
		pair.Leaf.CheckSignatureFrom(authority) == nil && coversAll(pair.Leaf, c.names) {
		return nil
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: c.names[0]}, NotAfter: earlierOf(now.Add(certificateValid), authority.NotAfter),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range c.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	_, _, err = issue(c.certificate, c.key, template, authority, key, now)
	return err
}

func coversAll(cert *x509.Certificate, names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return cert.VerifyHostname(name) != nil })
}

func earlierOf(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func loadAuthority(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	pair, err := readKeyPair(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, nil, errors.New("ca.crt and ca.key are not a generated certificate authority")
	}
	if now.After(pair.Leaf.NotAfter) {
		return nil, nil, fmt.Errorf("the certificate authority ended on %s", pair.Leaf.NotAfter.Format(time.DateOnly))
	}
	return pair.Leaf, key, nil
}

func newAuthority(dir string, now time.Time) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	host, _ := os.Hostname()
	template := &x509.Certificate{
		Subject:  pkix.Name{CommonName: "kolla-build registry of " + host, Organization: []string{"kolla-build"}},
		NotAfter: now.Add(authorityValid),
		IsCA:     true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	return issue(filepath.Join(dir, "ca.crt"), filepath.Join(dir, "ca.key"), template, nil, nil, now)
}

// issue creates a key and a certificate for it, signed by an authority or by itself,
// and writes both to files.
func issue(
	certFile, keyFile string, template, authority *x509.Certificate, signer *ecdsa.PrivateKey, now time.Time,
) (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127)); err != nil {
		return nil, nil, err
	}
	template.NotBefore = now.Add(-time.Hour) // clocks of clients differ
	if authority == nil {
		template.NotBefore = now.AddDate(-1, 0, 0) // and the clock of this host may be set back later
		authority, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, authority, key.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, nil, err
	}
	// The key is written first, because a certificate without a key is unusable.
	err = atomicfile.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}),
		atomicfile.Options{Durable: true, Mode: 0o600})
	if err == nil {
		err = atomicfile.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
			atomicfile.Options{Durable: true, Mode: 0o644})
	}
	return cert, key, err
}

// serverNames returns the names and addresses by which clients may reach this host, the
// configured ones first.
func serverNames(configured []string) []string {
	names := slices.Clone(configured)
	if host, err := os.Hostname(); err == nil {
		names = append(names, host)
		if full, err := net.LookupCNAME(host); err == nil {
			names = append(names, strings.TrimSuffix(full, "."))
		}
	}
	names = append(names, "localhost", "127.0.0.1", "::1")
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				names = append(names, n.IP.String())
			}
		}
	}
	seen := map[string]bool{"": true}
	return slices.DeleteFunc(names, func(name string) bool {
		dup := seen[name] || net.ParseIP(name) == nil && strings.ContainsAny(name, " _/:*")
		seen[name] = true
		return dup
	})
}
