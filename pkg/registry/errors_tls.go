package registry

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/kolla-build/kolla-build/internal/units"
)

// TLSError reports why a TLS connection to a registry failed.
type TLSError struct {
	Host      string // HOST[:PORT]
	Presented bool   // we have a client certificate for it
	Err       error
}

// Error implements error.
func (e *TLSError) Error() string { return fmt.Sprintf("registry %s: %s", e.Host, e.cause()) }

// Unwrap returns the error of the TLS library.
func (e *TLSError) Unwrap() error { return e.Err }

func (e *TLSError) cause() string {
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case e.clientCertificate() && e.Presented:
		return "it does not accept the client certificate (" + alert(e.Err) + ")"
	case e.clientCertificate():
		return "it requires a client certificate (" + alert(e.Err) + ")"
	case errors.As(e.Err, &unknown):
		if c := unknown.Cert; c != nil && c.Issuer.String() == c.Subject.String() {
			return fmt.Sprintf("its certificate is self-signed (%s)", c.Subject)
		} else if c != nil {
			return fmt.Sprintf("its certificate is signed by an unknown authority (%s)", c.Issuer)
		}
		return "its certificate is signed by an unknown authority"
	case errors.As(e.Err, &hostname):
		return "its certificate is for another name: " + namesOf(hostname.Certificate)
	case errors.As(e.Err, &invalid) && invalid.Reason == x509.Expired:
		now := time.Now()
		if now.Before(invalid.Cert.NotBefore) {
			return fmt.Sprintf("its certificate is not valid before %s (the clock says %s)",
				units.Time(invalid.Cert.NotBefore), units.Time(now))
		}
		return fmt.Sprintf("its certificate expired on %s", units.Time(invalid.Cert.NotAfter))
	case errors.As(e.Err, &invalid):
		return "its certificate cannot be verified: " + strings.TrimPrefix(invalid.Error(), "x509: ")
	}
	return "no TLS connection: " + strings.TrimPrefix(strings.TrimPrefix(e.Err.Error(), "remote error: "), "tls: ")
}

func namesOf(c *x509.Certificate) string {
	var names []string
	if c != nil {
		names = append(names, c.DNSNames...)
		for _, ip := range c.IPAddresses {
			names = append(names, ip.String())
		}
	}
	if len(names) == 0 {
		return "it contains no name of a host"
	}
	if len(names) > 5 {
		names = append(names[:5], "…")
	}
	return strings.Join(names, ", ")
}

// alert is the alert with which the server refused the handshake, "" if it did not. The
// TLS library has no type for it.
func alert(err error) string {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return strings.TrimPrefix(op.Err.Error(), "tls: ")
	}
	return ""
}

// clientCertificate reports whether the server refused our client certificate, or the
// lack of one. Servers use different alerts for that.
func (e *TLSError) clientCertificate() bool {
	a := alert(e.Err)
	return strings.Contains(a, "certificate") || a == "access denied"
}

// Hint returns a hint for the user.
func (e *TLSError) Hint() string {
	dir := "/etc/docker/certs.d/" + e.Host
	var (
		unknown  x509.UnknownAuthorityError
		hostname x509.HostnameError
		invalid  x509.CertificateInvalidError
	)
	switch {
	case e.clientCertificate():
		return fmt.Sprintf("put the client certificate and its key in %s/client.cert and client.key", dir)
	case errors.As(e.Err, &unknown):
		return fmt.Sprintf("put the authority's certificate in %s/ca.crt; "+
			"--registry-insecure %s skips the check", dir, e.Host)
	case errors.As(e.Err, &hostname):
		return fmt.Sprintf("name the registry as its certificate does; --registry-insecure %s skips the check", e.Host)
	case errors.As(e.Err, &invalid):
		return fmt.Sprintf("renew the certificate, or set the clock; --registry-insecure %s skips the check", e.Host)
	}
	return fmt.Sprintf("`openssl s_client -connect %s` shows what it offers", e.Host)
}

// isTLS reports whether an error comes from a server that uses TLS.
func isTLS(err error) bool {
	var verification *tls.CertificateVerificationError
	return errors.As(err, &verification) || alert(err) != ""
}
