package imageref

import (
	"fmt"
	"net"
	"regexp"
	"strconv"
	"strings"
)

var hostPattern = func() *regexp.Regexp {
	const label = `[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?`
	return regexp.MustCompile(`^(?:` + label + `(?:\.` + label + `)*|\[[0-9A-Fa-f:]+\])(?::[0-9]{1,5})?$`)
}()

// NormalizeRegistry normalizes a registry that a user typed: a scheme and trailing
// slashes are removed, with a note. A path is kept (see Naming.Normalize). "" stays "".
// The error is an *Error.
func NormalizeRegistry(s string) (registry string, notes []string, err error) {
	clean := strings.TrimSpace(s)
	if scheme, rest, ok := strings.Cut(clean, "://"); ok {
		switch strings.ToLower(scheme) {
		case "http", "https", "docker", "oci":
		default:
			return "", nil, &Error{
				Part:       "registry",
				Value:      s,
				Problem:    fmt.Sprintf("scheme %q is not for registries", scheme),
				Suggestion: rest,
			}
		}
		clean = rest
		note := fmt.Sprintf("registry %q: the scheme is ignored, images are named %s/…", hideUser(s),
			hideUser(strings.TrimRight(rest, "/")))
		if host, _, _ := strings.Cut(rest, "/"); strings.EqualFold(scheme, "http") && !IsLoopback(host) {
			note += "; allow plain HTTP with --registry-insecure"
		}
		notes = append(notes, note)
	}
	clean = strings.TrimRight(clean, "/")
	for _, version := range []string{"/v2", "/v1"} {
		clean = strings.TrimRight(strings.TrimSuffix(clean, version), "/")
	}
	if clean == "" {
		if s != "" {
			return "", nil, &Error{Part: "registry", Value: s, Problem: "it contains no host"}
		}
		return "", notes, nil
	}
	if at := strings.LastIndex(clean, "@"); at >= 0 {
		return "", nil, &Error{
			Part:       "registry",
			Value:      "…@" + clean[at+1:],
			Problem:    "a user name or password is not part of a registry's name: use `docker login`",
			Suggestion: clean[at+1:],
		}
	}
	host, _, _ := strings.Cut(clean, "/")
	if !hostPattern.MatchString(host) {
		return "", nil, &Error{Part: "registry", Value: s, Problem: "expected HOST or HOST:PORT, as in localhost:4000"}
	}
	if literal, _, ok := strings.Cut(strings.TrimPrefix(host, "["), "]"); ok && net.ParseIP(literal) == nil {
		return "", nil, &Error{Part: "registry", Value: s, Problem: "the address between the brackets is not an IPv6 address"}
	}
	if _, port, err := net.SplitHostPort(host); err == nil {
		if n, err := strconv.Atoi(port); err != nil || n > 65535 {
			return "", nil, &Error{Part: "registry", Value: s, Problem: "the port is greater than 65535"}
		}
	}
	// "registry/x/y" would be read as a namespace on Docker Hub.
	if !isHost(host) {
		return "", nil, &Error{Part: "registry", Value: s,
			Problem: "a host without a dot or port is read as a namespace on Docker Hub", Suggestion: host + ":4000"}
	}
	return clean, notes, nil
}

// IsLoopback reports whether host, with or without a port, is this machine by its name
// or literal address. Names are not resolved, as in Docker.
func IsLoopback(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// isHost reports whether the first part of a name is treated as a registry.
func isHost(first string) bool {
	return strings.ContainsAny(first, ".:") || first == "localhost"
}

// hideUser replaces a user name and password before a host.
func hideUser(s string) string {
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok {
		scheme, rest = "", s
	} else {
		scheme += "://"
	}
	if at := strings.LastIndex(rest, "@"); at >= 0 {
		rest = "…" + rest[at:]
	}
	return scheme + rest
}
