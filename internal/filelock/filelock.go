// Package filelock keeps processes and goroutines from using a resource at the same
// time, with flock(2) on a lock file. It must not know what is locked.
//
// The kernel releases a lock when its holder ends, for whatever reason. Lock files are
// never removed: a process that opened one just before the removal would lock a file
// that no other process can open. gofrs/flock does not give access to its file, which a
// daemon must inherit to hold the lock for as long as it runs.
package filelock

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// HeldError reports that another process holds a lock.
type HeldError struct {
	Path   string
	Holder string // the text of SetHolder, or ""
}

// Error implements error.
func (e *HeldError) Error() string {
	if e.Holder != "" {
		return fmt.Sprintf("%s is locked by %s", e.Path, e.Holder)
	}
	return e.Path + " is locked by another process"
}

// Lock is an open lock file. The lock belongs to the open file, so two Locks of the
// same path exclude each other within a process too.
type Lock struct{ f *os.File }

// pollInterval is the time between two attempts of LockContext.
const pollInterval = 50 * time.Millisecond

// Open opens a lock file, which it makes if needed, without locking it. It must not be a
// symbolic link, which could lead out of a directory that comes from elsewhere.
func Open(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return nil, err
	}
	return &Lock{f}, nil
}

// Of returns the lock of an open file, without locking it. Closing the file releases it.
func Of(f *os.File) *Lock { return &Lock{f} }

// OpenExisting opens a lock file that must exist and not be a symbolic link. It only needs to be
// readable, so that the locks of other users' processes are seen. SetHolder fails.
func OpenExisting(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return &Lock{f}, nil
}

// Acquire opens and locks a file, and waits until another holder releases it. It cannot
// be interrupted, so it is for locks that are held briefly.
func Acquire(path string) (*Lock, error) {
	return opened(path, (*Lock).Lock)
}

// AcquireContext opens and locks a file, and waits until another holder releases
// it or ctx ends. waiting, if not nil, is called once before the first wait.
func AcquireContext(ctx context.Context, path string, waiting func(*HeldError)) (*Lock, error) {
	return opened(path, func(l *Lock) error { return l.LockContext(ctx, waiting) })
}

// Try opens and locks a file, or returns a *HeldError if another holder has it.
func Try(path string) (*Lock, error) {
	return opened(path, (*Lock).TryLock)
}

// TryDir locks a directory, without a file in it, or returns a *HeldError if another
// holder has it.
func TryDir(path string) (*Lock, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	l := &Lock{f}
	if err := l.TryLock(); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func opened(path string, lock func(*Lock) error) (*Lock, error) {
	l, err := Open(path)
	if err != nil {
		return nil, err
	}
	if err := lock(l); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// Lock makes the lock exclusive, and waits until another holder releases it. A shared
// lock is released while it waits.
func (l *Lock) Lock() error { return l.flock(unix.LOCK_EX) }

// RLock makes the lock a shared one, and waits while another holder has it
// exclusively.
func (l *Lock) RLock() error { return l.flock(unix.LOCK_SH) }

// TryRLock makes the lock a shared one, or returns a *HeldError if another holder has it
// exclusively.
func (l *Lock) TryRLock() error { return l.flock(unix.LOCK_SH | unix.LOCK_NB) }

// TryLock makes the lock exclusive, or returns a *HeldError if another holder has
// it. A shared lock is lost then.
func (l *Lock) TryLock() error { return l.flock(unix.LOCK_EX | unix.LOCK_NB) }

// LockContext makes the lock exclusive, and waits until another holder releases
// it or ctx ends. waiting, if not nil, is called once before the first wait.
func (l *Lock) LockContext(ctx context.Context, waiting func(*HeldError)) error {
	for {
		var held *HeldError
		if err := l.TryLock(); !errors.As(err, &held) {
			return err
		}
		if waiting != nil {
			waiting(held)
			waiting = nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the lock %s: %w", l.f.Name(), context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

func (l *Lock) flock(operation int) error {
	for {
		err := unix.Flock(int(l.f.Fd()), operation)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return &HeldError{Path: l.f.Name(), Holder: l.holder()}
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("locking %s: %w", l.f.Name(), err)
		}
	}
}

// By names the holder of the lock for a message, as " (HOLDER)". It returns "" if the holder
// is unknown.
func (e *HeldError) By() string {
	if e.Holder == "" {
		return ""
	}
	return " (" + e.Holder + ")"
}

// SetProcess writes this process as the holder, as SetHolder does.
func (l *Lock) SetProcess() error {
	return l.SetHolder("process %d, since %s", os.Getpid(), time.Now().Format(time.DateTime))
}

// SetHolder writes who holds the lock into its file, for the error message of another
// process. The text is informational; locking does not depend on it.
func (l *Lock) SetHolder(format string, args ...any) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(fmt.Sprintf(format, args...)+"\n"), 0)
	return err
}

func (l *Lock) holder() string {
	b, _ := io.ReadAll(io.NewSectionReader(l.f, 0, 200))
	return strings.TrimSpace(string(b))
}

// File returns the open file. A child process that inherits it holds the lock,
// too: it is released when all have closed it.
func (l *Lock) File() *os.File { return l.f }

// Close releases the lock, unless a child process inherited it.
func (l *Lock) Close() error { return l.f.Close() }
