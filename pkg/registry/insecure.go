package registry

import (
	"net"
	"net/netip"
	"strings"
)

// insecureList is the registries that may be used over plain HTTP, and whose certificates
// need not be verified.
type insecureList struct {
	hosts    map[string][]listedPath // by HOST[:PORT], exactly
	allPorts map[string]bool         // HOST, at any port
	domains  []listedDomain
	networks []netip.Prefix
}

// listedPath is a path in a registry, or an exception from a shorter one.
type listedPath struct {
	path     string // "" is the whole registry
	insecure bool
}

// listedDomain is all hosts below a domain, at any port.
type listedDomain struct {
	suffix string // ".example.org"
	listedPath
}

// add adds HOST[:PORT][/PATH], or *.DOMAIN[/PATH] for all hosts and ports of a domain. As
// in docker and podman, HOST is the default port only. A location that is not insecure is an
// exception from a shorter one that is.
func (l *insecureList) add(location string, insecure bool) {
	host, path, _ := strings.Cut(location, "/")
	listed := listedPath{path, insecure}
	if suffix, wildcard := strings.CutPrefix(host, "*"); wildcard {
		suffix, _, _ = strings.Cut(suffix, ":")
		l.domains = append(l.domains, listedDomain{suffix, listed})
		return
	}
	if l.hosts == nil {
		l.hosts = map[string][]listedPath{}
	}
	l.hosts[host] = append(l.hosts[host], listed)
}

// addAllPorts adds HOST at any port, or HOST:PORT.
func (l *insecureList) addAllPorts(host string) {
	if l.allPorts == nil {
		l.allPorts = map[string]bool{}
	}
	l.allPorts[host] = true
}

// contains reports whether the list has the repository path of a host. With the path "" it
// reports whether the list has the whole host. As in podman, the longest location counts; of
// several that are equal, one that is insecure.
func (l *insecureList) contains(host, path string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	if l.allPorts[host] || l.allPorts[name] {
		return true
	}
	longest, insecure := 0, false
	apply := func(length int, allowed bool) {
		switch {
		case length > longest:
			longest, insecure = length, allowed
		case length == longest:
			insecure = insecure || allowed
		}
	}
	for _, p := range l.hosts[host] {
		if inPath(path, p.path) {
			apply(len(host)+len(p.path), p.insecure)
		}
	}
	for _, d := range l.domains {
		if strings.HasSuffix(name, d.suffix) && inPath(path, d.path) {
			apply(len(d.suffix)+len(d.path), d.insecure)
		}
	}
	if addr, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		for _, n := range l.networks {
			if n.Contains(addr.Unmap()) {
				apply(len(host), true)
			}
		}
	}
	return insecure
}

// inPath reports whether a repository is at a path or below it.
func inPath(repository, path string) bool {
	rest, ok := strings.CutPrefix(repository, path)
	return path == "" || ok && (rest == "" || rest[0] == '/')
}
