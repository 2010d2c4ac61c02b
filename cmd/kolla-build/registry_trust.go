package main

import (
	"cmp"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/kolla-build/kolla-build/internal/usererr"
	"github.com/kolla-build/kolla-build/pkg/config"
	"github.com/kolla-build/kolla-build/pkg/imageref"
	"github.com/kolla-build/kolla-build/pkg/registry/server"
)

// trust prints how other hosts trust the registry's generated certificate.
func (o *registryFlags) trust(w io.Writer, args []string) error {
	if len(args) > 1 {
		return &config.Error{Message: fmt.Sprintf("registry trust: unexpected argument %q", args[1]),
			Hint: "kolla-build registry trust [HOST[:PORT]]"}
	}
	addr := ""
	if o.flags.Changed("addr") {
		addr = o.Addr
	}
	return o.printTrust(w, addr, strings.Join(args, ""))
}

// printTrust prints how other hosts trust the generated certificate of the registry. name is
// HOST or HOST:PORT as they write it in names of images; "" means the first --tls-name, or else
// the address that the registry listens on if it is only one, or else the first name in the
// certificate. Without a port, that of addr is used, or else the one that the registry was last
// started with.
func (o *registryFlags) printTrust(w io.Writer, addr, name string) error {
	authority, err := server.ReadAuthority(o.Dir)
	if err != nil {
		return err
	}
	names := certificateNames(authority.Server)
	self, _ := os.Hostname()
	switch only := onlyAddress(cmp.Or(addr, authority.Addr)); {
	case name != "":
	case len(o.TLSNames) > 0:
		name = o.TLSNames[0]
	case only != "" && (len(names) == 0 || names[0] == self):
		name = only // no --tls-name was a name
	case len(names) > 0:
		name = names[0]
	}
	for _, a := range []string{addr, authority.Addr, server.DefaultAddr} {
		if _, port, err := net.SplitHostPort(a); err == nil {
			name = withPort(name, port)
			break
		}
	}
	registry, _, err := imageref.NormalizeRegistry(name)
	if err == nil && strings.Contains(registry, "/") {
		err = fmt.Errorf("%s: expected HOST or HOST:PORT", registry)
	}
	if err != nil {
		return usererr.Usage(fmt.Errorf("registry trust: %w", err))
	}
	if _, err := fmt.Fprintf(w, trustText, authority.File, authority.Fingerprint, registry); err != nil {
		return err
	}
	host := registry
	if h, _, err := net.SplitHostPort(registry); err == nil {
		host = h
	}
	if authority.Server.VerifyHostname(host) != nil {
		_, err = fmt.Fprintf(w, "%s is NOT in the certificate: start the registry with --tls-name %s.\n", host, host)
		return err
	}
	_, err = fmt.Fprintf(w, "The certificate is for %s. --tls-name NAME adds a name;\n"+
		"\"kolla-build registry trust NAME\" prints the commands for another name or port.\n", strings.Join(names, ", "))
	return err
}

// onlyAddress returns the IP address that a registry listens on if other hosts reach it by this
// one only, or else "".
func onlyAddress(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	if err != nil || ip == nil || ip.IsUnspecified() || ip.IsLoopback() {
		return ""
	}
	return host
}

// withPort adds a port to a host that has none. The default port of HTTPS is added only where
// the host would not be recognized as a registry without it.
func withPort(host, port string) string {
	if net.ParseIP(host) != nil {
		return net.JoinHostPort(host, port)
	}
	_, _, err := net.SplitHostPort(host)
	hasPort := err == nil
	recognized := port == "443" && strings.Contains(host, ".")
	if hasPort || recognized || strings.ContainsAny(host, "/@") {
		return host
	}
	return host + ":" + port
}

// certificateNames are the names and addresses in a certificate, names first.
func certificateNames(c *x509.Certificate) []string {
	names := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		names = append(names, ip.String())
	}
	return names
}

const trustText = `The registry has a certificate authority of its own: %[1]s
SHA-256 fingerprint: %[2]s

On each host that uses %[3]s, as root, get the certificate and compare its
fingerprint with the one above:

  curl -k -o registry.crt https://%[3]s/ca.crt
  openssl x509 -in registry.crt -noout -fingerprint -sha256

Then, for what is in use there:

  Docker            install -D registry.crt /etc/docker/certs.d/%[3]s/ca.crt
  Podman, skopeo    install -D registry.crt /etc/containers/certs.d/%[3]s/ca.crt
  kolla-build       either of the two
  containerd        install -D registry.crt /etc/containerd/certs.d/%[3]s/ca.crt
                    printf 'server = "https://%[3]s"\n[host."https://%[3]s"]\n  ca = "/etc/containerd/certs.d/%[3]s/ca.crt"\n' \
                      > /etc/containerd/certs.d/%[3]s/hosts.toml
                    (its config_path must be /etc/containerd/certs.d)
  all programs      Debian, Ubuntu: install registry.crt /usr/local/share/ca-certificates/ && update-ca-certificates
                    Enterprise Linux: install registry.crt /etc/pki/ca-trust/source/anchors/ && update-ca-trust
                    others: cat registry.crt >> the bundle that the system uses, such as /etc/ssl/certs/ca-certificates.crt

`
