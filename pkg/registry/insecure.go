package registry

import (
	"net"
	"net/netip"
	"strings"
)

// insecureList is the registries that may be used over plain HTTP, and whose certificates
// need not be verified.
type insecureList struct {
	hosts    map[string]bool // HOST[:PORT], exactly
	allPorts map[string]bool // HOST, at any port
	domains  []string        // ".example.org" stands for all hosts below it
	networks []netip.Prefix
}

// add adds HOST[:PORT], or *.DOMAIN for all hosts and ports of a domain. As in docker and
// podman, HOST is the default port only.
func (l *insecureList) add(host string) {
	if domain, wildcard := strings.CutPrefix(host, "*"); wildcard {
		l.domains = append(l.domains, domain)
		return
	}
	if l.hosts == nil {
		l.hosts = map[string]bool{}
	}
	l.hosts[host] = true
}

// addAllPorts adds HOST at any port, or HOST:PORT.
func (l *insecureList) addAllPorts(host string) {
	if l.allPorts == nil {
		l.allPorts = map[string]bool{}
	}
	l.allPorts[host] = true
}

func (l *insecureList) contains(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if l.hosts[host] || l.allPorts[host] || l.allPorts[name] {
		return true
	}
	for _, d := range l.domains {
		if strings.HasSuffix(name, d) {
			return true
		}
	}
	addr, err := netip.ParseAddr(strings.Trim(name, "[]"))
	if err != nil {
		return false
	}
	for _, n := range l.networks {
		if n.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
