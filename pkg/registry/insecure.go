package registry

import (
	"net"
	"net/netip"
	"strings"
)

// insecureList is the registries that may be used over plain HTTP, and whose certificates
// need not be verified.
type insecureList struct {
	hosts    map[string][]string // paths by HOST[:PORT], exactly; "" is the whole registry
	allPorts map[string]bool     // HOST, at any port
	domains  []insecureDomain
	networks []netip.Prefix
}

// insecureDomain is all hosts below a domain, at any port.
type insecureDomain struct {
	suffix string // ".example.org"
	path   string // "" is the whole registry
}

// add adds HOST[:PORT][/PATH], or *.DOMAIN[/PATH] for all hosts and ports of a domain. As
// in docker and podman, HOST is the default port only.
func (l *insecureList) add(location string) {
	host, path, _ := strings.Cut(location, "/")
	if suffix, wildcard := strings.CutPrefix(host, "*"); wildcard {
		suffix, _, _ = strings.Cut(suffix, ":")
		l.domains = append(l.domains, insecureDomain{suffix, path})
		return
	}
	if l.hosts == nil {
		l.hosts = map[string][]string{}
	}
	l.hosts[host] = append(l.hosts[host], path)
}

// addAllPorts adds HOST at any port, or HOST:PORT.
func (l *insecureList) addAllPorts(host string) {
	if l.allPorts == nil {
		l.allPorts = map[string]bool{}
	}
	l.allPorts[host] = true
}

// contains reports whether the list has the repository path of a host. With the path "" it
// reports whether the list has the whole host.
func (l *insecureList) contains(host, path string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if l.allPorts[host] || l.allPorts[name] {
		return true
	}
	for _, listed := range l.hosts[host] {
		if inPath(path, listed) {
			return true
		}
	}
	for _, d := range l.domains {
		if strings.HasSuffix(name, d.suffix) && inPath(path, d.path) {
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

// inPath reports whether a repository is at a path or below it.
func inPath(repository, path string) bool {
	rest, ok := strings.CutPrefix(repository, path)
	return path == "" || ok && (rest == "" || rest[0] == '/')
}
