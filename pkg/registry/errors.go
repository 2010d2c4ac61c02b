package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"syscall"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// NotFoundError says that the registry answers and does not have what was asked
// for: neither the repository nor the tag, manifest or blob in it.
type NotFoundError struct {
	Ref string // the reference, as asked for
	Err error  // the registry's answer
}

// Error implements error.
func (e *NotFoundError) Error() string { return fmt.Sprintf("%s: not found in the registry", e.Ref) }

// Unwrap gives the registry's answer.
func (e *NotFoundError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *NotFoundError) Hint() string {
	host, scheme := hostOf(e.Ref), "https"
	if imageref.IsLoopback(host) {
		scheme = "http"
	}
	return fmt.Sprintf("check the name and the tag; `skopeo list-tags docker://REPOSITORY` or "+
		"`curl %s://%s/v2/_catalog` shows what %s has", scheme, host, host)
}

// NoRegistryError says that something answers at the address, and that it is no
// registry.
type NoRegistryError struct {
	Host   string // host[:port], as typed
	Status int    // HTTP status of GET /v2/, 0 if there was none
	Says   string // what kind of content it answered with, or ""
}

// Error implements error.
func (e *NoRegistryError) Error() string {
	what := strings.TrimSpace(fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status)))
	if e.Status == 0 {
		what = ""
	}
	if e.Says != "" {
		what = strings.TrimPrefix(what+", "+e.Says, ", ")
	}
	return fmt.Sprintf("%s answers, but not as a registry does (GET /v2/: %s)", e.Host, what)
}

// Hint says what the user can do.
func (e *NoRegistryError) Hint() string {
	_, port, err := net.SplitHostPort(e.Host)
	if err != nil || port == defaultPort {
		return "check the host and the port: `kolla-build registry serve` listens on " + defaultPort + ", Docker's registry on 5000"
	}
	return fmt.Sprintf("another program listens on port %s: `kolla-build registry serve` listens on %s, Docker's registry on 5000", port, defaultPort)
}

// UnauthorizedError says that the registry refuses the user: no credentials,
// wrong ones, or ones that may not do this.
type UnauthorizedError struct {
	Host   string // host[:port] of the registry
	Ref    string // the reference that was asked for, or ""
	Denied bool   // the credentials were understood and do not suffice (403)
	// Withheld is set when credentials exist but were not sent, because the
	// registry answers in plain HTTP and is not listed as insecure.
	Withheld bool
	Err      error // the registry's answer
}

// Error implements error.
func (e *UnauthorizedError) Error() string {
	what := e.Ref
	if what == "" {
		what = e.Host
	}
	switch {
	case e.Withheld:
		return fmt.Sprintf("%s: the registry asks for a login over plain HTTP; credentials were not sent", what)
	case e.Denied:
		return fmt.Sprintf("%s: the registry denies access", what)
	}
	return fmt.Sprintf("%s: the registry asks for a login", what)
}

// Unwrap gives the registry's answer.
func (e *UnauthorizedError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *UnauthorizedError) Hint() string {
	host := e.Host
	if host == dockerHub {
		host = "" // "docker login" without a host means Docker Hub
	}
	login := strings.TrimSpace("docker login " + host)
	switch {
	case e.Withheld:
		return fmt.Sprintf("give the registry a certificate, or allow plain HTTP for it with --registry-insecure %s", e.Host)
	case e.Denied:
		return fmt.Sprintf("log in as a user who may use this repository (`%s`), or choose another namespace with -n", login)
	}
	return fmt.Sprintf("log in with `%s` (or `skopeo login`), then run the command again", login)
}

// UnreachableError says that nothing at the registry's address speaks to us.
type UnreachableError struct {
	Host string // host[:port], as typed
	Err  error  // what the network said
}

// Error implements error.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("registry %s cannot be reached: %s", e.Host, networkCause(e.Err))
}

// Unwrap gives the network's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *UnreachableError) Hint() string {
	var dns *net.DNSError
	switch {
	case imageref.IsLoopback(e.Host):
		hint := "start one with `kolla-build registry serve"
		if _, port, err := net.SplitHostPort(e.Host); err == nil && port != defaultPort {
			hint += " --addr :" + port
		}
		return hint + "`, or name another with --registry HOST:PORT"
	case errors.As(e.Err, &dns):
		return fmt.Sprintf("the name %q does not resolve: check its spelling and the resolver", dns.Name)
	case isPlainHTTPAnswer(e.Err):
		return fmt.Sprintf("it answers in plain HTTP: allow that with --registry-insecure %s", e.Host)
	}
	return "check the address, the firewall and the proxy variables (HTTPS_PROXY, NO_PROXY)"
}

// AnswerError is an answer of the registry that is none of the other errors: a
// fault of its own (5xx), a limit on the rate (429), or a refusal that says why.
type AnswerError struct {
	Host   string
	Ref    string
	Status int    // HTTP status
	Says   string // the registry's own words, or ""
	Err    error
}

