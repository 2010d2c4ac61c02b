package engine

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os/exec"
	"strings"
	"syscall"

	"github.com/containerd/errdefs"
)

// UnavailableError reports that an engine cannot be used.
type UnavailableError struct {
	Kind   Kind
	Addr   string
	Err    error
	Denied bool // it exists, but this user may not use it
	Absent bool // nothing listens at its address
	hint   string
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s at %s cannot be used: %v", e.Kind.title(), e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint returns a hint for the user.
func (e *UnavailableError) Hint() string { return e.hint }

func unavailable(kind Kind, addr string, err error) error {
	e := &UnavailableError{Kind: kind, Addr: addr, Err: err}
	var silent *silentError
	e.Denied = errors.Is(err, fs.ErrPermission)
	e.Absent = errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, syscall.ECONNREFUSED)
	const skip = "; --engine none keeps the images in the local store"
	switch {
	case errors.As(err, &silent):
		e.hint = "run again: the engine may have been starting" + skip
	case e.Denied && kind == Docker:
		e.hint = "run as root, or join the group docker (usermod -aG docker $USER, then log in again)" + skip
	case e.Denied && kind == Containerd:
		e.hint = "run as root" + skip
	case kind == Containerd:
		e.hint = "start it (systemctl start containerd), or set its socket with CONTAINERD_ADDRESS" + skip
	case e.Denied:
		e.hint = "run as root, or use your own socket with --podman_base_url unix:///run/user/$UID/podman/podman.sock" + skip
	case kind == Docker:
		e.hint = "start it (systemctl start docker), or set its address with DOCKER_HOST" + skip
	default:
		e.hint = "start it (systemctl start podman.socket), or set its address with --podman_base_url" + skip
	}
	return e
}

// Error reports that an engine could not load or save an image.
type Error struct {
	Engine string // with its version
	Action string // "loading", "reading" or "looking up"
	Ref    string
	Err    error
	Full   bool // its disk is full
	Lost   bool // it no longer answers
}

// Error implements error.
func (e *Error) Error() string {
	if e.Lost {
		return fmt.Sprintf("%s %s: %s no longer answers: %v", e.Action, e.Ref, e.Engine, e.Err)
	}
	return fmt.Sprintf("%s %s: %s: %v", e.Action, e.Ref, e.Engine, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint returns a hint for the user, or "".
func (e *Error) Hint() string {
	program := "docker"
	if strings.HasPrefix(e.Engine, Podman.title()) {
		program = "podman"
	}
	switch {
	case e.Full && strings.HasPrefix(e.Engine, Containerd.title()):
		return "the disk of containerd is full: ctr images ls shows its images, ctr images prune frees space; then run " +
			"again: loaded images are not sent again"
	case e.Full:
		return fmt.Sprintf("the disk of the engine is full: %[1]s system df shows its use, %[1]s image prune frees space; "+
			"then run again: loaded images are not sent again", program)
	case e.Lost:
		return "start the engine and run again: images that are built and loaded are not built or sent again"
	}
	return ""
}

func (e *Engine) fail(action, ref string, err error) error {
	return &Error{Engine: e.String(), Action: action, Ref: ref, Err: err, Full: isFull(err),
		Lost: isLost(err) || isSilent(err)}
}

func isFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "no space left on device") ||
		strings.Contains(err.Error(), "disk quota exceeded"))
}

// isLost reports whether an error is from the connection and not an answer of the
// engine.
func isLost(err error) bool {
	var answer *answerError
	if errors.As(err, &answer) {
		return false
	}
	var op *net.OpError
	return errdefs.IsUnavailable(err) || errors.As(err, &op) || errors.Is(err, io.EOF) ||
		errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET)
}
