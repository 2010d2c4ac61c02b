package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
)

// Error is the error of a source that cannot be fetched. It contains no credentials.
type Error struct {
	Section  string
	Location string // without credentials
	Problem  string // description of the problem; "" if Err is sufficient
	Err      error  // may be nil
	hint     string
}

// Error implements error.
func (e *Error) Error() string {
	parts := []string{fmt.Sprintf("source [%s]", e.Section)}
	for _, s := range []string{e.Location, e.Problem} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, shortened(e.Err))
	}
	return strings.Join(parts, ": ")
}

// shortened returns the text of an error. Of a name that does not resolve it omits the address
// of the resolver and the port of the query, which differ while many images have the error. The
// name stays: that of a proxy or of a redirect is not in the location.
func shortened(err error) string {
	text := err.Error()
	var dns *net.DNSError
	if !errors.As(err, &dns) {
		return text
	}
	reason := dns.Err
	if _, after, found := strings.Cut(reason, dns.Server+": "); found && dns.Server != "" {
		reason = after
	}
	lookup := fmt.Sprintf("looking up %s: %s", dns.Name, reason)
	text = strings.ReplaceAll(text, dns.Error(), lookup)
	return strings.ReplaceAll(text, "dial tcp: "+lookup, lookup)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns a hint for the user, or "".
func (e *Error) Hint() string { return e.hint }

// ChecksumError reports that content does not have the configured checksum.
type ChecksumError struct {
	Section  string
	Location string // without credentials
	Arch     string
	Want     string // SHA-256 in hex
	Got      string // SHA-256 in hex
}

// Error implements error.
func (e *ChecksumError) Error() string {
	return fmt.Sprintf("source [%s]: %s: its sha256 is %s, but the configuration has %s for %s", e.Section, e.Location,
		e.Got, e.Want, e.Arch)
}

// Hint returns a hint for the user.
func (e *ChecksumError) Hint() string {
	return fmt.Sprintf("if the new content is right, set sha256 = %s:%s in [%s]; otherwise find out who changed it",
		e.Arch, e.Got, e.Section)
}

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
