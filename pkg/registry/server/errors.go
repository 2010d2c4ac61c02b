package server

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strconv"

	"github.com/kolla-build/kolla-build/internal/inputfile"
)

// AddrError reports that an address to listen on is invalid.
type AddrError struct {
	Addr    string
	Problem string
}

// Error implements error.
func (e *AddrError) Error() string { return fmt.Sprintf("address %q: %s", e.Addr, e.Problem) }

// Hint returns a hint for the user.
func (e *AddrError) Hint() string {
	if _, err := strconv.ParseUint(e.Addr, 10, 16); err == nil {
		return fmt.Sprintf("did you mean --addr localhost:%s, for this host, "+
			"or --addr :%s, for all addresses?", e.Addr, e.Addr)
	}
	return "write HOST:PORT or :PORT, as in --addr localhost:4000 or --addr :4000"
}

func checkAddr(addr string) error {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return &AddrError{Addr: addr, Problem: "expected HOST:PORT"}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return &AddrError{Addr: addr, Problem: fmt.Sprintf("%q is not a port", port)}
	}
	return nil
}

// Usage marks the error as a mistake on the command line.
func (e *AddrError) Usage() bool { return true }

// AccessError reports that a level of access is unknown.
type AccessError struct{ Access Access }

// Error implements error.
func (e *AccessError) Error() string {
	return fmt.Sprintf("anonymous access %q: expected %s, %s or %s", e.Access, AccessNone, AccessPull, AccessPush)
}

// Usage marks the error as a mistake on the command line.
func (e *AccessError) Usage() bool { return true }

// OpenError reports that a registry would be open to everyone who reaches its address, and
// that the user has not confirmed that this is intended.
type OpenError struct{ Addr string }

// Error implements error.
func (e *OpenError) Error() string {
	return fmt.Sprintf("listening on %s: other hosts could push and delete without a login", e.Addr)
}

// Hint returns a hint for the user.
func (e *OpenError) Hint() string {
	return "--anonymous pull lets other hosts pull only; --htpasswd FILE requires a login; " +
		"--anonymous push allows everything to everyone"
}

// Usage marks the error as a mistake on the command line.
func (e *OpenError) Usage() bool { return true }

// AddrInUseError reports that another process listens on the address.
type AddrInUseError struct {
	Addr       string
	IsRegistry bool // what listens there is a registry
	Err        error
}

// Error implements error.
func (e *AddrInUseError) Error() string {
	if e.IsRegistry {
		return fmt.Sprintf("listening on %s: a registry already answers there", e.Addr)
	}
	return fmt.Sprintf("listening on %s: the address is in use", e.Addr)
}

// Unwrap returns the system's error.
func (e *AddrInUseError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *AddrInUseError) Hint() string {
	_, port, _ := net.SplitHostPort(e.Addr)
	if e.IsRegistry {
		return fmt.Sprintf("use it as it is with --registry localhost:%s, "+
			"or choose another port with --addr localhost:PORT", port)
	}
	return fmt.Sprintf("`ss -ltnp 'sport = :%s'` shows who listens there; "+
		"choose another port with --addr localhost:PORT", port)
}

// DirError reports that the registry's directory cannot be used.
type DirError struct {
	Dir     string
	Locked  bool   // another registry uses it
	Holder  string // which one, "" if that is not known
	Foreign string // it is not a registry's: it contains this
	Err     error
}

// Error implements error.
func (e *DirError) Error() string {
	switch {
	case e.Locked && e.Holder != "":
		return fmt.Sprintf("registry directory %s: another registry uses it (%s)", e.Dir, e.Holder)
	case e.Locked:
		return fmt.Sprintf("registry directory %s: another registry uses it", e.Dir)
	case e.Foreign != "":
		return fmt.Sprintf("registry directory %s: it is not a registry's, it contains %s", e.Dir, e.Foreign)
	}
	return fmt.Sprintf("registry directory %s: %v", e.Dir, inputfile.WithoutPath(e.Err))
}

// Unwrap returns the system's error.
func (e *DirError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *DirError) Hint() string {
	switch {
	case e.Locked:
		return "use the registry that is running, or stop it first, or choose another directory with --dir"
	case e.Foreign != "":
		return "name the registry's own directory, or an empty one, with --dir"
	case errors.Is(e.Err, fs.ErrNotExist):
		return "--dir DIR names the directory of a registry, --data-dir DIR the data directory that contains it"
	}
	return "choose a directory that this user may write to with --dir"
}

// HtpasswdError describes what is wrong with a password file.
type HtpasswdError struct {
	Path    string
	Line    int // 1-based, 0 if it is about the whole file
	Problem string
}

// Error implements error.
func (e *HtpasswdError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("%s:%d: %s", e.Path, e.Line, e.Problem)
	}
	return fmt.Sprintf("password file %s: %s", e.Path, e.Problem)
}

// Hint returns a hint for the user.
func (e *HtpasswdError) Hint() string {
	return "it contains a line USER:HASH for each user; `htpasswd -Bn USER >> " + e.Path +
		"` adds one (Debian's package apache2-utils)"
}

// IsLocked reports whether an error means that a registry uses the directory.
func IsLocked(err error) bool {
	var dirErr *DirError
	return errors.As(err, &dirErr) && dirErr.Locked
}

// IsUnreachable reports whether an error of CollectRunning means that no registry answers.
func IsUnreachable(err error) bool {
	var dirErr *DirError
	return errors.As(err, &dirErr)
}
