package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/kolla-build/kolla-build/internal/printable"
	"github.com/kolla-build/kolla-build/internal/retry"
	"github.com/kolla-build/kolla-build/pkg/imageref"
)

// UnreachableError reports that the registry's address does not answer.
type UnreachableError struct {
	Host string // HOST[:PORT]
	From string // the registry that led to the address, or "" if it is the registry's own
	Err  error  // the network's error
}

// Error implements error.
func (e *UnreachableError) Error() string {
	cause := networkCause(e.Err)
	if retry.OfProxy(e.Err) {
		cause = "the proxy does not answer: " + cause
	}
	if e.From != "" {
		return fmt.Sprintf("registry %s leads to %s, which cannot be reached: %s", e.From, e.Host, cause)
	}
	return fmt.Sprintf("registry %s cannot be reached: %s", e.Host, cause)
}

// Unwrap returns the network's error.
func (e *UnreachableError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *UnreachableError) Hint() string {
	var dns *net.DNSError
	switch {
	case retry.OfProxy(e.Err):
		return retry.ProxyHint
	case e.From != "":
		return fmt.Sprintf("%s must be reachable from this host too: check its name, the firewall and the proxy variables, or the "+
			"external URL of the registry", e.Host)
	case imageref.IsLoopback(e.Host):
		hint := "start one with `kolla-build registry serve"
		if _, port, err := net.SplitHostPort(e.Host); err == nil && port != defaultPort {
			hint += " --addr localhost:" + port
		}
		return hint + "`, or name another registry"
	case e.Host == imageref.DockerHub || e.Host == dockerHubAPI:
		return "check the network and the proxy variables (HTTPS_PROXY); " +
			"--registry HOST:PORT names another registry than Docker Hub"
	case errors.As(e.Err, &dns):
		return fmt.Sprintf("the name %q does not resolve: check its spelling and the resolver", dns.Name)
	case isPlainHTTPAnswer(e.Err):
		return fmt.Sprintf("it answers in plain HTTP: allow that with --registry-insecure %s", e.Host)
	}
	return "check the address, the firewall and the proxy variables (HTTPS_PROXY, NO_PROXY)"
}

// isPlainHTTPAnswer reports whether a TLS handshake failed because the server uses
// plain HTTP.
func isPlainHTTPAnswer(err error) bool {
	return err != nil && strings.Contains(err.Error(), "server gave HTTP response to HTTPS client")
}

// networkCause shortens a chain of network errors to the part that helps a user.
func networkCause(err error) string {
	var dns *net.DNSError
	var stalled *retry.StalledError
	var slow *retry.SlowError
	switch {
	case err == nil:
		return "no answer"
	case errors.As(err, &stalled):
		return stalled.Error()
	case errors.As(err, &slow):
		return slow.Error()
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
		return "it does not support HTTPS"
	}
	return err.Error()
}

// maxErrorAnswer is how many bytes of an answer are read that is not what was requested, and
// maxSays is how many of them are shown.
const (
	maxErrorAnswer = 64 << 10
	maxSays        = 1000
)

// checkStatus returns a *transport.Error if an answer has none of the wanted statuses. The status
// decides, also if the rest of the answer is too long or does not arrive.
func checkStatus(resp *http.Response, want ...int) error {
	if slices.Contains(want, resp.StatusCode) {
		return nil
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, maxErrorAnswer))
	resp.Body = struct {
		io.Reader
		io.Closer
	}{bytes.NewReader(b), resp.Body}
	return transport.CheckError(resp, want...)
}

// oneLine makes one line of what a registry says, which could imitate lines of this program.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// classify turns an error of the transport into one of this package's types if there
// is one for it. ref is what was requested, host its registry.
func classify(host, ref string, err error) error {
	if err == nil {
		return nil
	}
	var (
		known  interface{ Hint() string }
		status *transport.Error
	)
	if errors.As(err, &known) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	if errors.As(err, &status) {
		switch status.StatusCode {
		case http.StatusNotFound:
			return &NotFoundError{Ref: ref, Err: err}
		case http.StatusUnauthorized:
			return &UnauthorizedError{Host: host, Ref: ref, Err: err}
		case http.StatusForbidden:
			return &UnauthorizedError{Host: host, Ref: ref, Denied: true, Err: err}
		}
		e := &AnswerError{Host: host, Ref: ref, Status: status.StatusCode, Err: err}
		for _, d := range status.Errors {
			e.Says = strings.TrimPrefix(e.Says+"; "+oneLine(d.String()), "; ")
		}
		e.Says = printable.Bytes(e.Says, maxSays)
		return e
	}
	if isTLS(err) {
		return &TLSError{Host: host, Err: err}
	}
	if isNetwork(err) || isPlainHTTPAnswer(err) {
		return &UnreachableError{Host: host, Err: err}
	}
	return err
}

// isNetwork reports whether err is a network error.
func isNetwork(err error) bool {
	var netErr net.Error
	var op *net.OpError
	return errors.As(err, &op) || errors.As(err, &netErr) || retry.Transient(err)
}

// failure classifies an error of a request for ref, and adds what is known about the
// login.
func (h *host) failure(ref string, err error) error {
	err = classify(h.name, ref, err)
	var t *TLSError
	if errors.As(err, &t) && t.Host == h.name {
		t.Presented = h.client.presentsCertificate(h.key())
	}
	var u *UnauthorizedError
	if errors.As(err, &u) {
		h.mu.Lock()
		u.Withheld = u.Withheld || h.withheld
		u.User = h.user
		h.mu.Unlock()
		if u.Ref == "" {
			u.Ref = ref
		}
	}
	var known interface{ Hint() string }
	if err == nil || errors.As(err, &known) || errors.Is(err, context.Canceled) ||
		errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), h.name) {
		return err
	}
	return fmt.Errorf("registry %s: %w", h.name, err) // errors of HTTP name no server
}
