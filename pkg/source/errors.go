package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// Error says which section's source could not be had, and why. It holds no
// credentials.
type Error struct {
	Section  string
	Location string // without credentials
	Problem  string // what was done or is wrong; "" when Err says all
	Err      error  // may be nil
	Advice   string // one line, or ""
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "source [%s]", e.Section)
	for _, s := range []string{e.Location, e.Problem} {
		if s != "" {
			b.WriteString(": ")
			b.WriteString(s)
		}
	}
	if e.Err != nil {
		b.WriteString(": ")
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what the user can do, or "".
func (e *Error) Hint() string { return e.Advice }

// ChecksumError says that content is not what the configuration promises.
type ChecksumError struct {
	Section  string
	Location string // without credentials
	Arch     string
	Want     string // hex
	Got      string // hex
}

// Error implements error.
func (e *ChecksumError) Error() string {
	return fmt.Sprintf("source [%s]: %s: its sha256 is %s, the configuration has %s for %s", e.Section, e.Location, e.Got, e.Want, e.Arch)
}

// Hint says what the user can do.
func (e *ChecksumError) Hint() string {
	return fmt.Sprintf("if the new content is right, put %s:%s into sha256 of [%s]; if not, find out who changed it", e.Arch, e.Got, e.Section)
}

// UnsafeError says that an archive holds a member that would leave the place
// into which it is unpacked, or that is no file, directory or link.
type UnsafeError struct {
	Member  string
	Problem string
}

// Error implements error.
func (e *UnsafeError) Error() string { return fmt.Sprintf("unsafe member %q: %s", e.Member, e.Problem) }

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// scpLike is git's other way to write an ssh location: user@host:path.
var scpLike = regexp.MustCompile(`^[^/@:]+@[^/:]+:`)

// Redact returns a location without its credentials, for people to read.
func Redact(location string) string { return redact(location) }

// redact takes credentials out of a location: the user's part, and the values in
// the query, where tokens are passed too.
func redact(location string) string {
	if scpLike.MatchString(location) {
		return location // an ssh user's name, no password can be there
	}
	u, err := url.Parse(location)
	if err != nil {
		// Not readable as a url, but it may hold what looks like one.
		location, _, _ = strings.Cut(location, "?")
		if i, at := strings.Index(location, "://"), strings.LastIndex(location, "@"); i >= 0 && at > i {
			return location[:i+3] + "***" + location[at:]
		}
		return location
	}
	if u.User != nil {
		u.User = url.User("***")
	}
	if u.RawQuery != "" {
		q := u.Query()
		for k := range q {
			q.Set(k, "***")
		}
		u.RawQuery = q.Encode()
	}
	return strings.ReplaceAll(u.String(), "%2A%2A%2A", "***")
}

// scrub takes a location's secrets out of text that another program wrote.
func scrub(text, location string) string {
	text = strings.ReplaceAll(text, location, redact(location))
	u, err := url.Parse(location)
	if err != nil {
		return text
	}
	var secrets []string
	if u.User != nil {
		if p, ok := u.User.Password(); ok {
			secrets = append(secrets, p, url.QueryEscape(p), url.PathEscape(p), u.User.String())
		} else {
			// A lone user name in https is a token more often than a name.
			secrets = append(secrets, u.User.Username())
		}
	}
	for _, vs := range u.Query() {
		secrets = append(secrets, vs...)
	}
	for _, s := range secrets {
		if len(s) >= 3 && s != "git" {
			text = strings.ReplaceAll(text, s, "***")
		}
	}
	return text
}
