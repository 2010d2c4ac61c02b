package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"strings"
	"syscall"
)

// UnavailableError says that there is no engine to be used.
type UnavailableError struct {
	Kind   Kind
	Addr   string
	Err    error
	Denied bool // it is there, and this user may not use it
	Absent bool // there is nothing at its address
	advice string
}

// Error implements error.
func (e *UnavailableError) Error() string {
	return fmt.Sprintf("%s at %s cannot be used: %v", e.Kind.title(), e.Addr, e.Err)
}

// Unwrap returns the cause.
func (e *UnavailableError) Unwrap() error { return e.Err }

// Hint says what can be done.
func (e *UnavailableError) Hint() string { return e.advice }

func unavailable(kind Kind, addr string, err error) error {
	e := &UnavailableError{Kind: kind, Addr: addr, Err: err}
	denied := errors.Is(err, fs.ErrPermission)
	absent := errors.Is(err, fs.ErrNotExist) || errors.Is(err, exec.ErrNotFound) || errors.Is(err, syscall.ECONNREFUSED)
	e.Denied, e.Absent = denied, absent
	leave := "; --engine none leaves the images in the local store"
	switch {
	case denied && kind == Docker:
		e.advice = "run as root, or join the group docker (usermod -aG docker $USER, then log in again)" + leave
	case denied:
		e.advice = "run as root, or name your own socket with --podman_base_url unix:///run/user/$UID/podman/podman.sock" + leave
	case kind == Docker:
		e.advice = "start it (systemctl start docker), or say where it is with DOCKER_HOST" + leave
	default:
		e.advice = "start it (systemctl start podman.socket), or say where it is with --podman_base_url" + leave
	}
	return e
}

// Error says that an engine could not take or give an image.
type Error struct {
	Engine string // with its version
	Doing  string // loading, reading
	Ref    string
	Err    error
	Full   bool // its disk is full
	Gone   bool // it does not answer any more
}

// Error implements error.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s %s: %s: %v", e.Doing, e.Ref, e.Engine, e.Err)
	if e.Gone {
		s = fmt.Sprintf("%s %s: %s does not answer any more: %v", e.Doing, e.Ref, e.Engine, e.Err)
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint says what can be done.
func (e *Error) Hint() string {
	podman := strings.HasPrefix(e.Engine, Podman.title())
	switch {
	case e.Full && podman:
		return "the engine's disk is full: podman system df shows what takes it, podman image prune frees some; then run again: what is loaded is not sent again"
	case e.Full:
		return "the engine's disk is full: docker system df shows what takes it, docker image prune frees some; then run again: what is loaded is not sent again"
	case e.Gone:
		return "start it and run again: what is built and loaded is not built or sent again"
	}
	return ""
}

func (e *Engine) fail(doing, ref string, err error) error {
	return &Error{Engine: e.String(), Doing: doing, Ref: ref, Err: err, Full: isFull(err), Gone: isGone(err)}
}

func isFull(err error) bool {
	return err != nil && (errors.Is(err, syscall.ENOSPC) || strings.Contains(err.Error(), "no space left on device") ||
		strings.Contains(err.Error(), "disk quota exceeded"))
}

// answerError is an engine's own refusal.
type answerError struct {
	status int // of HTTP, or 0
	says   string
}

func (e *answerError) Error() string { return e.says }