// Error implements error.
func (e *AnswerError) Error() string {
	s := fmt.Sprintf("registry %s answers %d %s", e.Host, e.Status, http.StatusText(e.Status))
	if e.Says != "" {
		s += ": " + e.Says
	}
	return s
}

// Unwrap gives go-containerregistry's error.
func (e *AnswerError) Unwrap() error { return e.Err }

// Hint says what the user can do.
func (e *AnswerError) Hint() string {
	switch {
	case e.Status == http.StatusTooManyRequests:
		return "it limits the rate: log in, use fewer --push-threads, or run the command again later; what was sent is kept"
	case e.Status == http.StatusInsufficientStorage, strings.Contains(e.Says, "no space left"):
		return "its disk is full: make room there (`kolla-build registry gc` for the embedded registry), then run the command again"
	case e.Status >= 500:
		return "the fault is the registry's: its log says more; run the command again later, what was sent is kept"
	}
	return ""
}

// PlatformError says that an image exists, but not for the platform wanted.
type PlatformError struct {
	Ref    string
	Wanted string
	Have   []string // platforms that there are, as os/arch[/variant]
}

// Error implements error.
func (e *PlatformError) Error() string {
	if len(e.Have) == 0 {
		return fmt.Sprintf("%s: no image for %s", e.Ref, e.Wanted)
	}
	return fmt.Sprintf("%s: no image for %s, only for %s", e.Ref, e.Wanted, strings.Join(e.Have, ", "))
}

// Hint says what the user can do.
func (e *PlatformError) Hint() string {
	return "choose the platform with --platform or --base-arch, or another base with --base-image and --base-tag"
}

// ContentError says that content does not match its digest, here or there.
type ContentError struct {
	What   string // what was checked
	Want   string // the digest that it should have
	Got    string // the digest that it has
	Remote bool   // the registry has it wrong, not we
}

// Error implements error.
func (e *ContentError) Error() string {
	return fmt.Sprintf("%s: content has digest %s, expected %s", e.What, e.Got, e.Want)
}

// Hint says what the user can do.
func (e *ContentError) Hint() string {
	if e.Remote {
		return "the registry or a proxy before it changes content: check its storage, then push again"
	}
	return "the local store is damaged: build this image again"
}

// dockerHub is the host that go-containerregistry uses for docker.io.
const dockerHub = "index.docker.io"

// hostOf returns the registry's part of a reference, for messages.
func hostOf(ref string) string {
	host, _, ok := strings.Cut(ref, "/")
	if !ok || (!strings.ContainsAny(host, ".:") && host != "localhost") {
		return dockerHub
	}
	return host
}

// isPlainHTTPAnswer reports that TLS was spoken to a server that speaks HTTP.
func isPlainHTTPAnswer(err error) bool {
	return err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// networkCause shortens a chain of network errors to what a user needs.
func networkCause(err error) string {
	var dns *net.DNSError
	var stalled *StalledError
	switch {
	case err == nil:
		return "no answer"
	case errors.As(err, &stalled):
		return stalled.Error()
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.EHOSTUNREACH):
		return "no route to host"
	case errors.Is(err, syscall.ENETUNREACH):
		return "network is unreachable"
	case errors.Is(err, syscall.ECONNRESET):
		return "connection reset"
	case errors.As(err, &dns):
		if dns.IsNotFound {
			return "no such host"
		}
		return dns.Error()
	case isPlainHTTPAnswer(err):
		return "it does not speak HTTPS"
	}
	return err.Error()
}

// StalledError says that a request was given up because no byte moved.
type StalledError struct {
	After time.Duration
}

// Error implements error.
func (e *StalledError) Error() string { return fmt.Sprintf("no byte moved for %s", e.After) }

// Timeout marks the error as a time-out, as net.Error does.
func (e *StalledError) Timeout() bool { return true }

// classify turns an error of the transport into one of this package's types
// where there is one for it. ref is what was asked for, host its registry.
func classify(host, ref string, err error) error {
	if err == nil {
		return nil
	}
	var (
		known interface{ Hint() string }
		terr  *transport.Error
	)
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.As(err, &terr) {
		switch terr.StatusCode {
		case http.StatusNotFound:
			return &NotFoundError{Ref: ref, Err: err}
		case http.StatusUnauthorized:
			return &UnauthorizedError{Host: host, Ref: ref, Err: err}
		case http.StatusForbidden:
			return &UnauthorizedError{Host: host, Ref: ref, Denied: true, Err: err}
		}
		e := &AnswerError{Host: host, Ref: ref, Status: terr.StatusCode, Err: err}
		for _, d := range terr.Errors {
			e.Says = strings.TrimPrefix(e.Says+"; "+d.String(), "; ")
		}
		return e
	}
	if isNetwork(err) || isPlainHTTPAnswer(err) {
		return &UnreachableError{Host: host, Err: err}
	}
	return err
}

// isNetwork reports whether err comes from the network and not from us.
func isNetwork(err error) bool {
	var nerr net.Error
	var op *net.OpError
	return errors.As(err, &op) || errors.As(err, &nerr) || isTransient(err)
}
